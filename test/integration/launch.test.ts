import { execFileSync, spawn } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { endingOf, LaunchPod, logged, type PodPlan, until } from './launch/pods.ts';
import { setScene } from './launch/scene.ts';

const scene = setScene();

const pod = (plan: PodPlan) => new LaunchPod(plan, 'pod', scene.base);
const app = (...words: string[]) => pod({ apps: { web: { do: words } } });

describe('an app', () => {
  it('ends the pod with its exit code', async () => {
    const made = app('exit', '7');
    expect((await made.run()).code).toBe(7);
    expect(made.status('exit')).toBe('7\n');
    expect(made.status('apps/web/state')).toMatch(
      /^pid=\d+\nstarted=\d+\.\d{9}\nfinished=\d+\.\d{9}\nexit=7\n$/,
    );
  });

  it('ended by a signal ends the pod with 128 and its number', async () => {
    expect((await app('raise', '9').run()).code).toBe(137);
  });

  it('starts with default signals, no stray descriptors and only the environment of the plan', async () => {
    const { stdout } = await app('signals', '', 'descriptors', '', 'env', '').run();
    expect(logged(stdout)).toEqual(
      ['fd 0', 'fd 1', 'fd 2', 'PATH=/bin'].map((l) => `web[2]: ${l}`),
    );
  });

  // As root of the app it may change owner and mode of what it has open.
  it('has the null device of its pod for standard input, not the one of the host', async () => {
    const { dev, ino } = statSync('/dev/null');
    const { stdout } = await app('input-device', '').run();
    expect(stdout).toContain('null=1');
    expect(stdout).not.toContain(`input ${dev}:${ino} `);
  });

  it('has a session keyring of its own, not the one of whoever started the pod', async () => {
    const made = app('keyring', '');
    const ours = execFileSync(join(made.image, 'bin/probe'), ['keyring', ''], { encoding: 'utf8' });
    const { stdout } = await made.run();
    expect(logged(stdout)).toEqual([expect.stringMatching(/^web\[2\]: keyring \d+$/)]);
    expect(`${logged(stdout)[0]}\n`).not.toBe(`web[2]: ${ours}`);
  });

  it('becomes the user of the plan, with the capabilities of the plan and no others', async () => {
    const made = pod({
      apps: {
        web: {
          do: ['id', '', 'cat', '/proc/self/status', 'open', '/dev/stdout'],
          steps: [
            ['symlink', '/proc/self/fd/1', '/dev/stdout'],
            ['user', '1000', '1001', '7', '8'],
            ['keep-caps', 'chown', 'CAP_KILL'],
            ['no-new-privileges'],
            ['rlimit', 'nofile', '64', '64'],
          ],
        },
      },
    });
    const { stdout } = await made.run();
    expect(stdout).toContain('uid=1000 gid=1001 pid=2 cwd=/');
    expect(stdout).toMatch(/Groups:\s+7 8/);
    expect(stdout).toMatch(/CapInh:\s+0000000000000000/);
    expect(stdout).toMatch(/CapEff:\s+0000000000000000/);
    expect(stdout).toMatch(/CapBnd:\s+0000000000000021/);
    expect(stdout).toMatch(/NoNewPrivs:\s+1/);
    expect(stdout).toContain('/dev/stdout: ok');
  });

  it('finds nothing of the environment of whoever starts the pod in that of init', async () => {
    const { stdout } = await app('cat', '/proc/1/environ', 'say', 'done').run();
    expect(logged(stdout)).toEqual(['web[2]: done']);
  });

  it('finds the environment it was given and not the one of a service manager', async () => {
    const { stdout } = await app('env', '').run({ environment: { NOTIFY_SOCKET: '/nowhere' } });
    expect(stdout).not.toContain('NOTIFY_SOCKET');
  });

  it('has its orphans reaped', async () => {
    const { stdout } = await app('orphans', '20', 'sleep', '200', 'cat', '/proc/4/status').run();
    expect(stdout).toContain('/proc/4/status: No such file or directory');
    expect(stdout).not.toContain('zombie');
  });

  it('leaves no process behind', async () => {
    expect((await app('stay', '', 'stay', '', 'exit', '3').run()).code).toBe(3);
  });

  it('cannot look into init', async () => {
    const made = pod({
      apps: {
        web: { do: ['open', '/proc/1/fd/3', 'cat', '/proc/1/environ'], steps: [['keep-caps']] },
      },
    });
    const { stdout } = await made.run();
    expect(logged(stdout)).toEqual([
      'web[2]: /proc/1/fd/3: Permission denied',
      'web[2]: /proc/1/environ: Permission denied',
    ]);
  });
});

describe('output', () => {
  it('comes a line at a time, on the stream it was written to', async () => {
    const { stdout, stderr } = await app(
      'say',
      'one',
      'complain',
      'two',
      'say-part',
      'three',
    ).run();
    expect(stdout).toMatch(/^\[ *\d+\.\d{6}\] web\[2\]: one\n/);
    expect(logged(stdout)).toEqual(['web[2]: one', 'web[2]: three']);
    expect(logged(stderr)).toEqual(['web[2]: two']);
  });

  it('is split where a line is very long, and none of it is lost', async () => {
    const { stdout } = await app('long', '100000').run();
    const text = logged(stdout).map((line) => line.replace('web[2]: ', ''));
    expect(Math.max(...text.map((line) => line.length))).toBe(8192);
    expect(text.join('')).toHaveLength(100000);
  });

  it('that nobody reads does not keep a pod from being stopped', async () => {
    const made = pod({ grace: 1, apps: { web: { do: ['long', '1000000', 'wait', ''] } } });
    const fifo = join(scene.base, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const reader = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
    const child = made.start({ stdio: ['ignore', reader, 'inherit'] });
    await made.ready();
    await sleep(200);
    child.kill('SIGTERM');
    expect((await endingOf(child)).code).toBe(143);
    expect(readSync(reader, Buffer.alloc(200_000))).toBeGreaterThan(50_000);
    closeSync(reader);
  });

  it('whose reader is gone is dropped', async () => {
    const made = app('long', '100000', 'exit', '5');
    const child = made.start();
    child.stdout?.destroy();
    expect((await endingOf(child)).code).toBe(5);
  });
});

describe('several apps', () => {
  it('run side by side until the last has ended', async () => {
    const made = pod({
      apps: { one: { do: ['say', 'a', 'sleep', '100'] }, two: { do: ['say', 'b'] } },
    });
    const { code, stdout } = await made.run();
    expect(code).toBe(0);
    expect(stdout).toMatch(/one\[\d+\]: a/);
    expect(stdout).toMatch(/two\[\d+\]: b/);
  });

  it('are stopped when one fails, whose exit code is the pod’s', async () => {
    const made = pod({
      apps: {
        one: { do: ['catch', '15', 'wait', ''] },
        two: { do: ['sleep', '100', 'exit', '9'] },
      },
    });
    const { code, stdout } = await made.run();
    expect(code).toBe(9);
    expect(stdout).toContain('got Terminated');
    expect(made.status('apps/one/state')).toContain('exit=42');
  });

  it('do not start when one cannot be set up, and the step is named', async () => {
    const made = pod({
      apps: {
        one: { do: ['say', 'started'] },
        two: { do: [], steps: [['make-directory', '/bin/probe/x', '0755']] },
      },
    });
    const { code, stdout, stderr } = await made.run();
    expect(code).toBe(254);
    expect(stdout).toBe('');
    expect(stderr).toBe(
      'gantry: run: app "two": make-directory /bin/probe/x 0755: Not a directory\n',
    );
    expect(made.status('ready')).toBeUndefined();
    expect(made.status('exit')).toBe('254\n');
  });

  it('are named without what a terminal would obey', async () => {
    const exec = '/bin/\u009b2J\u001b[31m\u202eé';
    const { stderr } = await pod({ apps: { web: { do: [], exec } } }).run();
    expect(stderr).toContain('"/bin/');
    expect(stderr).toMatch(/^[ -~]*\n$/);
  });

  it('do not start when the program of one is missing', async () => {
    const made = pod({
      apps: { one: { do: ['say', 'started'] }, two: { do: [], exec: '/bin/missing' } },
    });
    const { code, stdout, stderr } = await made.run();
    expect([code, stdout]).toEqual([254, '']);
    expect(stderr).toContain('Error: Unable to open "/bin/missing": No such file or directory');
  });
});

describe('a program', () => {
  it('whose interpreter is missing fails the pod, in rkt’s words', async () => {
    const made = pod({
      apps: {
        web: {
          do: [],
          exec: '/script',
          steps: [['write-file', '/script', '0755', '#!/no/such/interpreter\n']],
        },
      },
    });
    const { code, stderr } = await made.run();
    expect(code).toBe(254);
    expect(stderr).toBe(
      'gantry: run: app "web": Error: Unable to open "/script": No such file or directory\n',
    );
  });

  it('that may not be executed fails the pod', async () => {
    const made = pod({
      apps: {
        web: { do: [], exec: '/text', steps: [['write-file', '/text', '0644', 'text']] },
      },
    });
    const { code, stderr } = await made.run();
    expect(code).toBe(254);
    expect(stderr).toBe('gantry: run: app "web": exec /text probe: Permission denied\n');
  });
});

describe('the supervisor', () => {
  it('asks the apps to end, and kills what does not', async () => {
    const made = pod({
      grace: 1,
      apps: { one: { do: ['catch', '15', 'wait', ''] }, two: { do: ['ignore', '15', 'wait', ''] } },
    });
    const child = made.start();
    await made.ready();
    await sleep(50);
    const started = Date.now();
    child.kill('SIGTERM');
    const { code, stdout } = await endingOf(child);
    expect(Date.now() - started).toBeGreaterThan(900);
    expect(code).toBe(42);
    expect(stdout).toContain('got Terminated');
    expect(made.status('apps/two/state')).toContain('exit=137');
  });

  it('asks each app by its own signal', async () => {
    const made = pod({
      grace: 1,
      apps: {
        one: { do: ['catch', '3', 'catch', '15', 'wait', ''], steps: [['stop-signal', '3']] },
        two: { do: ['catch', '15', 'wait', ''] },
        three: { do: ['wait', ''], steps: [['stop-signal', '9']] },
      },
    });
    const child = made.start();
    await made.ready();
    await sleep(50);
    child.kill('SIGTERM');
    const { stdout } = await endingOf(child);
    expect(
      logged(stdout)
        .map((line) => line.replace(/\[\d+\]/, ''))
        .sort(),
    ).toEqual(['one: got Quit', 'two: got Terminated']);
    expect(made.status('apps/one/state')).toContain('exit=137');
    expect(made.status('apps/two/state')).toContain('exit=42');
    expect(made.status('apps/three/state')).toContain('exit=137');
  });

  it('kills at once when interrupted twice', async () => {
    const made = pod({ grace: 30, apps: { web: { do: ['ignore', '15', 'wait', ''] } } });
    const child = made.start();
    await made.ready();
    await sleep(50);
    child.kill('SIGINT');
    await sleep(50);
    child.kill('SIGINT');
    expect((await endingOf(child)).code).toBe(137);
  });

  it.each([
    ['SIGHUP', 'Hangup', 1],
    ['SIGUSR1', 'User defined signal 1', 10],
    ['SIGQUIT', 'Quit', 3],
    ['SIGWINCH', 'Window changed', 28],
  ] as const)('passes %s on', async (signal, words, number) => {
    const made = app('catch', String(number), 'say', 'waiting', 'sleep', '5000');
    const child = made.start();
    const ending = endingOf(child);
    await made.ready();
    await sleep(50);
    child.kill(signal);
    expect((await ending).stdout).toContain(`got ${words}`);
  });

  it('takes the pod with it when it is killed, at whatever moment', async () => {
    for (let after = 0; after < 12; after += 0.5) {
      const made = new LaunchPod(
        { apps: { web: { do: ['stay', '', 'wait', ''] }, db: { do: ['wait', ''] } } },
        `pod-${after}`,
        scene.base,
      );
      const child = made.start();
      await sleep(after);
      child.kill('SIGKILL');
      await endingOf(child);
      await until(() => !made.locked);
      expect(await scene.leaks()).toEqual([]);
    }
  });

  it('tells a service manager that the pod is ready', async () => {
    const made = app('sleep', '50');
    const path = join(scene.base, 'notify');
    const told = listenForOne(path);
    await until(() => existsSync(path));
    await made.run({ environment: { NOTIFY_SOCKET: path } });
    expect(await told).toBe('READY=1');
  });

  it('removes the cgroups it made', async () => {
    const cgroup = cgroup2();
    if (cgroup === undefined) return;
    const group = join(cgroup, `launch-test-${process.pid}`);
    const made = pod({
      apps: { web: { do: ['cat', '/proc/self/cgroup'] } },
      supervisor: [
        ['make-cgroup', group],
        ['join-cgroup', group],
      ],
      teardown: [['remove-cgroup', group]],
    });
    expect((await made.run()).stdout).toContain(`0::/launch-test-${process.pid}`);
    expect(existsSync(group)).toBe(false);
  });

  it('lets go of the lock when it ends, and refuses to start without it', async () => {
    const made = app('exit', '0');
    await made.run();
    expect(made.locked).toBe(false);
    expect((await made.run({ environment: {} })).code).toBe(0);
  });
});

/** The cgroup v2 hierarchy, wherever it is mounted. */
function cgroup2(): string | undefined {
  const mount = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((line) => line.includes(' - cgroup2 '));
  return mount?.split(' ')[4];
}

/** Node has no datagram sockets in the file system; resolves to the first message at `path`. */
async function listenForOne(path: string): Promise<string> {
  const script =
    'import socket,sys\ns=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)\ns.bind(sys.argv[1])\nprint(s.recv(99).decode(),end="")';
  return (await endingOf(spawn('python3', ['-c', script, path]))).stdout;
}
