import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { exitCodeOf, runCommand } from '../support/installation.ts';
import { needs, program, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { createNspawnWorld, parentOf } from './nspawn-world.ts';
import { addImage, createWorld, leaks, requestOf, runPod } from './pod-world.ts';

beforeEach((context) => needs(context, root, program('systemd-nspawn')));

const lines = (output: string) =>
  output.split('\n').map((line) => line.replace(/^\[[^\]]*\] /, ''));

async function until(condition: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 1000; attempt++) {
    if (condition()) return;
    await sleep(10);
  }
  throw new Error('waited in vain');
}

describe('a pod under systemd-nspawn', () => {
  it('ends with the exit code of its app, and leaves nothing', async () => {
    const { gantry, reference, leaks } = await createNspawnWorld();
    const words = ['--stage1-name=nspawn', reference, '--', 'say', 'hello', 'exit', '7'];
    const { code, stdout, stderr } = await gantry.run('run', ...words);
    expect({ code, stdout: lines(stdout), stderr }).toEqual({
      code: 7,
      stdout: ['probe[2]: hello', ''],
      stderr: '',
    });
    expect(await leaks()).toEqual([]);
  });

  it('is started as well when it was prepared before', async () => {
    const { gantry, reference, leaks } = await createNspawnWorld();
    const uuid = await gantry.call('prepare', '--stage1-name=nspawn', reference, '--', 'exit', '3');
    expect((await gantry.run('run-prepared', uuid)).code).toBe(3);
    expect(await leaks()).toEqual([]);
  });

  it('lies between a supervisor that is the started process and an init that is PID 1', async () => {
    const world = await createNspawnWorld();
    const pod = await world.start('--', 'wait', '');
    expect(readFileSync(`/proc/${pod.nspawn}/comm`, 'utf8')).toBe('systemd-nspawn\n');
    expect(parentOf(pod.nspawn)).toBe(pod.process.pid);
    expect(readFileSync(`/proc/${pod.init}/status`, 'utf8')).toMatch(/^NSpid:\t\d+\t1$/m);
    expect(await world.gantry.call('status', pod.uuid)).toContain(`pid=${pod.init}\n`);
    await world.gantry.call('stop', pod.uuid);
    await pod.ended;
    expect(await world.leaks()).toEqual([]);
  });

  it('is stopped in order: its app is asked to end, and ends it with its own code', async () => {
    const world = await createNspawnWorld();
    const pod = await world.start('--', 'catch', '15', 'wait', '');
    await world.gantry.call('stop', pod.uuid);
    expect(await pod.ended).toBe(42);
    expect(lines(pod.said())).toContain('probe[2]: got Terminated');
    expect(await world.leaks()).toEqual([]);
  });

  it('hands signals on to its app, and those for the process group to the supervisor alone', async () => {
    const world = await createNspawnWorld();
    const catches = ['catch', '10', 'catch', '3', 'catch', '15'];
    const pod = await world.start('--', ...catches, 'wait', '');
    pod.process.kill('SIGUSR1');
    await until(() => pod.said().includes('got User defined signal 1'));
    // As a terminal's Ctrl-\\ and Ctrl-C. The process is the leader of its group.
    process.kill(-(pod.process.pid ?? 0), 'SIGQUIT');
    await until(() => pod.said().includes('got Quit'));
    process.kill(-(pod.process.pid ?? 0), 'SIGINT');
    expect(await pod.ended).toBe(42);
    expect(await world.leaks()).toEqual([]);
  });

  it('is ended in order by a signal to systemd-nspawn or to init', async () => {
    for (const which of ['nspawn', 'init'] as const) {
      const world = await createNspawnWorld();
      const pod = await world.start('--', 'catch', '15', 'wait', '');
      process.kill(pod[which], 'SIGTERM');
      expect(await pod.ended, which).toBe(42);
      expect(await world.leaks()).toEqual([]);
    }
  });

  it('is not ended by its own app asking init to end', async () => {
    const { gantry, reference, leaks } = await createNspawnWorld();
    const words = ['--', 'kill', '1', 'sleep', '200', 'exit', '5'];
    const { code, stdout } = await gantry.run('run', '--stage1-name=nspawn', reference, ...words);
    expect({ code, said: lines(stdout)[0] }).toEqual({ code: 5, said: 'probe[2]: kill: ok' });
    expect(await leaks()).toEqual([]);
  });

  it.each([
    ['its supervisor', (pod: { process: { pid?: number } }) => pod.process.pid],
    ['systemd-nspawn', (pod: { nspawn: number }) => pod.nspawn],
    ['its init', (pod: { init: number }) => pod.init],
  ] as const)('is gone when %s is killed', async (_who, whom) => {
    const world = await createNspawnWorld();
    const pod = await world.start('--', 'stay', '', 'wait', '');
    process.kill(whom(pod as never) ?? 0, 'SIGKILL');
    expect(await pod.ended).toBe(137);
    await world.gantry.call('gc', '--grace-period=0s');
    expect(await world.leaks()).toEqual([]);
  });

  it('is gone after stop --force, which ends its supervisor by a signal', async () => {
    const world = await createNspawnWorld();
    const pod = await world.start('--', 'ignore', '15', 'wait', '');
    await world.gantry.call('stop', '--force', pod.uuid);
    expect(await pod.ended).toBe(137);
    expect(pod.process.signalCode).toBe('SIGKILL');
    expect(readFileSync(join(pod.directory, 'exit'), 'utf8')).toBe('137\n');
    expect(await world.leaks()).toEqual([]);
  });

  it('that cannot be set up says so in one line', async () => {
    const { gantry, reference, leaks } = await createNspawnWorld();
    const words = ['--stage1-name=nspawn', reference, '--exec=/dev/missing'];
    const { code, stderr } = await gantry.run('run', ...words);
    expect(stderr).toMatch(/^gantry: run: app "probe": Error: Unable to open "\/dev\/missing"/);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(code).toBe(254);
    expect(await leaks()).toEqual([]);
  });

  it('is entered in the namespaces and the group of its app', async () => {
    const world = await createNspawnWorld();
    const pod = await world.start('--', 'wait', '');
    const enter = async (...words: string[]) =>
      await world.gantry.run('enter', pod.uuid, '/bin/probe', ...words);
    expect(await enter('say', 'inside', 'exit', '9')).toMatchObject({
      code: 9,
      stdout: 'inside\n',
    });
    const { stdout } = await enter('cat', '/proc/self/cgroup', 'cat', '/proc/1/comm');
    // The group of the pod is the topmost one that is seen from within.
    expect(stdout).toMatch(/^0::\/$/m);
    expect(stdout).toMatch(/^gantry-init$/m);
    await world.gantry.call('stop', pod.uuid);
    await pod.ended;
    expect(await world.leaks()).toEqual([]);
  });

  it('has several apps, which share volumes and memory, and ends with the failing one', async () => {
    const world = createWorld('nspawn');
    const app = { mountPoints: [{ name: 'work', path: '/work' }] };
    const record = await addImage(world, { app });
    const one = ['write', '/work/x', 'write', '/dev/shm/x', 'sleep', '1', 'exit', '3'];
    const two = ['sleep', '0', 'ls', '/proc', 'sleep', '30'];
    const apps = [
      { record, name: 'one', args: one },
      { record, name: 'two', args: two },
    ];
    const { code, stdout } = await runPod(world, requestOf(record, [], { apps }));
    expect(code).toBe(3);
    expect(stdout).toContain('write /work/x: ok');
    expect(await leaks(world)).toEqual([]);
  });

  it.each(['none', 'host'] as const)('has the network that --net=%s says', async (network) => {
    const world = createWorld('nspawn');
    const record = await addImage(world);
    const request = requestOf(record, ['link', '/proc/self/ns/net', 'ls', '/sys/class/net'], {
      network,
    });
    const { stdout } = await runPod(world, request);
    const own = execFileSync('readlink', ['/proc/self/ns/net'], { encoding: 'utf8' }).trim();
    expect(stdout[0]?.endsWith(own)).toBe(network === 'host');
    if (network === 'none') expect(stdout.slice(1)).toEqual(['ls /sys/class/net: lo']);
    expect(await leaks(world)).toEqual([]);
  });

  it('has directories and files of the host as volumes, and none through which mounts travel', async () => {
    const { gantry, reference, leaks } = await createNspawnWorld();
    const source = temporaryDirectory();
    writeFileSync(join(source, 'here'), 'of the host\n');
    const run = (more: string, ...app: string[]) => {
      const volume = `data,kind=host,source=${source}${more}`;
      const mount = '--mount=volume=data,target=/data';
      const words = ['--stage1-name=nspawn', `--volume=${volume}`, reference, mount, '--', ...app];
      return gantry.run('run', ...words);
    };
    const { stdout, stderr } = await run('', 'cat', '/data/here', 'open', '/data/here');
    expect(lines(stdout).slice(0, 2), stderr).toEqual([
      'probe[2]: of the host',
      'probe[2]: /data/here: ok',
    ]);
    const readOnly = await run(',readOnly=true', 'open', '/data/here');
    expect(lines(readOnly.stdout)[0]).toBe('probe[2]: /data/here: Read-only file system');
    const travelling = await run(',propagation=shared');
    expect(travelling.stderr).toContain('lacks travelling-mounts');
    expect(travelling.code).toBe(254);
    expect(await leaks()).toEqual([]);
  });

  it('keeps the limits of whoever starts it', async () => {
    const { gantry, reference } = await createNspawnWorld();
    const [file, ...words] = gantry.command('run', '--stage1-name=nspawn', reference).words;
    const line = 'ulimit -S -s 4096 && ulimit -S -c 0 && exec "$@"';
    const shell: [string, ...string[]] = ['sh', '-c', line, 'sh', file, ...words];
    const { stdout } = await runCommand({ words: [...shell, '--', 'cat', '/proc/self/limits'] });
    expect(stdout).toMatch(/Max stack size +4194304 /);
    expect(stdout).toMatch(/Max core file size +0 /);
  });

  it('has a terminal, and what is typed there', async (context) => {
    needs(context, program('script'), program('stty'));
    const { gantry, reference, leaks } = await createNspawnWorld();
    const { words } = gantry.command('run', '--stage1-name=nspawn', '--interactive', reference);
    const app = ['--', 'terminal', '', 'say', 'type now', 'input', '', 'exit', '6'];
    const all = [...words, ...app].map((word) => `'${word}'`).join(' ');
    const child = spawn('script', ['-qefc', `stty cols 132 rows 43; exec ${all}`, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (text.includes('type now')) child.stdin.write('hello\r\u0004');
    });
    expect(await exitCodeOf(child)).toBe(6);
    expect(output).toMatch(/stdout=1 session=1 foreground=1/);
    expect(output).toContain('size=132x43');
    expect(output).toContain('read 6: hello');
    expect(await leaks()).toEqual([]);
  });
});

describe('an app under systemd-nspawn', () => {
  /** What the same app finds under another flavour, without what differs from one run to the next. */
  async function found(
    flavour: 'native' | 'nspawn',
    app: Record<string, unknown>,
    commands: string[],
  ) {
    const world = createWorld(flavour);
    const files = {
      etc: { directory: true } as const,
      'etc/passwd': 'web:x:33:33::/:/bin/false\n',
    };
    const record = await addImage(world, { app, files });
    const { stdout } = await runPod(world, requestOf(record, commands));
    expect(await leaks(world)).toEqual([]);
    return stdout.map((line) => line.replace(/gantry-[0-9a-f-]{36}/g, 'HOST'));
  }

  const isolators = [
    { name: 'os/linux/capabilities-retain-set', value: { set: ['CAP_CHOWN', 'CAP_KILL'] } },
    { name: 'os/linux/no-new-privileges', value: true },
  ];

  it.each([
    ['as root', {}],
    ['with few capabilities', { isolators }],
    ['as another user', { user: 'web', group: '33' }],
  ])('has the capabilities, filters and signals of the native flavour, %s', async (_how, app) => {
    const status = async (flavour: 'native' | 'nspawn') =>
      (await found(flavour, app, ['cat', '/proc/self/status'])).filter((line) =>
        /^(Cap|NoNewPrivs|Seccomp|Sig(Blk|Ign|Cgt)|Groups|Uid|Gid|Umask|NSpid)/.test(line),
      );
    const native = await status('native');
    expect(native.length).toBeGreaterThan(12);
    expect(await status('nspawn')).toEqual(native);
  });

  it('finds the same mounts, devices, environment and processes', async () => {
    const commands = ['env', 'ls', '/', 'ls', '/dev', 'uname', 'id', 'pwd', 'read', '/proc/kcore'];
    const more = [
      'write',
      '/proc/sys/kernel/hostname',
      'write',
      '/sys/x',
      'node',
      '/n',
      'node',
      '/dev/n',
    ];
    const all = [...commands, ...more, 'user-namespaces'];
    const native = await found('native', {}, all);
    expect(await found('nspawn', {}, all)).toEqual(native);
    const mounts = async (flavour: 'native' | 'nspawn') =>
      (await found(flavour, {}, ['cat', '/proc/mounts'])).map((line) =>
        line.replace(/^(\S+ \S+ \S+ [^,]+).*/, '$1'),
      );
    expect(await mounts('nspawn')).toEqual(await mounts('native'));
  });

  it('sees nothing of systemd-nspawn', async () => {
    const stdout = await found('nspawn', {}, [
      'ls',
      '/run',
      'ls',
      '/proc',
      'cat',
      '/proc/1/cmdline',
      'env',
    ]);
    expect(stdout.filter((line) => /nspawn|LISTEN|NOTIFY|systemd/i.test(line))).toEqual([]);
    expect(stdout.filter((line) => /^ls \/proc: \d+$/.test(line))).toHaveLength(2);
  });
});

describe('systemd-nspawn', () => {
  /** Runs a pod with a PATH on which systemd-nspawn is what `script` says, or is not there. */
  async function runWith(script: string | undefined) {
    const { gantry, reference, leaks } = await createNspawnWorld();
    const bin = join(temporaryDirectory(), 'bin');
    mkdirSync(bin);
    if (script !== undefined) {
      writeFileSync(join(bin, 'systemd-nspawn'), script);
      chmodSync(join(bin, 'systemd-nspawn'), 0o755);
    }
    const { words } = gantry.command('run', '--stage1-name=nspawn', reference, '--', 'exit', '0');
    const ending = await runCommand({ words, environment: { PATH: bin } });
    expect(await leaks()).toEqual([]);
    expect(ending.stderr.trim().split('\n')).toHaveLength(1);
    return ending;
  }

  it('that is missing is said to be, with what to install', async () => {
    const { code, stderr } = await runWith(undefined);
    expect(stderr).toMatch(
      /^gantry: run: stage1 nspawn needs systemd-nspawn, which is not on the PATH: install it/,
    );
    expect(code).toBe(254);
  });

  it('that is too old is refused with its version', async () => {
    const { code, stderr } = await runWith('#!/bin/sh\necho "systemd 249 (249.11)"\n');
    expect(stderr).toContain('needs systemd-nspawn 252 or later');
    expect(stderr).toContain('/systemd-nspawn is 249: install a later one');
    expect(code).toBe(254);
  });

  it('that tells no version is refused', async () => {
    const { code, stderr } = await runWith('#!/bin/sh\nexit 1\n');
    expect(stderr).toContain('of no version that it tells');
    expect(code).toBe(254);
  });

  it('that ends before it has started anything is named', async () => {
    const script = '#!/bin/sh\n[ "$1" = --version ] && echo "systemd 252 (252)"\nexit 0\n';
    const { code, stderr } = await runWith(script);
    expect(stderr).toMatch(/systemd-nspawn: ended before the pod's init had started/);
    expect(code).toBe(254);
  });
});
