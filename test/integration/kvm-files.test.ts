import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { machines, needs, program, root, virtiofs } from '../support/requirements.ts';
import {
  createMachineWorld,
  type MachineWorld,
  qemusOf,
  serversOf,
  startMachine,
  withoutWarning,
} from './kvm-world.ts';
import { buildProbe } from './pod-probe.ts';

const OPTIONS = ['--insecure-options=image', '--stage1-name=kvm'];

/** Runs a pod to its end: what its app printed, and where it lies. */
async function runMachine({ gantry, directory }: MachineWorld, ...words: readonly string[]) {
  const file = join(directory, 'uuid');
  const options = [...OPTIONS, `--uuid-file-save=${file}`];
  const { code, stdout, stderr } = await gantry.run('run', ...options, ...words);
  const pod = join(gantry.dataDirectory, 'pods/run', readFileSync(file, 'utf8').trim());
  const lines = stdout.split('\n').map((line) => line.replace(/^\[[^\]]*\] \w+\[\d+\]: /, ''));
  return { code, lines: lines.filter(Boolean), stderr: withoutWarning(stderr), pod };
}

const data = [{ name: 'data', path: '/data' }];

describe('the files of a machine, by virtio-fs', () => {
  beforeEach((context) => needs(context, root, machines, virtiofs));

  it('may be sockets, FIFOs and devices, in root and volumes', async () => {
    const world = await createMachineWorld();
    world.configure({ share: 'virtiofs' });
    mkdirSync(join(world.directory, 'app/run'), { recursive: true });
    const image = await world.addImage('app', {
      exec: ['/bin/caller', 'nodes', '/run', '/data'],
      mountPoints: data,
    });
    const { code, lines, stderr, pod } = await runMachine(world, image);
    const made = (directory: string) => [
      ...['bind', 'connect', 'fifo', 'read', 'mknod'].map((what) => `${what} ${directory}: ok`),
      `open ${directory}: Permission denied`,
    ];
    expect(lines).toEqual([...made('/run'), ...made('/data')]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    for (const directory of ['apps/app/upper/run', 'volumes/data']) {
      const kind = (name: string) => lstatSync(join(pod, directory, name));
      expect(kind('socket').isSocket()).toBe(true);
      expect(kind('fifo').isFIFO()).toBe(true);
      expect(kind('device').isCharacterDevice()).toBe(true);
    }
    expect(await world.leaks()).toEqual([]);
  });

  it('are made where a user may by a supplementary group, never with a group of others, and have their capabilities', async (context) => {
    needs(context, program('setcap'));
    const world = await createMachineWorld();
    world.configure({ share: 'virtiofs' });
    for (const [name, gid, mode] of [
      ['team', 7, 0o770],
      ['open', 8, 0o2777],
    ] as const) {
      const path = join(world.directory, 'app', name);
      mkdirSync(path, { recursive: true });
      chownSync(path, 0, gid);
      chmodSync(path, mode);
    }
    const tool = join(world.directory, 'app/open/tool');
    writeFileSync(tool, '');
    chownSync(tool, 33, 50);
    chmodSync(tool, 0o6755);
    const user = { user: '33', group: '50', supplementaryGIDs: [7] };
    const exec = ['/bin/caller', 'group', '/team', '/open'];
    const image = await world.addImage('app', { ...user, exec });
    const bin = join(world.directory, 'able/bin');
    mkdirSync(bin, { recursive: true });
    copyFileSync(buildProbe(), join(bin, 'able'));
    execFileSync('setcap', ['cap_kill=ep', join(bin, 'able')]);
    const able = await world.addImage('able', {
      ...user,
      exec: ['/bin/able', 'cat', '/proc/self/status'],
    });
    const { lines, pod } = await runMachine(world, image, able);
    expect(lines).toContain('CapEff:\t0000000000000020');
    expect(lines.filter((line) => /^ma|^mk/.test(line))).toEqual([
      'make /team: ok',
      'made 2775 33:50',
      'mkdir /team: ok',
      'make /open: ok',
      // As on the host: no program of group 8 by whoever is not in it (CVE-2022-0358).
      'made 775 33:8',
      'mkdir /open: ok',
      'makes of a tool 755',
    ]);
    expect(lstatSync(join(pod, 'apps/app/upper/team/file'))).toMatchObject({ uid: 33, gid: 50 });
  });

  it("are the host's where a volume is, file or directory, read-only where it is that", async () => {
    const world = await createMachineWorld();
    world.configure({ share: 'virtiofs' });
    const host = join(world.directory, 'host');
    mkdirSync(host);
    writeFileSync(join(host, 'given'), 'from the host\n');
    writeFileSync(join(world.directory, 'file'), 'a file\n');
    const image = await world.addImage('app', { mountPoints: data });
    const { lines, stderr } = await runMachine(
      world,
      `--volume=data,kind=host,source=${host}`,
      `--volume=kept,kind=host,source=${host},readOnly=true`,
      `--volume=file,kind=host,source=${world.directory}/file`,
      image,
      ...['--mount', 'volume=kept,target=/kept', '--mount', 'volume=file,target=/etc/file'],
      ...['--', 'cat', '/data/given', 'cat', '/etc/file', 'write', '/data/made'],
      ...['write', '/kept/no', 'cat', '/kept/given', 'write', '/etc/file'],
    );
    expect(stderr).toBe('');
    expect(lines).toEqual([
      'from the host',
      'a file',
      'write /data/made: ok',
      'write /kept/no: Read-only file system',
      'from the host',
      'write /etc/file: ok',
    ]);
    expect(lstatSync(join(host, 'made')).uid).toBe(0);
    expect(await world.leaks()).toEqual([]);
  });

  it('are served by a program that can do little else, and QEMU can do nothing at all to files', async () => {
    const world = await createMachineWorld();
    world.configure({ share: 'virtiofs' });
    const pod = await startMachine(world, await world.addImage('app', {}), '--', 'sleep', '60');
    const [qemu = -1] = qemusOf(pod.uuid);
    const servers = serversOf(qemu);
    expect(servers).toHaveLength(2);
    const status = (pid: number) => readFileSync(`/proc/${pid}/status`, 'latin1');
    expect(status(qemu)).toMatch(/CapPrm:\s*0{16}\n.*CapBnd:\s*0{16}\n.*NoNewPrivs:\s*1/s);
    const [capabilities, ...further] = servers.map((pid) => /CapPrm:.*/.exec(status(pid))?.[0]);
    // chown dac_override fowner fsetid setgid setuid mknod setfcap; the one that only waits has none.
    expect([capabilities, ...further].sort()).toEqual([
      'CapPrm:\t0000000000000000',
      'CapPrm:\t00000000880000db',
    ]);
    for (const pid of servers) expect(status(pid)).toMatch(/NoNewPrivs:\s*1/);

    process.kill(servers[0] as number, 'SIGKILL');
    const { code, stderr } = await pod.ended;
    expect(stderr).toContain(
      'gantry: run: what serves the machine its files ended by itself: virtiofsd was killed by signal 9\n',
    );
    expect(code).toBe(254);
    expect(await world.leaks()).toEqual([]);
  });

  it('leave no process when the supervisor is killed', async () => {
    const world = await createMachineWorld();
    world.configure({ share: 'virtiofs' });
    const pod = await startMachine(world, await world.addImage('app', {}), '--', 'sleep', '60');
    const [qemu = -1] = qemusOf(pod.uuid);
    const all = [qemu, ...serversOf(qemu)];
    pod.child.kill('SIGKILL');
    await pod.ended;
    const lives = (pid: number) => {
      try {
        return process.kill(pid, 0);
      } catch {
        return false;
      }
    };
    for (let tries = 0; tries < 200 && all.some(lives); tries++) await sleep(10);
    expect(all.filter(lives)).toEqual([]);
    await world.gantry.call('gc', '--grace-period=0s');
    expect(await world.leaks()).toEqual([]);
  });
});

describe('the files of a machine, by 9p', () => {
  beforeEach((context) => needs(context, root, machines));

  it('are served by QEMU when that is chosen', async () => {
    const world = await createMachineWorld();
    world.configure({ share: '9p' });
    const image = await world.addImage('app', { mountPoints: data });
    const commands = ['write', '/data/made', 'write', '/made', 'cat', '/proc/mounts'];
    const { lines, pod } = await runMachine(world, image, '--', ...commands);
    expect(lines.slice(0, 2)).toEqual(['write /data/made: ok', 'write /made: ok']);
    expect(lines.some((line) => line.startsWith('share / 9p '))).toBe(true);
    expect(lstatSync(join(pod, 'volumes/data/made')).isFile()).toBe(true);
  });
});
