import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ownCgroup } from '../../src/isolation/cgroup.ts';
import { parseMountInfo } from '../../src/isolation/mount-info.ts';
import { encodeSteps, endingOf, LaunchPod, type Step, until } from './launch/pods.ts';
import { setScene } from './launch/scene.ts';

const scene = setScene();

interface Changes {
  readonly grace?: number;
  readonly output?: string;
  readonly cgroup?: string;
  readonly pod?: readonly Step[];
  readonly app?: readonly Step[];
}

/** A pod in the namespaces of the host but for the mounts, as the chroot flavour's are. */
function pod(words: readonly string[], changes: Changes = {}): LaunchPod {
  const made = new LaunchPod({ apps: { web: { do: [] } } }, 'pod', scene.base);
  made.writePlan(encodeSteps(steps(made.image, words, changes)));
  return made;
}

function steps(image: string, words: readonly string[], changes: Changes): Step[] {
  const { grace = 1, output = 'raw', cgroup, pod: more = [], app = [] } = changes;
  const own = ['upperdir=apps/web/upper', 'workdir=apps/web/work'];
  return [
    ['section', 'supervisor'],
    ['namespaces', 'mount'],
    ['grace', String(grace)],
    ['output', output],
    ...(cgroup === undefined
      ? []
      : [
          ['make-cgroup', cgroup],
          ['join-cgroup', cgroup],
        ]),
    ['section', 'pod'],
    ['private-mounts'],
    ['open-tree', '0', '/proc', 'recursive'],
    ['open-tree', '1', '/dev', 'recursive'],
    ['mount', 'overlay', 'root', 'overlay', 'nodev', `lowerdir=${image}`, ...own],
    ['pivot-root', 'root'],
    ['make-directory', '/proc', '0555'],
    ['move-tree', '0', '/proc'],
    ['make-directory', '/dev', '0755'],
    ['move-tree', '1', '/dev'],
    ...more,
    ['section', 'app', 'web'],
    ['env', 'PATH', '/bin'],
    ...app,
    ['exec', '/bin/probe', 'probe', ...words],
    ['section', 'teardown'],
    ...(cgroup === undefined ? [] : [['remove-cgroup', cgroup]]),
  ];
}

/** Supervisor and init of a running pod. */
function processesOf(made: LaunchPod): [number, number] {
  const [supervisor = 0, init = 0] = (made.status('pid') ?? '').split(' ').map(Number);
  return [supervisor, init];
}

/** Every process in the mount namespace of `pid`. */
function mates(pid: number): number[] {
  const namespace = readlinkSync(`/proc/${pid}/ns/mnt`);
  return inNamespace(namespace);
}

/** The parent of a process; 0 where it is gone. */
function parentOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return 0;
  }
}

function inNamespace(namespace: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return readlinkSync(`/proc/${name}/ns/mnt`) === namespace;
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** Starts a pod and waits until it has `count` processes beside its init. */
async function started(made: LaunchPod, count: number) {
  const child = made.start();
  onTestFinished(() => void child.kill('SIGKILL'));
  const ending = endingOf(child);
  await made.ready();
  const [supervisor, init] = processesOf(made);
  const namespace = readlinkSync(`/proc/${init}/ns/mnt`);
  // As long as it is open its number is nobody else's.
  const held = openSync(`/proc/${init}/ns/mnt`, 'r');
  onTestFinished(() => closeSync(held));
  await until(() => mates(init).length > count);
  return { child, ending, supervisor, init, namespace };
}

describe('a pod without a PID namespace', () => {
  it("ends with its app's exit code, and tells what every pod tells", async () => {
    const made = pod(['exit', '7']);
    expect((await made.run()).code).toBe(7);
    expect(made.status('exit')).toBe('7\n');
    expect(made.status('apps/web/state')).toMatch(
      /^pid=\d+\nstarted=\d+\.\d{9}\nfinished=\d+\.\d{9}\nexit=7\n$/,
    );
  });

  it('ends with 128 and the number of the signal that ended its app', async () => {
    expect((await pod(['raise', '9']).run()).code).toBe(137);
  });

  it('names its app by the PID the host knows', async () => {
    const made = pod(['id', '', 'wait', '']);
    const { child, ending, init } = await started(made, 1);
    const pid = Number(/^pid=(\d+)$/m.exec(made.status('apps/web/state') ?? '')?.[1]);
    expect(readFileSync(`/proc/${pid}/stat`, 'utf8')).toContain(` ${init} `);
    child.kill('SIGTERM');
    expect((await ending).stdout).toContain(`pid=${pid} `);
  });

  it('ends every process its app leaves behind, however deep', async () => {
    const made = pod(['brood', '40', 'stay', '', 'flee', '', 'sleep', '200', 'exit', '3']);
    expect((await made.run()).code).toBe(3);
  });

  it('asks its app to end, and after the grace ends all of it', async () => {
    const made = pod(['ignore', '15', 'brood', '5', 'wait', '']);
    const { child, ending, namespace } = await started(made, 6);
    child.kill('SIGTERM');
    expect((await ending).code).toBe(137);
    expect(inNamespace(namespace)).toEqual([]);
  });

  it('ends at once when interrupted twice', async () => {
    const made = pod(['ignore', '15', 'flee', '', 'wait', ''], { grace: 30 });
    const { child, ending } = await started(made, 2);
    child.kill('SIGINT');
    await sleep(50);
    child.kill('SIGINT');
    expect((await ending).code).toBe(137);
  });

  it('goes with its supervisor, whenever that is killed', async () => {
    for (let after = 0; after < 8; after += 1) {
      const made = new LaunchPod({ apps: { web: { do: [] } } }, `pod-${after}`, scene.base);
      made.writePlan(encodeSteps(steps(made.image, ['brood', '3', 'wait', ''], {})));
      const child = made.start();
      await sleep(after);
      child.kill('SIGKILL');
      await endingOf(child);
      expect(await scene.leaks()).toEqual([]);
    }
  });

  it('leaves nothing when its supervisor is killed while it runs', async () => {
    const { child, ending, namespace } = await started(
      pod(['brood', '9', 'flee', '', 'wait', '']),
      10,
    );
    child.kill('SIGKILL');
    await ending;
    await until(() => inNamespace(namespace).length === 0);
  });

  it('leaves nothing when its init is killed, which the supervisor tells', async () => {
    const made = pod(['brood', '9', 'flee', '', 'wait', '']);
    const { ending, init, namespace } = await started(made, 10);
    process.kill(init, 'SIGKILL');
    const { code, stderr } = await ending;
    expect(code).toBe(137);
    expect(stderr).toBe('gantry: run: the pod was killed\n');
    expect(inNamespace(namespace)).toEqual([]);
    expect(made.status('exit')).toBe('137\n');
  });

  it('does not end when init is asked to: a service manager may ask every process', async () => {
    const made = pod(['catch', '15', 'say', 'waiting', 'wait', '']);
    const { child, ending, init } = await started(made, 1);
    for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGUSR1'] as const) {
      process.kill(init, signal);
    }
    await sleep(50);
    expect(existsSync(`/proc/${init}`)).toBe(true);
    child.kill('SIGTERM');
    expect((await ending).code).toBe(42);
  });

  it('leaves alone what its supervisor started before it was one', async () => {
    const made = pod(['exit', '0']);
    const lock = openSync(made.directory, 'r');
    const run = join(made.directory, 'stage1', 'run');
    const line = 'sleep 30 & echo $!; exec "$0" test';
    const child = spawn('sh', ['-c', line, run], {
      cwd: made.directory,
      env: { ...process.env, GANTRY_LOCK_FD: '3' },
      stdio: ['ignore', 'pipe', 'pipe', lock],
    });
    let said = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(0);
    const sleeper = Number(said.trim());
    expect(readFileSync(`/proc/${sleeper}/cmdline`, 'utf8')).toContain('sleep');
    process.kill(sleeper, 'SIGKILL');
  });

  it('passes signals on to its app', async () => {
    const made = pod(['catch', '1', 'sleep', '5000']);
    const { child, ending } = await started(made, 1);
    child.kill('SIGHUP');
    expect((await ending).stdout).toContain('got Hangup');
  });

  it('that cannot be set up says why, and leaves nothing', async () => {
    const { code, stderr } = await pod([], { app: [['chdir', '/none']] }).run();
    expect(code).toBe(254);
    expect(stderr).toBe('gantry: run: app "web": chdir /none: No such file or directory\n');
  });
});

describe('raw output', () => {
  it("is the app's own: the streams of whoever started the pod, as they are", async () => {
    const made = pod(['say', 'out', 'complain', 'err', 'say-part', 'no newline']);
    expect(await made.run()).toEqual({ code: 0, stdout: 'out\nno newline', stderr: 'err\n' });
  });

  it('has their input too', async () => {
    const made = pod(['input', '']);
    const child = made.start({ stdio: ['pipe', 'pipe', 'pipe'] });
    child.stdin?.end('hello\n');
    expect((await endingOf(child)).stdout).toContain('hello');
  });

  it('does not become the property of an app that is another user', async () => {
    const log = join(scene.base, 'log');
    const output = openSync(log, 'w');
    const made = pod(['id', ''], { app: [['user', '1000', '1000']] });
    await made.run({ stdio: ['ignore', output, output] });
    expect(readFileSync(log, 'utf8')).toContain('uid=1000');
    expect(statSync(log).uid).toBe(0);
  });

  it('is for one app', async () => {
    const made = pod([]);
    const plan = steps(made.image, [], {});
    const app: Step[] = [
      ['section', 'app', 'two'],
      ['exec', '/bin/probe', 'probe'],
    ];
    made.writePlan(encodeSteps([...plan.slice(0, -1), ...app, ['section', 'teardown']]));
    const { code, stderr } = await made.run();
    expect(code).toBe(254);
    expect(stderr).toContain('output terminal and output raw are for one app');
  });
});

describe('children that came ignored', () => {
  const IGNORING = "trap '' CHLD; exec 9<. && flock 9 && GANTRY_LOCK_FD=9 exec stage1/run test";

  it('are waited for all the same by the pod', async () => {
    const made = pod(['exit', '7']);
    const stdio = ['ignore', 'pipe', 'pipe'] as const;
    const child = spawn('bash', ['-c', IGNORING], { cwd: made.directory, stdio: [...stdio] });
    onTestFinished(() => void child.kill('SIGKILL'));
    const ending = endingOf(child);
    const first = await Promise.race([ending, sleep(3000)]);
    if (first === undefined) await made.call('stop', '--force');
    expect(first).toMatchObject({ code: 7 });
  });

  it('are waited for by enter', async () => {
    const made = pod(['wait', '']);
    const { ending } = await started(made, 1);
    const line = "trap '' CHLD; exec stage1/enter web /bin/probe exit 5";
    const child = spawn('bash', ['-c', line], {
      cwd: made.directory,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    expect(await endingOf(child)).toEqual({ code: 5, stdout: '', stderr: '' });
    await made.call('stop');
    await ending;
  });
});

describe('standard streams that came closed', () => {
  it('are /dev/null, and no descriptor of the launcher takes their numbers', async () => {
    const made = pod(['wait', '']);
    const line = 'exec 9<. && flock 9 && GANTRY_LOCK_FD=9 exec stage1/run test <&- >&- 2>&-';
    const child = spawn('sh', ['-c', line], { cwd: made.directory, stdio: 'ignore' });
    const exited = once(child, 'exit');
    await made.ready();
    const [, init = ''] = made.status('pid')?.trim().split(' ') ?? [];
    const app = /^pid=(\d+)/.exec(made.status('apps/web/state') ?? '')?.[1];
    for (const fd of [0, 1, 2]) {
      for (const pid of [child.pid, init, app]) {
        expect(readlinkSync(`/proc/${pid}/fd/${fd}`)).toBe('/dev/null');
      }
    }
    await made.call('stop');
    await exited;
  });

  it('are not where the lock may be', async () => {
    const made = pod([]);
    const line = 'flock 0 && GANTRY_LOCK_FD=0 exec stage1/run test';
    const child = spawn('sh', ['-c', line], {
      cwd: made.directory,
      stdio: [openSync(made.directory, 'r'), 'pipe', 'pipe'],
    });
    const { code, stderr } = await endingOf(child);
    expect(code).toBe(254);
    expect(stderr).toContain('GANTRY_LOCK_FD does not name the lock of the pod directory');
  });
});

describe('enter', () => {
  it('runs a command among the mounts of the app', async () => {
    const made = pod(['wait', ''], { pod: [['write-file', '/here', '0644', 'yes\n']] });
    const { ending } = await started(made, 1);
    const entered = await made.call('enter', 'web', '/bin/probe', 'cat', '/here', 'exit', '5');
    expect(entered).toEqual({ code: 5, stdout: 'yes\n', stderr: '' });
    await made.call('stop');
    await ending;
  });

  // What is found in mounts that another user has made would run as root, with all the app was given.
  it('refuses an app that has given itself other mounts as a user', async () => {
    const words = ['usurp', '', 'say', 'done', 'wait', ''];
    const made = pod(words, { app: [['user', '1000', '1000'], ['keep-caps']] });
    const { ending } = await started(made, 0);
    const app = /^pid=(\d+)/.exec(made.status('apps/web/state') ?? '')?.[1];
    const bin = () => statSync(`/proc/${app}/root/bin/probe`, { throwIfNoEntry: false })?.uid;
    await until(() => bin() === 1000);
    await sleep(100);
    const entered = await made.call('enter', 'web', '/bin/probe', 'id', '');
    await made.call('stop');
    expect((await ending).stdout).toContain('usurp: ok');
    expect(entered).toEqual({
      code: 254,
      stdout: '',
      stderr:
        "gantry: enter: web: the app has moved into namespaces that are not the pod's: it cannot be entered safely\n",
    });
  });

  it('waits for what the command leaves behind', async () => {
    const made = pod(['wait', '']);
    const { ending, init, supervisor } = await started(made, 1);
    const words = ['orphans', '3', 'sleep', '400'];
    const entered = made.call('enter', 'web', '/bin/probe', ...words);
    // Init's parent is the supervisor, the app's is init, the command's is enter.
    const command = () => mates(init).find((pid) => ![supervisor, init, 0].includes(parentOf(pid)));
    await until(() => command() !== undefined);
    const enter = parentOf(command() ?? 0);
    await sleep(200);
    const children = readFileSync(`/proc/${enter}/task/${enter}/children`, 'utf8');
    expect(children.trim().split(' ')).toHaveLength(1);
    expect((await entered).code).toBe(0);
    await made.call('stop');
    await ending;
  });

  it('ends what it runs when the pod ends', async () => {
    const made = pod(['wait', '']);
    const { ending, namespace } = await started(made, 1);
    const entered = made.call('enter', 'web', '/bin/probe', 'brood', '4', 'flee', '', 'wait', '');
    await until(() => inNamespace(namespace).length > 6);
    await made.call('stop');
    await ending;
    expect((await entered).code).toBe(137);
    expect(inNamespace(namespace)).toEqual([]);
  });
});

describe('stop', () => {
  it('--force leaves nothing', async () => {
    const made = pod(['ignore', '15', 'brood', '9', 'wait', '']);
    const { ending, namespace } = await started(made, 10);
    expect((await made.call('stop', '--force')).code).toBe(0);
    await ending;
    expect(inNamespace(namespace)).toEqual([]);
  });
});

describe('gc', () => {
  it('ends what is left in the control group of a pod whose supervisor and init were killed', async (context) => {
    const parent = ownCgroup();
    if (parent === undefined) return context.skip('no cgroup v2 to make groups in');
    const cgroup = join(parent, `gantry-test-${process.pid}`);
    const made = pod(['brood', '5', 'wait', ''], { cgroup });
    const { child, init, namespace } = await started(made, 6);
    process.kill(init, 'SIGSTOP');
    // Not until its output is closed: what is left has it too.
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    process.kill(init, 'SIGKILL');
    await ended;
    expect(inNamespace(namespace).length).toBeGreaterThan(0);
    expect(await made.call('gc', 'test')).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(inNamespace(namespace)).toEqual([]);
    expect(existsSync(cgroup)).toBe(false);
  });
});

describe('mounts that travel', () => {
  it('are taken before the mounts become private: nothing else is', async () => {
    const made = pod([]);
    const plan = steps(made.image, [], {});
    const at = plan.findIndex(([word]) => word === 'private-mounts');
    const tree: Step = ['open-tree', '9', '/', 'recursive'];
    made.writePlan(encodeSteps(plan.toSpliced(at, 0, tree)));
    const root = parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8')).findLast(
      ({ point }) => point === '/',
    );
    const taken = await made.run();
    if (root?.shared) expect(taken.code).toBe(0);
    else
      expect(taken.stderr).toContain('open-tree 9 / recursive: lies on no shared mount any more');
    made.writePlan(encodeSteps(plan.toSpliced(at, 0, tree, ['tree-attributes', '9', 'slave'])));
    const { code, stderr } = await made.run();
    expect(code).toBe(254);
    expect(stderr).toContain(
      'section pod must begin with private-mounts, only open-tree before it',
    );
  });

  it('are no matter of a new file system', async () => {
    const made = pod([], { pod: [['mount', 'tmpfs', '/proc', 'tmpfs', 'shared']] });
    const { stderr } = await made.run();
    expect(stderr).toContain('mount tmpfs /proc tmpfs shared: Invalid argument');
  });
});
