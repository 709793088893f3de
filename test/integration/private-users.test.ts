import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { USER_LOCKS } from '../../src/isolation/user-map.ts';
import { findPod } from '../../src/pod/find.ts';
import { gcPods } from '../../src/pod/gc.ts';
import { preparePod } from '../../src/pod/prepare.ts';
import { readRecord } from '../../src/pod/record.ts';
import { removePod } from '../../src/pod/remove.ts';
import { LOCK, system } from '../../src/system/binding.ts';
import { ended } from '../support/ended.ts';
import { ownProgram } from '../support/installation.ts';
import { needs, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { buildProbe } from './pod-probe.ts';
import { leaks, runChild, startChild } from './pod-world.ts';
import {
  ABLE,
  appState,
  COUNT,
  claims,
  createWorld,
  host,
  mounted,
  only,
  owner,
  refusal,
  removePods,
  requestFor,
  run,
  userOf,
} from './private-users-world.ts';

beforeEach((context) => needs(context, root));
afterEach(removePods);

describe('the users of a pod', () => {
  it('are a range of the host that begins with its root', async () => {
    const { stdout, first } = await run([
      'id',
      'cat',
      '/proc/self/uid_map',
      'cat',
      '/proc/self/gid_map',
    ]);
    const map = `0 ${first} ${COUNT}`;
    expect(stdout.map((line) => line.trim().replace(/ +/g, ' '))).toEqual(['id 0:0', map, map]);
    expect(first % COUNT).toBe(0);
    expect(first).toBeGreaterThanOrEqual(0x80000);
  });

  it('own what they write, inside and out', async () => {
    const app = { user: '1000', group: '1001' };
    const files = { work: { directory: true, uid: 1000, gid: 1001 } } as const;
    const { stdout, dir, first } = await run(
      ['write', '/work/new', 'stat', '/work/new'],
      {},
      { app, files },
    );
    expect(stdout).toEqual(['write /work/new: ok', 'stat /work/new: 100644 1000:1001']);
    expect(owner(join(dir, 'apps/probe/upper/work/new'))).toBe(`${first + 1000}:${first + 1001}`);
  });

  it('are whom the image says, nobody beyond the range', async () => {
    const files = {
      seven: { uid: 7, gid: 8 },
      strange: { uid: 70_000, gid: 8 },
      'bin/mine': { content: 'x', mode: 0o4755, uid: 33 },
    };
    const { stdout } = await run(
      ['stat', '/', 'stat', '/seven', 'stat', '/strange', 'stat', '/bin/mine', 'unlink', '/seven'],
      {},
      { files },
    );
    expect(stdout).toEqual([
      'stat /: 40755 0:0',
      'stat /seven: 100644 7:8',
      'stat /strange: 100644 65534:8',
      'stat /bin/mine: 104755 33:0',
      'unlink /seven: ok',
    ]);
  });

  it('are changed by set-user-ID programs', async () => {
    const app = { user: '1000', group: '1000', exec: ['/bin/su'] };
    const files = { 'bin/su': { content: readFileSync(buildProbe()), mode: 0o4755 } };
    const { stdout } = await run(['id', 'effective'], {}, { app, files });
    expect(stdout).toEqual(['id 1000:1000', 'effective 0:1000']);
  });

  it('are those its processes have on the host', async () => {
    const world = createWorld();
    const request = await requestFor(
      world,
      ['sleep', '60'],
      {},
      { app: { user: '5', group: '6' } },
    );
    const pod = startChild(world, 'run', { ...request, runsNow: true });
    const state = await appState(world, 'probe');
    const { first, dir } = only(world);
    const init = Number(readFileSync(join(dir, 'pid'), 'utf8').split(' ')[1]);
    const child = readFileSync(`/proc/${init}/task/${init}/children`, 'utf8').trim();
    expect(state).toContain('started=');
    expect(userOf(init)).toBe(first);
    expect(userOf(Number(child))).toBe(first + 5);
    pod.kill('SIGTERM');
    expect((await ended(pod)).code).toBe(143);
    expect(await leaks(world)).toEqual([]);
  });

  it('are no other pod’s, and only go with the pod', async () => {
    const world = createWorld();
    const request = await requestFor(world, []);
    const uuids: string[] = [];
    for (let index = 0; index < 8; index++) {
      using pod = await preparePod(world.context, request);
      uuids.push(pod.uuid);
    }
    const given = claims(world);
    expect(new Set(given).size).toBe(8);
    using pod = findPod(world.dataDir, uuids[0] ?? '');
    const users = readRecord(pod)?.settings.users;
    removePod(pod);
    expect(claims(world).sort()).toEqual(
      given.filter((name) => name !== String(users?.first)).sort(),
    );
  });
});

describe('root of a pod with every capability', () => {
  it('has no power over the host, and none over mounts it was given', async () => {
    const source = temporaryDirectory();
    const { stdout } = await run(['powers'], {
      insecure: ABLE,
      ...mounted([host('ro', source, { readOnly: true })], ['ro', '/ro']),
    });
    expect(stdout).toEqual([
      // Some kernels have none.
      expect.stringMatching(/^read \/proc\/kcore: (Operation not permitted|No such file)/),
      'write /proc/sys/kernel/core_pattern: Permission denied',
      expect.stringMatching(/^write \/proc\/sysrq-trigger: (Permission denied|No such file)/),
      'settimeofday: Operation not permitted',
      expect.stringMatching(/^init_module: (Operation not permitted|Function not implemented)/),
      'mknod: Operation not permitted',
      expect.stringMatching(/^mount ext4: (Operation not permitted|No such device)/),
      'devices of /: Operation not permitted',
      'writable /ro: Operation not permitted',
      'remount /ro: Operation not permitted',
    ]);
  });

  it('cannot make a user namespace without CAP_SYS_ADMIN', async () => {
    const { stdout } = await run(['user-namespaces']);
    expect(stdout).toContain('unshare: Operation not permitted');
  });
});

describe('a command that enters', () => {
  it('is root of the pod, with none of the groups of who enters', async () => {
    const world = createWorld();
    const pod = startChild(world, 'run', {
      ...(await requestFor(world, ['sleep', '60'])),
      runsNow: true,
    });
    await appState(world, 'probe');
    const { first, uuid } = only(world);
    const words = ['enter', uuid, '/bin/probe', 'id', 'cat', '/proc/self/uid_map', 'write', '/new'];
    const entered = await ended(
      spawn(ownProgram, [`--dir=${world.dataDir}`, ...words], {
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    );
    expect(entered.complained).toBe('');
    expect(entered.said.replace(/ +/g, ' ')).toBe(`id 0:0\n 0 ${first} ${COUNT}\nwrite /new: ok\n`);
    pod.kill('SIGTERM');
    await ended(pod);
    expect(await leaks(world)).toEqual([]);
  });
});

describe('the range of a pod', () => {
  it('is held while the pod runs, and another of its users does not start', async () => {
    const world = createWorld();
    using pod = await preparePod(world.context, await requestFor(world, ['id']));
    const first = readRecord(pod)?.settings.users?.first;
    pod.close();
    mkdirSync(USER_LOCKS, { recursive: true, mode: 0o700 });
    const lock = openSync(join(USER_LOCKS, String(first)), 'w', 0o600);
    system.flock(lock, LOCK.exclusive);
    const busy = await runChild(world, 'start', { uuid: pod.uuid });
    closeSync(lock);
    expect(busy.code).toBe(254);
    expect(busy.stderr).toContain(
      `gantry: run: hold-lock ${USER_LOCKS}/${first}: another pod that runs has it`,
    );
    expect(await leaks(world)).toEqual([]);
  });

  it('is given back by gc after a crash, and not before the pod is gone', async () => {
    const world = createWorld();
    using pod = await preparePod(world.context, await requestFor(world, []));
    const [kept = ''] = claims(world);
    writeFileSync(join(world.dataDir, 'users/524288'), `${crypto.randomUUID()}\n`);
    writeFileSync(join(world.dataDir, 'users/589824'), '');
    gcPods(world.dataDir, { graceSeconds: 0, expirePreparedSeconds: 600, markOnly: false });
    expect(claims(world)).toEqual([kept]);
    pod.close();
    gcPods(world.dataDir, { graceSeconds: 0, expirePreparedSeconds: 0, markOnly: false });
    expect(claims(world)).toEqual([]);
    expect(existsSync(join(USER_LOCKS, kept))).toBe(false);
  });

  it('is not held any longer than its supervisor lives, and its processes neither', async () => {
    const world = createWorld();
    const pod = startChild(world, 'run', {
      ...(await requestFor(world, ['sleep', '60'])),
      runsNow: true,
    });
    await appState(world, 'probe');
    pod.kill('SIGKILL');
    await ended(pod);
    const left = await leaks(world);
    // That goes with the pod.
    expect(left.filter((line) => !line.startsWith('cgroups:'))).toEqual([]);
    const fd = openSync(join(USER_LOCKS, String(only(world).first)), 'r');
    expect(system.flock(fd, LOCK.exclusive | LOCK.nonBlocking)).toBe(true);
    closeSync(fd);
  });
});

describe('a pod in the network of the host', () => {
  it('has users of its own too', async () => {
    const { stdout, code } = await run(['stat', '/sys/class/net/lo', 'read', '/etc/resolv.conf'], {
      network: 'host',
    });
    expect(stdout[0]).toMatch(/^stat \/sys\/class\/net\/lo: 120777 /);
    expect(code).toBe(0);
  });
});

describe('--private-users refuses', () => {
  it('an app whose user is beyond the range', async () => {
    expect(await refusal({}, { app: { user: '70000' } })).toBe(
      'app "probe": its user or group 70000 is none of the 65536 that a pod of --private-users has: choose others with --user, --group and --supplementary-gids',
    );
  });

  it('a volume of such a user', async () => {
    const volume = {
      name: 'data',
      kind: 'empty',
      readOnly: false,
      mode: '0755',
      uid: 0,
      gid: 65_536,
    } as const;
    expect(await refusal(mounted([volume], ['data', '/data']))).toContain(
      '--volume data: uid and gid:',
    );
  });

  it('mounts that would travel to the host', async () => {
    const volumes = mounted([host('data', '/', { propagation: 'shared' })], ['data', '/data']);
    expect(await refusal(volumes)).toContain('--volume data: propagation=shared');
  });

  it.each(['chroot', 'nspawn', 'kvm'])('stage1 %s', async (flavour) => {
    const world = createWorld(flavour);
    const request = await requestFor(world, []);
    await expect(preparePod(world.context, { ...request, network: 'host' })).rejects.toThrow(
      /lacks private-users|lacks net-host/,
    );
  });
});
