import { type ChildProcess, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, lstatSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import {
  type Ending,
  encodeSteps,
  endingOf,
  LaunchPod,
  laterAppSteps,
  logged,
  type PodPlan,
  type Step,
  until,
} from './launch/pods.ts';
import { setScene } from './launch/scene.ts';

const scene = setScene();

/** A running pod that apps come to. */
interface Sandbox {
  readonly pod: LaunchPod;
  readonly process: ChildProcess;
  readonly ending: Promise<Ending>;
  /** Waits until an app has written that. */
  said(text: string): Promise<void>;
  /** Asks an entry point, which has to succeed. */
  ask(entry: 'app-add' | 'app-start' | 'app-stop' | 'app-rm', app: string): Promise<void>;
  /** Stops the pod and waits for its end. */
  stop(): Promise<Ending>;
}

async function startSandbox(plan: Partial<PodPlan> = {}): Promise<Sandbox> {
  const pod = new LaunchPod(
    { apps: {}, grace: 1, supervisor: [['mutable']], ...plan },
    'pod',
    scene.base,
  );
  const process = pod.start();
  const ending = endingOf(process);
  let output = '';
  process.stdout?.on('data', (text: string) => {
    output += text;
  });
  await pod.ready();
  return {
    pod,
    process,
    ending,
    said: (text) => until(() => output.includes(`${text}\n`)),
    ask: async (entry, app) => {
      const { code, stderr } = await pod.call(entry, 'test', app);
      expect(stderr).toBe('');
      expect(code).toBe(0);
    },
    stop: async () => {
      await pod.call('stop', 'test');
      return ending;
    },
  };
}

const stateOf = ({ pod }: Sandbox, app: string) => pod.status(`apps/${app}/state`) ?? '';

async function expectRefusal(ending: Promise<Ending>, message: RegExp): Promise<void> {
  const { code, stderr } = await ending;
  expect(stderr).toMatch(message);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  expect(code).toBe(254);
}

describe('a mutable pod', () => {
  it('is ready without apps, and ends with 0 when it is stopped', async () => {
    const sandbox = await startSandbox();
    expect(sandbox.pod.status('started')).toBeDefined();
    expect(lstatSync(join(sandbox.pod.directory, 'control')).mode & 0o777).toBe(0o600);
    expect((await sandbox.stop()).code).toBe(0);
    expect(sandbox.pod.status('exit')).toBe('0\n');
    expect(existsSync(join(sandbox.pod.directory, 'control'))).toBe(false);
  });

  it('runs the apps that are started in it, and outlives them, whatever they end with', async () => {
    const sandbox = await startSandbox();
    sandbox.pod.addApp('one', { do: ['say', 'hello', 'exit', '3'] });
    sandbox.pod.addApp('two', { do: ['say', 'hello', 'wait', ''] });
    for (const app of ['one', 'two']) await sandbox.ask('app-add', app);
    for (const app of ['one', 'two']) await sandbox.ask('app-start', app);
    await until(() => stateOf(sandbox, 'one').includes('exit=3'));
    expect(stateOf(sandbox, 'two')).toMatch(/^pid=\d+\nstarted=\d+\.\d{9}\n$/);
    await sandbox.said(`two[${/^pid=(\d+)/.exec(stateOf(sandbox, 'two'))?.[1]}]: hello`);
    const { code, stdout } = await sandbox.stop();
    expect(code).toBe(0);
    expect(logged(stdout)).toContain('one[2]: hello');
    expect(stateOf(sandbox, 'two')).toContain('exit=143');
  });

  it('starts an app again after its end, over what it wrote', async () => {
    const sandbox = await startSandbox();
    sandbox.pod.addApp('one', {
      do: ['count', '/mark', 'wait', ''],
      steps: [['make-file', '/mark', '0600']],
    });
    for (let turn = 0; turn < 3; turn++) {
      await sandbox.ask('app-start', 'one');
      expect(stateOf(sandbox, 'one')).not.toContain('exit=');
      await sandbox.said(`turn ${turn}`);
      await sandbox.ask('app-stop', 'one');
      expect(stateOf(sandbox, 'one')).toContain('exit=143');
    }
    await sandbox.stop();
  });

  it('is entered however many processes one of its apps leaves to init', async () => {
    const sandbox = await startSandbox();
    // More than 4096 bytes of /proc/PID/task/TID/children.
    sandbox.pod.addApp('one', { do: ['litter', '850', 'say', 'full', 'wait', ''] });
    sandbox.pod.addApp('two', { do: ['wait', ''] });
    await sandbox.ask('app-start', 'one');
    await sandbox.said('one[2]: full');
    await sandbox.ask('app-start', 'two');
    const entered = await sandbox.pod.call('enter', 'two', '/bin/probe', 'exit', '5');
    expect(entered).toEqual({ code: 5, stdout: '', stderr: '' });
    await sandbox.stop();
  });

  it('takes many apps in turn, each with its output', async () => {
    const sandbox = await startSandbox();
    sandbox.pod.addApp('one', { do: ['say', 'hello'] });
    for (let turn = 0; turn < 140; turn++) {
      await sandbox.ask('app-start', 'one');
      await until(() => stateOf(sandbox, 'one').includes('exit='));
    }
    const lines = logged((await sandbox.stop()).stdout);
    expect(lines.filter((line) => line.endsWith(': hello'))).toHaveLength(140);
  }, 60_000);

  it('passes signals on to the apps that run', async () => {
    const sandbox = await startSandbox();
    sandbox.pod.addApp('one', { do: ['catch', '10', 'say', 'set', 'wait', ''] });
    await sandbox.ask('app-start', 'one');
    await sandbox.said('set');
    sandbox.process.kill('SIGUSR1');
    await sandbox.said('got User defined signal 1');
    await sandbox.stop();
  });
});

describe('an app of a mutable pod', () => {
  it('that ignores its stop signal is killed after the grace, alone', async () => {
    const sandbox = await startSandbox();
    sandbox.pod.addApp('deaf', { do: ['ignore', '15', 'say', 'deaf', 'wait', ''] });
    sandbox.pod.addApp('other', { do: ['wait', ''] });
    await sandbox.ask('app-start', 'deaf');
    await sandbox.ask('app-start', 'other');
    await sandbox.said('deaf');
    await sandbox.ask('app-stop', 'deaf');
    expect(stateOf(sandbox, 'deaf')).toContain('exit=137');
    expect(stateOf(sandbox, 'other')).not.toContain('exit=');
    await sandbox.stop();
  });

  it('takes what it left behind with it, and its mounts', async () => {
    const sandbox = await startSandbox();
    sandbox.pod.addApp('one', { do: ['stay', '', 'say', 'left'] });
    await sandbox.ask('app-start', 'one');
    await until(() => stateOf(sandbox, 'one').includes('exit=0'));
    const [, init] = (sandbox.pod.status('pid') ?? '').trim().split(' ');
    await until(() => readFileSync(`/proc/${init}/task/${init}/children`, 'utf8') === '');
    await sandbox.stop();
  });

  // The number of a mount namespace that is gone is given to the next one at once.
  it('is not taken for what another left behind', async () => {
    const sandbox = await startSandbox();
    sandbox.pod.addApp('short', { do: ['stay', ''] });
    for (let turn = 0; turn < 10; turn++) {
      const name = `long-${turn}`;
      sandbox.pod.addApp(name, { do: ['wait', ''] });
      await Promise.all([sandbox.ask('app-start', 'short'), sandbox.ask('app-start', name)]);
      await until(() => stateOf(sandbox, 'short').includes('exit=0'));
    }
    for (let turn = 0; turn < 10; turn++) {
      expect(stateOf(sandbox, `long-${turn}`)).not.toContain('exit=');
    }
    await sandbox.stop();
  });

  it('that cannot be executed is what the answer says, and can be tried again', async () => {
    const sandbox = await startSandbox();
    sandbox.pod.addApp('one', { do: [], exec: '/nowhere' });
    const refused =
      /^gantry: app-start: app "one": Error: Unable to open "\/nowhere": No such file/;
    await expectRefusal(sandbox.pod.call('app-start', 'test', 'one'), refused);
    await expectRefusal(sandbox.pod.call('app-start', 'test', 'one'), refused);
    expect(sandbox.pod.status('apps/one/state')).toBeUndefined();
    sandbox.pod.addApp('one', { do: ['wait', ''] });
    await sandbox.ask('app-start', 'one');
    expect((await sandbox.stop()).code).toBe(0);
  });

  it('of no program that can be executed is refused by exec itself', async () => {
    const sandbox = await startSandbox();
    sandbox.pod.addApp('one', { do: [], exec: '/bin' });
    await expectRefusal(
      sandbox.pod.call('app-start', 'test', 'one'),
      /app "one": exec \/bin .*: Permission denied/,
    );
    await sandbox.stop();
  });

  it('whose mounts fail leaves nothing', async () => {
    const sandbox = await startSandbox();
    sandbox.pod.addApp('one', { do: ['wait', ''] });
    rmSync(join(sandbox.pod.directory, 'apps/one/work'), { recursive: true });
    await expectRefusal(
      sandbox.pod.call('app-start', 'test', 'one'),
      /^gantry: app-start: app "one": mount overlay root .*: No such file or directory$/m,
    );
    expect((await sandbox.stop()).code).toBe(0);
  });

  it('can be entered while it runs, and not after', async () => {
    const sandbox = await startSandbox();
    sandbox.pod.addApp('one', { do: ['wait', ''], steps: [['env', 'WHO', 'one']] });
    await sandbox.ask('app-start', 'one');
    const entered = await sandbox.pod.call('enter', 'one', '/bin/probe', 'env', '', 'exit', '4');
    expect(entered.stdout).toContain('WHO=one');
    expect(entered.code).toBe(4);
    await sandbox.ask('app-stop', 'one');
    await expectRefusal(sandbox.pod.call('enter', 'one', '/bin/probe'), /the app is not running/);
    await expectRefusal(sandbox.pod.call('enter', '../one', '/bin/probe'), /no such app/);
    await sandbox.stop();
  });

  it('is told to start and to stop by several at once', async () => {
    const sandbox = await startSandbox();
    sandbox.pod.addApp('one', { do: ['wait', ''] });
    const many = Array.from({ length: 8 }, (_, index) => index);
    await Promise.all(many.map(() => sandbox.ask('app-start', 'one')));
    await Promise.all(many.map(() => sandbox.ask('app-stop', 'one')));
    expect(stateOf(sandbox, 'one')).toContain('exit=143');
    expect(logged((await sandbox.stop()).stdout)).toEqual([]);
  });

  it('is not forgotten while it runs', async () => {
    const sandbox = await startSandbox();
    sandbox.pod.addApp('one', { do: ['wait', ''] });
    await sandbox.ask('app-start', 'one');
    await expectRefusal(sandbox.pod.call('app-rm', 'test', 'one'), /app "one" is still running/);
    await sandbox.ask('app-stop', 'one');
    await sandbox.ask('app-rm', 'one');
    await sandbox.ask('app-rm', 'one');
    await sandbox.stop();
  });
});

describe('a request', () => {
  it('about an app that is not there is refused, or has nothing to do', async () => {
    const sandbox = await startSandbox();
    await expectRefusal(sandbox.pod.call('app-add', 'test', 'nil'), /no such app "nil"/);
    await expectRefusal(sandbox.pod.call('app-start', 'test', 'nil'), /no such app "nil"/);
    await sandbox.ask('app-stop', 'nil');
    await sandbox.ask('app-rm', 'nil');
    await sandbox.stop();
  });

  it('that is none is refused', async () => {
    const sandbox = await startSandbox();
    const names = ['', '../one', 'A', 'a b', 'x'.repeat(200)];
    for (const name of names) {
      await expectRefusal(sandbox.pod.call('app-start', 'test', name), /no request/);
    }
    await expectRefusal(sandbox.pod.call('app-start', 'test'), /usage/);
    await sandbox.stop();
  });

  it('to a pod whose apps do not come and go is refused', async () => {
    const pod = new LaunchPod({ apps: { web: { do: ['wait', ''] } }, grace: 1 }, 'pod', scene.base);
    const ending = endingOf(pod.start());
    await pod.ready();
    expect(existsSync(join(pod.directory, 'control'))).toBe(false);
    await expectRefusal(pod.call('app-start', 'test', 'web'), /apps do not come and go/);
    await pod.call('stop', 'test');
    await ending;
    await expectRefusal(pod.call('app-start', 'test', 'web'), /the pod does not run/);
  });

  it('while the pod is being stopped is refused', async () => {
    const sandbox = await startSandbox({ grace: 60 });
    sandbox.pod.addApp('deaf', { do: ['ignore', '15', 'say', 'deaf', 'wait', ''] });
    sandbox.pod.addApp('late', { do: ['wait', ''] });
    await sandbox.ask('app-start', 'deaf');
    await sandbox.said('deaf');
    await sandbox.pod.call('stop', 'test');
    await sleep(100);
    for (const entry of ['app-add', 'app-start'] as const) {
      await expectRefusal(sandbox.pod.call(entry, 'test', 'late'), /the pod is being stopped/);
    }
    // Ctrl-C, when it is being stopped already: now.
    sandbox.process.kill('SIGINT');
    expect((await sandbox.ending).code).toBe(0);
    expect(sandbox.pod.status('apps/late/state')).toBeUndefined();
  });

  it('under way when the supervisor is killed comes to an end, and leaves nothing', async () => {
    const sandbox = await startSandbox({ grace: 60 });
    sandbox.pod.addApp('deaf', { do: ['ignore', '15', 'say', 'deaf', 'wait', ''] });
    await sandbox.ask('app-start', 'deaf');
    await sandbox.said('deaf');
    const stopping = sandbox.pod.call('app-stop', 'test', 'deaf');
    await sleep(100);
    const starting = sandbox.pod.call('app-start', 'test', 'deaf');
    await expectRefusal(starting, /just being stopped/);
    sandbox.process.kill('SIGKILL');
    expect((await stopping).code).toBe(254);
    expect((await sandbox.ending).code).toBe(137);
    expect(sandbox.pod.locked).toBe(false);
    await expectRefusal(sandbox.pod.call('app-start', 'test', 'deaf'), /Connection refused/);
  });

  it('ends with the supervisor, at whatever moment of it that is killed', async () => {
    for (let after = 0; after < 16; after += 2) {
      const pod = new LaunchPod(
        { apps: {}, supervisor: [['mutable']] },
        `pod-${after}`,
        scene.base,
      );
      const child = pod.start();
      const ending = endingOf(child);
      await pod.ready();
      pod.addApp('one', { do: ['stay', '', 'wait', ''] });
      const starting = pod.call('app-start', 'test', 'one');
      await sleep(after);
      child.kill('SIGKILL');
      await ending;
      expect([0, 254]).toContain((await starting).code);
      await until(() => !pod.locked);
      expect(await scene.leaks()).toEqual([]);
    }
  });

  it('leaves the pod as it was when init is killed', async () => {
    const sandbox = await startSandbox();
    sandbox.pod.addApp('one', { do: ['wait', ''] });
    await sandbox.ask('app-start', 'one');
    await sandbox.pod.call('stop', '--force', 'test');
    expect((await sandbox.ending).code).toBe(137);
    expect(stateOf(sandbox, 'one')).toContain('exit=137');
  });
});

describe('the plan of an app', () => {
  const plans: readonly [what: string, change: (steps: Step[]) => Step[], why: RegExp][] = [
    ['of another app', (steps) => swap(steps, 'section', ['section', 'app', 'two']), /of app one/],
    ['without section outside', (steps) => steps.slice(4), /misplaced section app/],
    ['with a section pod', (steps) => [...steps, ['section', 'pod']], /misplaced section pod/],
    ['with two apps', (steps) => [...steps, ['section', 'app', 'two']], /misplaced section app/],
    ['that is not private', (steps) => steps.toSpliced(1, 1), /begin with private-mounts/],
    ['that would name the host', (steps) => insert(steps, ['hostname', 'x']), /step hostname/],
    ['that would replace it', (steps) => insert(steps, ['pivot-root', 'root']), /step pivot-root/],
    ['that executes outside', (steps) => insert(steps, ['exec', '/bin/sh', 'sh']), /step exec/],
    ['in the mounts of the pod', (steps) => swap(steps, 'unshare', ['umask', '0']), /unshare must/],
    ['without an end', (steps) => steps.slice(0, -1), /exec must be the one last step/],
    ['with a terminal', (steps) => swap(steps, 'umask', ['terminal', '/dev/null']), /terminal/],
  ];

  it.each(plans)('%s is refused', async (_, change, why) => {
    const sandbox = await startSandbox();
    const { pod } = sandbox;
    pod.addApp('one', { do: ['wait', ''] });
    pod.writeAppPlan('one', encodeSteps(change(laterAppSteps(pod.image, 'one', { do: [] }))));
    await expectRefusal(pod.call('app-add', 'test', 'one'), why);
    await expectRefusal(pod.call('app-start', 'test', 'one'), why);
    expect((await sandbox.stop()).code).toBe(0);
  });

  it('that others may write, or that is a link, is refused', async () => {
    const sandbox = await startSandbox();
    const { pod } = sandbox;
    pod.addApp('one', { do: ['wait', ''] });
    const plan = join(pod.directory, 'apps/one/plan');
    chmodSync(plan, 0o666);
    await expectRefusal(pod.call('app-start', 'test', 'one'), /only its owner may write/);
    rmSync(plan);
    symlinkSync('../../plan', plan);
    await expectRefusal(pod.call('app-start', 'test', 'one'), /no such app "one"/);
    await sandbox.stop();
  });

  it('of a pod may have no apps when it is mutable, and must have one when it is not', async () => {
    const pod = new LaunchPod({ apps: {} }, 'pod', scene.base);
    expect((await pod.run()).stderr).toMatch(/plan: no app/);
    const plan = { apps: { web: { do: [] } }, supervisor: [['mutable']] };
    const other = new LaunchPod(plan, 'other', scene.base);
    expect((await other.run()).stderr).toMatch(/a mutable pod begins without apps/);
  });
});

describe('the socket of requests', () => {
  it('answers nobody but the user of the pod', async () => {
    const sandbox = await startSandbox();
    const { pod } = sandbox;
    pod.addApp('one', { do: ['wait', ''] });
    chmodSync(pod.directory, 0o755);
    chmodSync(join(pod.directory, 'control'), 0o777);
    const script = `cd ${pod.directory} && exec setpriv --reuid=65534 --clear-groups stage1/app-start test one`;
    const refused = spawnSync('sh', ['-c', script], { encoding: 'utf8' });
    expect(refused.status).not.toBe(0);
    expect(pod.status('apps/one/state')).toBeUndefined();
    await sandbox.stop();
  });
});

/** With one more step in section outside. */
function insert(steps: Step[], step: Step): Step[] {
  return steps.toSpliced(2, 0, step);
}

/** With another step in the place of the last one with that word. */
function swap(steps: Step[], word: string, step: Step): Step[] {
  return steps.toSpliced(
    steps.findLastIndex(([each]) => each === word),
    1,
    step,
  );
}
