import { describe, expect, it } from 'vitest';
import {
  type AppPlan,
  type Ending,
  encodeSteps,
  endingOf,
  LaunchPod,
  logged,
  type PodPlan,
  podSteps,
  type Step,
  until,
} from './launch/pods.ts';
import { setScene } from './launch/scene.ts';

const scene = setScene();

function podOf(apps: Readonly<Record<string, AppPlan>>, plan: Partial<PodPlan> = {}): LaunchPod {
  return new LaunchPod({ grace: 1, ...plan, apps }, 'pod', scene.base);
}

/** The lines of the one app, without its name and PID. */
function linesOf({ stdout }: Ending): string[] {
  return logged(stdout).map((line) => line.replace(/^[a-z]+\[\d+\]: /, ''));
}

/** Starts a pod and waits until it has written these lines. */
async function started(pod: LaunchPod, ...lines: readonly string[]) {
  const process = pod.start();
  const ending = endingOf(process);
  let output = '';
  process.stdout?.on('data', (text: string) => {
    output += text;
  });
  await until(() => lines.every((line) => output.includes(`${line}\n`)));
  return { process, ending };
}

const tells = (app: string, what: string) => `gantry: run: app "${app}": ${what}\n`;

describe('event handlers', () => {
  it('run before and after the app, in its root, and do not change its exit code', async () => {
    const pod = podOf({
      web: {
        do: ['cat', '/mark', 'exit', '3'],
        steps: [['make-file', '/mark', '0644']],
        before: { do: ['count', '/mark', 'say', 'before'] },
        after: { do: ['count', '/mark', 'say', 'after'] },
      },
    });
    const ending = await pod.run();
    expect(linesOf(ending)).toEqual(['turn 0', 'before', 'x', 'turn 1', 'after']);
    expect(ending).toMatchObject({ code: 3, stderr: '' });
    expect(pod.status('apps/web/state')).toMatch(/^pid=3\nstarted=.*\nfinished=.*\nexit=3\n$/);
    expect(pod.status('exit')).toBe('3\n');
  });

  it('have the user, environment and output of the app', async () => {
    const steps: Step[] = [
      ['env', 'NAME', 'value'],
      ['user', '7', '8'],
      ['chdir', '/bin'],
    ];
    const pod = podOf({ web: { do: [], steps, before: { do: ['id', '', 'env', ''] } } });
    const { stdout } = await pod.run();
    expect(logged(stdout)).toEqual([
      'web[2]: uid=7 gid=8 pid=2 cwd=/bin',
      'web[2]: PATH=/bin',
      'web[2]: NAME=value',
    ]);
  });

  it('that fail before the app keep it from being started, and end the pod', async () => {
    const pod = podOf({
      web: { do: ['say', 'never'], before: { do: ['exit', '5'] }, after: { do: ['say', 'after'] } },
      other: { do: ['wait', ''] },
    });
    const ending = await pod.run();
    expect(ending.code).toBe(5);
    expect(linesOf(ending)).toEqual(['after']);
    expect(ending.stderr).toBe(
      tells('web', 'its pre-start event handler ended with exit code 5: the app is not started'),
    );
    expect(pod.status('apps/web/state')).toBeUndefined();
    expect(pod.status('apps/other/state')).toContain('exit=143');
    expect(pod.status('ready')).toBeUndefined();
  });

  it('that fail after the app are told of, and change nothing', async () => {
    const ending = await podOf({ web: { do: [], after: { do: ['raise', '9'] } } }).run();
    expect(ending.code).toBe(0);
    expect(ending.stderr).toBe(
      tells('web', 'its post-stop event handler ended with exit code 137'),
    );
  });

  it('without a program are refused before anything starts, or told of in the end', async () => {
    const absent = { do: [], exec: '/bin/none' };
    const before = await podOf({ web: { do: ['say', 'never'], before: absent } }).run();
    expect(before).toEqual({
      code: 254,
      stdout: '',
      stderr: tells('web', 'Error: Unable to open "/bin/none": No such file or directory'),
    });
    const after = await new LaunchPod(
      { apps: { web: { do: ['exit', '4'], after: absent } } },
      'other',
      scene.base,
    ).run();
    expect(after.code).toBe(4);
    expect(after.stderr).toBe(
      tells('web', 'Error: Unable to open "/bin/none": No such file or directory') +
        tells('web', 'its post-stop event handler ended with exit code 254'),
    );
  });

  it('of several apps run beside each other, and the pod is ready when all apps have started', async () => {
    const slow = { do: ['sleep', '200', 'say', 'set'] };
    const pod = podOf({
      one: { do: ['wait', ''], before: slow, after: { do: ['say', 'one after'] } },
      two: { do: ['wait', ''], before: slow },
      three: { do: ['say', 'three', 'wait', ''], after: { do: ['say', 'three after'] } },
    });
    const { process, ending } = await started(pod, 'three');
    expect(pod.status('ready')).toBeUndefined();
    await pod.ready();
    expect(pod.status('apps/two/state')).toBeDefined();
    process.kill('SIGTERM');
    const ended = await ending;
    expect(linesOf(ended).toSorted()).toEqual(
      ['one after', 'set', 'set', 'three', 'three after'].toSorted(),
    );
    expect(ended.code).toBe(143);
  });
});

describe('as many apps as there can be', () => {
  it('each have their handlers', async () => {
    const handled = {
      do: ['say', 'main', 'stay', ''],
      before: { do: ['say', 'before', 'stay', ''] },
      after: { do: ['say', 'after'] },
    };
    const names = Array.from({ length: 64 }, (_, index) => `app${index}`);
    const ending = await podOf(Object.fromEntries(names.map((name) => [name, handled]))).run();
    expect(ending).toMatchObject({ code: 0, stderr: '' });
    for (const part of ['before', 'main', 'after']) {
      expect(logged(ending.stdout).filter((line) => line.endsWith(`: ${part}`))).toHaveLength(64);
    }
  }, 60_000);
});

describe('a pod that is stopped', () => {
  it('during pre-start starts no app, but runs post-stop', async () => {
    const pod = podOf({
      web: {
        do: ['say', 'never'],
        before: { do: ['say', 'before', 'wait', ''] },
        after: { do: ['say', 'after'] },
      },
    });
    const { process, ending } = await started(pod, 'before');
    process.kill('SIGTERM');
    const ended = await ending;
    expect(linesOf(ended)).toEqual(['before', 'after']);
    expect(ended).toMatchObject({ code: 143, stderr: '' });
  });

  it('lets post-stop end, for as long as the grace is', async () => {
    const pod = podOf({
      web: { do: ['say', 'up', 'wait', ''], after: { do: ['sleep', '300', 'say', 'after'] } },
    });
    const { process, ending } = await started(pod, 'up');
    process.kill('SIGTERM');
    process.kill('SIGTERM');
    expect(linesOf(await ending)).toEqual(['up', 'after']);
  });

  it('runs post-stop of an app that had to be killed', async () => {
    const pod = podOf({
      web: {
        do: ['ignore', '15', 'say', 'up', 'wait', ''],
        after: { do: ['sleep', '300', 'say', 'after'] },
      },
      other: { do: ['ignore', '15', 'say', 'too', 'wait', ''] },
    });
    const { process, ending } = await started(pod, 'up', 'too');
    process.kill('SIGTERM');
    const ended = await ending;
    expect(linesOf(ended).filter((line) => line !== 'too')).toEqual(['up', 'after']);
    expect(ended.code).toBe(137);
    expect(pod.status('apps/web/state')).toContain('exit=137');
  });

  it('kills a post-stop that takes longer than the grace', async () => {
    const pod = podOf({
      web: { do: ['exit', '2'], after: { do: ['ignore', '15', 'say', 'after', 'wait', ''] } },
    });
    const begin = Date.now();
    const ended = await pod.run();
    expect(ended.code).toBe(2);
    expect(ended.stderr).toBe(tells('web', 'its post-stop event handler ended with exit code 137'));
    expect(Date.now() - begin).toBeGreaterThan(900);
    expect(Date.now() - begin).toBeLessThan(8000);
  });

  it('at once, by a second interrupt, runs no post-stop any more', async () => {
    const pod = podOf(
      {
        web: {
          do: ['ignore', '15', 'say', 'up', 'wait', ''],
          after: { do: ['say', 'after'] },
        },
      },
      { grace: 20 },
    );
    const { process, ending } = await started(pod, 'up');
    process.kill('SIGINT');
    await new Promise((resolve) => setTimeout(resolve, 50));
    process.kill('SIGINT');
    const ended = await ending;
    expect(linesOf(ended)).toEqual(['up']);
    expect(ended.code).toBe(137);
  });

  it('by force, or that loses its supervisor, runs no post-stop, and leaves nothing', async () => {
    const plan = {
      web: { do: ['say', 'up', 'wait', ''], after: { do: ['say', 'after'] } },
      done: { do: ['exit', '0'], after: { do: ['say', 'handler', 'ignore', '15', 'wait', ''] } },
    };
    for (const how of ['stop', 'kill'] as const) {
      const pod = new LaunchPod({ grace: 20, apps: plan }, how, scene.base);
      const { process, ending } = await started(pod, 'handler');
      if (how === 'stop') await pod.call('stop', '--force', 'test');
      else process.kill('SIGKILL');
      const { stdout } = await ending.catch(() => ({ stdout: '' }));
      expect(stdout).not.toContain('after');
      await until(() => !pod.locked);
    }
  });

  it('passes no signals on to its handlers', async () => {
    const pod = podOf({
      web: { do: ['exit', '0'], after: { do: ['say', 'after', 'sleep', '300', 'say', 'done'] } },
    });
    const { process, ending } = await started(pod, 'after');
    process.kill('SIGUSR1');
    process.kill('SIGTERM');
    const ended = await ending;
    expect(linesOf(ended)).toEqual(['after', 'done']);
    expect(ended.code).toBe(0);
  });
});

describe('event handlers of an interactive app', () => {
  it('have its terminal', async () => {
    const terminal = { do: ['terminal', ''] };
    const pod = podOf(
      { web: { ...terminal, before: terminal, after: terminal } },
      { terminal: true },
    );
    const { stdout } = await pod.run();
    expect(stdout.match(/tty=\/dev\/pts\/0 stdout=1 session=1 foreground=1/g)).toHaveLength(3);
  });
});

describe('sections of event handlers', () => {
  const section = (...words: string[]): Step => ['section', ...words];
  const exec: Step = ['exec', '/bin/probe', 'probe'];

  function refusal(...steps: Step[]): Promise<Ending> {
    const pod = podOf({ web: { do: [] } });
    const whole = podSteps(pod.image, { apps: {} });
    const end = whole.findIndex(([word, name]) => word === 'section' && name === 'teardown');
    pod.writePlan(encodeSteps([...whole.slice(0, end), ...steps]));
    return pod.run();
  }

  it.each<[string, Step[], string]>([
    ['without an app behind', [section('pre-start', 'web'), exec], 'pre-start without its app'],
    [
      'before another app',
      [section('pre-start', 'web'), exec, section('app', 'other'), exec],
      'misplaced section app',
    ],
    [
      'behind the app',
      [section('app', 'web'), exec, section('pre-start', 'web'), exec],
      'misplaced section pre-start',
    ],
    ['before the app', [section('post-stop', 'web'), exec], 'misplaced section post-stop'],
    [
      'of another app',
      [section('app', 'web'), exec, section('post-stop', 'other'), exec],
      'misplaced section post-stop',
    ],
    [
      'twice',
      [
        section('app', 'web'),
        exec,
        section('post-stop', 'web'),
        exec,
        section('post-stop', 'web'),
        exec,
      ],
      'misplaced section post-stop',
    ],
    [
      'without a program',
      [section('pre-start', 'web'), section('app', 'web'), exec],
      'exec must be the one last step of pre-start web',
    ],
  ])('are refused %s', async (_, steps, why) => {
    expect(await refusal(...steps)).toMatchObject({
      code: 254,
      stderr: `gantry: run: plan: ${why}\n`,
    });
  });
});
