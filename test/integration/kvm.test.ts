import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { runCommand } from '../support/installation.ts';
import { machineKernel, machines, needs, program, root } from '../support/requirements.ts';
import {
  createMachineWorld,
  onTerminal,
  qemusOf,
  runWith,
  startMachine,
  withoutWarning,
} from './kvm-world.ts';

/** What a pod in a machine is run with here: nothing is signed. */
const OPTIONS = ['--insecure-options=image', '--stage1-name=kvm'];

describe('a pod in a machine', () => {
  beforeEach((context) => needs(context, root, machines));

  it('has apps with users, environments, capabilities and a volume, and the exit code of the first that fails', async () => {
    const world = await createMachineWorld();
    const mountPoints = [{ name: 'data', path: '/data' }];
    const isolators = [{ name: 'os/linux/capabilities-retain-set', value: { set: ['CAP_KILL'] } }];
    const web = await world.addImage('web', {
      user: '33',
      group: '50',
      supplementaryGIDs: [7],
      environment: [{ name: 'GREETING', value: 'a b' }],
      isolators,
      mountPoints,
    });
    const helper = await world.addImage('helper', { mountPoints });
    const file = join(world.directory, 'uuid');
    const commands = [
      'id',
      'env',
      'uname',
      'cat',
      '/proc/self/status',
      'stat',
      '/data',
      'exit',
      '3',
    ];
    const { code, stdout, stderr } = await world.gantry.run(
      'run',
      ...OPTIONS,
      `--uuid-file-save=${file}`,
      '--hostname=machine-7',
      web,
      '--',
      ...commands,
      '---',
      helper,
      '--',
      ...['write', '/data/made', 'write', '/made', 'ls', '/sys/class/net', 'sleep', '60'],
    );
    const lines = stdout.split('\n');
    expect(lines[0]).toMatch(/^\[ *\d+\.\d{6}\] (web|helper)\[\d+\]: /);
    const said = (app: string) =>
      lines.filter((line) => line.includes(` ${app}[`)).map((line) => line.replace(/^.*?\]: /, ''));
    expect(said('web')).toEqual(
      expect.arrayContaining([
        'id 33:50,7',
        'env GREETING=a b',
        'env AC_APP_NAME=web',
        'uname machine-7',
        'CapBnd:\t0000000000000020',
      ]),
    );
    expect(said('helper')).toEqual(
      expect.arrayContaining(['write /data/made: ok', 'write /made: ok', 'ls /sys/class/net: lo']),
    );
    expect(said('helper').join('\n')).not.toContain('eth');
    expect(withoutWarning(stderr)).toBe('');
    expect(code).toBe(3);

    // What the apps wrote is in the pod's own volume and layer, where the host has them.
    const pod = join(world.gantry.dataDirectory, 'pods/run', readFileSync(file, 'utf8').trim());
    expect(statSync(join(pod, 'volumes/data/made')).isFile()).toBe(true);
    expect(statSync(join(pod, 'apps/helper/upper/made')).uid).toBe(0);
    expect(readFileSync(join(pod, 'apps/web/state'), 'utf8')).toMatch(/exit=3\n$/);
    await world.gantry.call('gc', '--grace-period=0s');
    expect(await world.leaks()).toEqual([]);
  });

  it('writes as the user an app is', async () => {
    const world = await createMachineWorld();
    const mountPoints = [{ name: 'data', path: '/data' }];
    const image = await world.addImage('web', { user: '33', group: '50', mountPoints });
    chmodSync(join(world.directory, 'web/data'), 0o777);
    await world.gantry.call(
      'image pack',
      '--overwrite',
      `--manifest=${world.directory}/web.json`,
      `--rootfs=${world.directory}/web`,
      image,
    );
    const file = join(world.directory, 'uuid');
    const words = [
      ...OPTIONS,
      `--uuid-file-save=${file}`,
      image,
      '--',
      'write',
      '/data/mine',
      'write',
      '/no',
    ];
    const { stdout } = await world.gantry.run('run', ...words);
    expect(stdout).toContain('write /data/mine: ok');
    expect(stdout).toContain('write /no: Permission denied');
    const pod = join(world.gantry.dataDirectory, 'pods/run', readFileSync(file, 'utf8').trim());
    expect(statSync(join(pod, 'volumes/data/mine'))).toMatchObject({ uid: 33, gid: 50 });
  });

  it('holds an app and whoever enters it to its system call filter', async () => {
    const world = await createMachineWorld();
    const image = await world.addImage('app', {});
    // x86_64: reboot with arguments that mean nothing, keyctl.
    const calls = ['call', '169', 'call', '250'];
    const words = [...OPTIONS, image, '--', ...calls];
    expect((await world.gantry.run('run', ...words)).stdout).toMatch(
      /call 169: Operation not permitted\n.*call 250: Operation not permitted\n/,
    );
    const option = '--seccomp=mode=remove,errno=ENOTSUP,keyctl';
    const pod = await startMachine(world, image, option, '--', 'trap', '15', 'sleep', '60');
    const inside = await world.gantry.run('enter', pod.uuid, '/bin/probe', ...calls);
    expect(inside.stdout).toMatch(
      /call 169: Operation not permitted\n.*call 250: Operation not supported\n/,
    );
    await world.gantry.call('stop', pod.uuid);
  });

  it('can be entered, with pipes and on a terminal, and be stopped', async (context) => {
    needs(context, program('script'), program('stty'));
    const world = await createMachineWorld();
    const image = await world.addImage('app', {});
    const pod = await startMachine(world, image, '--', 'trap', '15', 'sleep', '60');
    const enter = (...words: string[]) => world.gantry.command('enter', pod.uuid, ...words).words;

    const status = await world.gantry.call('status', pod.uuid);
    expect(status).toContain('state=running');
    expect(status).toMatch(/^pid=\d+$/m);

    const both = await runWith('', enter('/bin/caller', 'both'));
    expect(both).toEqual({ code: 42, stdout: 'out\n', stderr: 'err\n' });
    const much = 'a line of text\n'.repeat(100_000);
    const copied = await Promise.all([
      runWith(much, enter('/bin/caller', 'copy')),
      runWith('little', enter('/bin/caller', 'copy')),
    ]);
    expect(copied.map(({ code, stderr }) => ({ code, stderr }))).toEqual([
      { code: 0, stderr: '' },
      { code: 0, stderr: '' },
    ]);
    expect(copied[0]?.stdout === much).toBe(true);
    expect(copied[1]?.stdout).toBe('little');
    const missing = await runWith('', enter('/bin/missing'));
    expect(missing).toMatchObject({ code: 254, stdout: '' });
    expect(missing.stderr).toContain('/bin/missing: No such file or directory');
    const long = await runWith('', enter('/bin/caller', 'x'.repeat(70_000)));
    expect(long.stderr).toContain('the command is too long for a machine');
    const terminal = await onTerminal(enter('/bin/caller', 'terminal'), 'hello\r');
    expect(terminal.output).toMatch(/^terminal 1, 132 by 43, leader 1\r$/m);
    expect(terminal.output).toMatch(/^got hello\r$/m);
    expect(terminal.code).toBe(5);
    expect((await onTerminal(enter('/bin/caller', 'terminal'), '\u0003')).code).toBe(3);

    // A visitor who is killed takes the command along; one who is asked to end passes that on.
    const asleep = world.gantry.start('enter', pod.uuid, '/bin/caller', 'sleep');
    await new Promise((resolve) => asleep.stdout?.once('data', resolve));
    asleep.kill('SIGKILL');
    const asked = world.gantry.start('enter', pod.uuid, '/bin/caller', 'sleep');
    await new Promise((resolve) => asked.stdout?.once('data', resolve));
    asked.kill('SIGTERM');
    expect(await new Promise((resolve) => asked.once('exit', resolve))).toBe(143);
    const { stdout } = await runWith('', enter('/bin/probe', 'ls', '/proc'));
    const processes = stdout.split('\n').filter((line) => /^ls \/proc: \d+$/.test(line));
    expect(processes).toHaveLength(3);

    await world.gantry.call('stop', pod.uuid);
    expect(await pod.ended).toEqual({ code: 7, stderr: '' });
    expect(await world.leaks()).toEqual([]);
    expect((await runWith('', enter('/bin/caller', 'both'))).stderr).toContain(
      "isn't currently running",
    );
  }, 60_000);

  it('has the terminal of whoever starts it', async (context) => {
    needs(context, program('script'), program('stty'));
    const world = await createMachineWorld();
    const image = await world.addImage('app', { exec: ['/bin/caller'] });
    const { words } = world.gantry.command('run', ...OPTIONS, '--interactive', image);
    const { code, output } = await onTerminal(words, 'hello\r');
    expect(output).toMatch(/^terminal 1, 132 by 43, leader 1\r$/m);
    expect(output).toMatch(/^got hello\r$/m);
    expect(code).toBe(5);
    expect((await runWith('typed\n', words)).stdout).toMatch(/got typed\r\n$/);
    expect(await world.leaks()).toEqual([]);
  }, 60_000);

  it('ends with its supervisor, and leaves no QEMU', async () => {
    const world = await createMachineWorld();
    const image = await world.addImage('app', {});
    const pod = await startMachine(world, image, '--', 'sleep', '60');
    expect(qemusOf(pod.uuid)).toHaveLength(1);
    pod.child.kill('SIGKILL');
    await pod.ended;
    for (let tries = 0; tries < 200 && qemusOf(pod.uuid).length > 0; tries++) await sleep(10);
    expect(qemusOf(pod.uuid)).toEqual([]);
    await world.gantry.call('gc', '--grace-period=0s');
    expect(await world.leaks()).toEqual([]);
  });

  it('fails when QEMU dies, and says so', async () => {
    const world = await createMachineWorld();
    const pod = await startMachine(world, await world.addImage('app', {}), '--', 'sleep', '60');
    process.kill(qemusOf(pod.uuid)[0] as number, 'SIGKILL');
    expect(await pod.ended).toEqual({
      code: 254,
      stderr: 'gantry: run: the machine ended by itself: QEMU was killed by signal 9\n',
    });
    expect(readFileSync(join(pod.directory, 'apps/app/state'), 'utf8')).toMatch(/exit=137\n$/);
    expect(await world.leaks()).toEqual([]);
  });

  it('fails when its kernel panics, and says why', async () => {
    const world = await createMachineWorld();
    const image = await world.addImage('app', { exec: ['/bin/caller', 'panic'] });
    const options = ['--insecure-options=image,paths', '--stage1-name=kvm'];
    const { code, stderr } = await world.gantry.run('run', ...options, image);
    expect(withoutWarning(stderr)).toMatch(
      /^gantry: run: the machine ended by itself: Kernel panic - not syncing: .*\n$/,
    );
    expect(code).toBe(254);
  });
});

describe('a machine that cannot be had', () => {
  beforeEach((context) => needs(context, root, machines));

  async function refusal(
    configuration: Readonly<Record<string, unknown>>,
    environment: Readonly<Record<string, string>> = {},
    ...options: readonly string[]
  ) {
    const world = await createMachineWorld();
    const image = await world.addImage('app', {});
    world.configure(configuration);
    const { words } = world.gantry.command('run', ...OPTIONS, ...options, image);
    const { code, stderr } = await runCommand({ words, environment });
    expect(code).toBe(254);
    expect(await world.leaks()).toEqual([]);
    expect(await world.gantry.call('list', '--no-legend')).toBe('');
    return stderr;
  }

  it('is refused without QEMU, or with one that is too old', async () => {
    expect(await refusal({}, { PATH: '/nonexistent' })).toMatch(
      /stage1 kvm needs qemu-system-x86_64, which is not on the PATH: install it \(Debian: qemu-system-x86\), or choose another with --stage1-name/,
    );
    const world = await createMachineWorld();
    const folder = join(world.directory, 'old');
    mkdirSync(folder);
    const script = '#!/bin/sh\necho "QEMU emulator version 4.2.1"\n';
    writeFileSync(join(folder, 'qemu-system-x86_64'), script, { mode: 0o755 });
    expect(await refusal({}, { PATH: `${folder}:${process.env['PATH']}` })).toMatch(
      /stage1 kvm needs QEMU 5\.2 or later, and \S+qemu-system-x86_64 is 4\.2: install a later one/,
    );
  });

  it('is refused without the kernel that was asked for, or without its drivers', async () => {
    expect(await refusal({ kernel: '/nonexistent/vmlinux' })).toMatch(
      /there is no kernel \/nonexistent\/vmlinux, which kvm\.d names/,
    );
    expect(await refusal({ modules: '/nonexistent/modules' })).toMatch(
      /no kernel modules in \/nonexistent\/modules: modules\.builtin: ENOENT/,
    );
    const world = await createMachineWorld();
    const modules = join(world.directory, 'modules');
    mkdirSync(modules);
    writeFileSync(join(modules, 'modules.builtin'), 'kernel/drivers/virtio/virtio_pci.ko\n');
    writeFileSync(join(modules, 'modules.dep'), 'kernel/drivers/char/virtio_console.ko:\n');
    expect(await refusal({ kernel: machineKernel.kernel, modules })).toMatch(
      /has no module 9pnet_virtio/,
    );
  });

  it('is refused for what the flavour lacks', async () => {
    expect(await refusal({}, {}, '--net=host')).toMatch(/stage1 gantry\/kvm lacks net-host/);
  });

  it('fails when QEMU does not start the kernel, with what QEMU says', async () => {
    const world = await createMachineWorld();
    const kernel = join(world.directory, 'kernel');
    writeFileSync(kernel, 'no kernel\n');
    const stderr = await refusalRunning({ kernel });
    expect(stderr).toMatch(
      /the machine ended by itself: qemu: linux kernel too old to load a ram disk/,
    );
  });

  async function refusalRunning(configuration: Readonly<Record<string, unknown>>) {
    const world = await createMachineWorld();
    const image = await world.addImage('app', {});
    world.configure(configuration);
    const { code, stderr } = await world.gantry.run('run', ...OPTIONS, image);
    expect(code).toBe(254);
    return stderr;
  }
});
