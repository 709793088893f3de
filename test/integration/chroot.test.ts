import { lstatSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { removeIsolator, retainIsolator } from '../../src/isolation/isolators.ts';
import { findPod, podsIn } from '../../src/pod/find.ts';
import { preparePod } from '../../src/pod/prepare.ts';
import type { PodRequest } from '../../src/pod/request.ts';
import { podStatus } from '../../src/pod/status.ts';
import { ended } from '../support/ended.ts';
import { needs, root } from '../support/requirements.ts';
import {
  addImage,
  createWorld,
  type ImageWishes,
  leaks,
  requestOf,
  runChild,
  runPod,
  startChild,
  type World,
} from './pod-world.ts';

beforeEach((context) => needs(context, root));

/** A request that leaves the network to the flavour. */
function wish(
  record: Parameters<typeof requestOf>[0],
  args: readonly string[],
  changes: Partial<PodRequest> = {},
): PodRequest {
  const { network: _, ...request } = requestOf(record, args);
  return { ...request, ...changes };
}

/** Runs the probe in a pod of the chroot flavour, and checks that nothing is left of it. */
async function probe(
  commands: readonly string[],
  image: ImageWishes = {},
  changes: Partial<PodRequest> = {},
) {
  const world = createWorld('chroot');
  const record = await addImage(world, image);
  const ending = await runPod(world, wish(record, commands, changes));
  expect(await leaks(world)).toEqual([]);
  return { ...ending, world };
}

/** The text of /proc/PID/status's capability sets, as numbers. */
async function capabilities(changes: Partial<PodRequest['apps'][number]> = {}, app: object = {}) {
  const world = createWorld('chroot');
  const record = await addImage(world, { app: { ...app } });
  const request = wish(record, []);
  const apps = [{ record, args: ['cat', '/proc/self/status'], ...changes }];
  const { stdout } = await runPod(world, { ...request, apps });
  const line = stdout.find((text) => text.startsWith('CapEff:'));
  return BigInt(`0x${line?.split('\t')[1]}`);
}

/** Prepares a pod, which nobody holds then. */
async function prepared(world: World, request: PodRequest): Promise<{ uuid: string }> {
  using pod = await preparePod(world.context, request);
  return { uuid: pod.uuid };
}

async function started(world: World, args: readonly string[]) {
  const record = await addImage(world);
  const child = startChild(world, 'run', { ...wish(record, args), runsNow: true });
  const ending = ended(child);
  for (;;) {
    const [uuid] = podsIn(world.dataDir, 'run');
    const pod = uuid === undefined ? undefined : findPod(world.dataDir, uuid);
    if (pod !== undefined && podStatus(pod).ready) return { child, ending, pod };
    await sleep(5);
  }
}

describe('an app of the chroot flavour', () => {
  it('ends with its own exit code, and leaves nothing', async () => {
    expect(await probe(['exit', '7'])).toMatchObject({ code: 7, stdout: [], stderr: '' });
    expect((await probe(['kill', '9'])).code).toBe(137);
  });

  it('has every namespace of the host but that of mounts', async () => {
    const kinds = ['pid', 'net', 'ipc', 'uts', 'user', 'cgroup', 'mnt'];
    const paths = kinds.map((kind) => `/proc/self/ns/${kind}`);
    const { stdout } = await probe(paths.flatMap((path) => ['link', path]));
    const ours = paths.map((path) => `link ${path}: ${readlinkSync(path)}`);
    expect(stdout.slice(0, -1)).toEqual(ours.slice(0, -1));
    expect(stdout.at(-1)).not.toBe(ours.at(-1));
  });

  it("sees the host's devices, processes and kernel, and has a /tmp of its own", async () => {
    const parent = process.pid;
    const { stdout } = await probe([
      'link',
      `/proc/${parent}/ns/pid`,
      'ls',
      '/dev',
      'read',
      '/proc/kallsyms',
      'ls',
      '/tmp',
      'stat',
      '/tmp',
    ]);
    expect(stdout[0]).toBe(`link /proc/${parent}/ns/pid: ${readlinkSync('/proc/self/ns/pid')}`);
    const devices = stdout.filter((line) => line.startsWith('ls /dev: '));
    expect(devices.sort()).toEqual(
      readdirSync('/dev')
        .filter((name) => !name.startsWith('.'))
        .map((name) => `ls /dev: ${name}`)
        .sort(),
    );
    expect(stdout.slice(-2)).toEqual(['read /proc/kallsyms: ok', 'stat /tmp: 41777 0:0']);
  });

  it("has the host's name and resolver", async () => {
    const { stdout } = await probe(['uname', 'cat', '/etc/hosts', 'read', '/etc/resolv.conf']);
    expect(stdout[0]).toBe(`uname ${hostname()}`);
    expect(stdout.join('\n')).toContain(`127.0.1.1\t${hostname()}`);
    expect(stdout.at(-1)).toBe('read /etc/resolv.conf: ok');
  });

  it('reads and writes the streams of whoever started it', async () => {
    const world = createWorld('chroot');
    const { ending } = await started(world, ['echo', 'plain', 'sleep', '1', 'exit', '3']);
    expect(await ending).toMatchObject({ said: 'plain\n', complained: '', code: 3 });
  });

  it('gets user, groups, environment and working directory of its image', async () => {
    const files = { srv: { directory: true } as const };
    const app = { user: '33', group: '44', supplementaryGIDs: [7], workingDirectory: '/srv' };
    const { stdout } = await probe(['id', 'pwd', 'env'], { files, app });
    expect(stdout.slice(0, 2)).toEqual(['id 33:44,7', 'pwd /srv']);
    expect(stdout).toContain('env AC_APP_NAME=probe');
  });

  it('cannot write to a read-only root', async () => {
    const world = createWorld('chroot');
    const record = await addImage(world);
    const apps = [{ record, args: ['write', '/x', 'write', '/tmp/x'], readOnlyRootfs: true }];
    const { stdout } = await runPod(world, { ...wish(record, []), apps });
    expect(stdout).toEqual(['write /x: Read-only file system', 'write /tmp/x: ok']);
  });

  it('runs from a copy of its image with --no-overlay', async () => {
    expect((await probe(['write', '/x', 'exit', '4'], {}, { overlay: false })).code).toBe(4);
  });

  it('sees nothing of what is mounted on the host outside of its root', async () => {
    const { stdout, world } = await probe(['cat', '/proc/self/mountinfo']);
    const points = stdout.map((line) => line.split(' ')[4] ?? '');
    expect(
      points.filter((point) => !/^\/($|(dev|proc|sys|tmp|etc\/resolv.conf)($|\/))/.test(point)),
    ).toEqual([]);
    expect(stdout.join('\n')).not.toContain('shared:');
    expect(points).not.toContain(world.dataDir);
  });
});

describe('the capabilities of an app of the chroot flavour', () => {
  const SYS_ADMIN = 1n << 21n;
  const CHOWN = 1n;

  it('are all of them, unless image or operator name some', async () => {
    const all = await capabilities();
    expect(all & SYS_ADMIN).toBe(SYS_ADMIN);
    expect(await capabilities({ isolators: [removeIsolator(['CAP_SYS_ADMIN'])] })).toBe(
      all & ~SYS_ADMIN,
    );
    expect(await capabilities({ isolators: [retainIsolator(['CAP_CHOWN'])] })).toBe(CHOWN);
    const set = { name: 'os/linux/capabilities-retain-set', value: { set: ['CAP_CHOWN'] } };
    expect(await capabilities({}, { isolators: [set] })).toBe(CHOWN);
  });
});

describe('what the chroot flavour lacks', () => {
  it.each([
    [{ network: 'none' }, '--net=none'],
    [{ hostname: 'other' }, '--hostname'],
  ] as const)('is refused before anything is there: %j', async (changes, words) => {
    const world = createWorld('chroot');
    const record = await addImage(world);
    await expect(preparePod(world.context, wish(record, [], changes))).rejects.toThrow(words);
    expect(await leaks(world)).toEqual([]);
  });

  it('is refused to several apps', async () => {
    const world = createWorld('chroot');
    const record = await addImage(world);
    const apps = [
      { record, args: [], name: 'a' },
      { record, args: [], name: 'b' },
    ];
    await expect(preparePod(world.context, { ...wish(record, []), apps })).rejects.toThrow(
      'stage1 gantry/chroot lacks several-apps',
    );
  });

  it('is refused to a prepared pod when it starts, which stays prepared', async () => {
    const world = createWorld('chroot');
    const record = await addImage(world);
    const { uuid } = await prepared(world, wish(record, ['exit', '5']));
    for (const options of [{ network: 'none' }, { hostname: 'other' }]) {
      const refused = await runChild(world, 'start', { uuid, ...options });
      expect(refused.code).toBe(254);
      expect(refused.stderr).toContain('stage1 gantry/chroot lacks');
    }
    expect((await runChild(world, 'start', { uuid })).code).toBe(5);
  });
});

describe('a pod of the chroot flavour', () => {
  it('shows what it is at', async () => {
    const world = createWorld('chroot');
    const { child, ending, pod } = await started(world, ['trap', '15', 'sleep', '20']);
    const { state, ready, supervisor, pid, apps } = podStatus(pod);
    expect({ state, ready, supervisor }).toEqual({
      state: 'running',
      ready: true,
      supervisor: child.pid,
    });
    expect(apps).toMatchObject([{ name: 'probe', state: 'running' }]);
    const [appPid] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ');
    expect(readFileSync(pod.file('apps/probe/state'), 'utf8')).toContain(`pid=${appPid}\n`);
    child.kill('SIGTERM');
    expect((await ending).code).toBe(7);
    expect(podStatus(pod)).toMatchObject({ state: 'exited', exitCode: 7 });
    pod[Symbol.dispose]();
    expect(await leaks(world)).toEqual([]);
  });

  it('leaves nothing when supervisor or init are killed, but what gc removes', async () => {
    for (const which of ['supervisor', 'pid'] as const) {
      const world = createWorld('chroot');
      const { ending, pod } = await started(world, ['sleep', '20']);
      const target = podStatus(pod)[which] ?? 0;
      const app = Number(/pid=(\d+)/.exec(readFileSync(pod.file('apps/probe/state'), 'utf8'))?.[1]);
      process.kill(target, 'SIGKILL');
      await ending;
      pod[Symbol.dispose]();
      await sleep(20);
      expect(() => lstatSync(`/proc/${app}`)).toThrow('ENOENT');
      await runChild(world, 'gc', null);
      expect(await leaks(world, pod.uuid)).toEqual([]);
      expect(podsIn(world.dataDir, 'run')).toEqual([]);
    }
  });

  it('is prepared now and started later, by the same name', async () => {
    const world = createWorld('chroot');
    const record = await addImage(world);
    const { uuid } = await prepared(world, wish(record, ['uname', 'exit', '6']));
    const ending = await runChild(world, 'start', { uuid });
    expect(ending).toMatchObject({ code: 6, stdout: [`uname ${hostname()}`] });
  });

  it('is refused images whose /dev, /proc or /sys is no directory', async () => {
    const world = createWorld('chroot');
    const record = await addImage(world, { files: { proc: { link: 'etc' } } });
    await expect(preparePod(world.context, wish(record, []))).rejects.toThrow(
      'the image has no directory at /proc',
    );
  });

  it('keeps what it mounts within the root of an image full of links', async () => {
    const world = createWorld('chroot');
    const record = await addImage(world, {
      files: {
        tmp: { link: '/var/tmp' },
        var: { directory: true },
        'var/tmp': { directory: true, mode: 0o700 },
      },
    });
    const { stdout } = await runPod(world, wish(record, ['stat', '/var/tmp', 'ls', '/tmp']));
    expect(stdout).toEqual(['stat /var/tmp: 41777 0:0']);
  });

  it("makes nothing in the host's directories where the image's links lead into them", async () => {
    const world = createWorld('chroot');
    const files = { dev: { directory: true }, 'dev/shm': { directory: true } } as const;
    const record = await addImage(world, {
      files: { ...files, etc: { link: '/dev/shm' } },
      app: { mountPoints: [{ name: 'data', path: '/etc/gantry-data' }] },
    });
    const made = ['hosts', 'hostname', 'mtab', 'resolv.conf', 'gantry-data'];
    const before = readdirSync('/dev/shm').filter((name) => made.includes(name));
    onTestFinished(() => {
      for (const name of made) {
        if (!before.includes(name)) rmSync(`/dev/shm/${name}`, { recursive: true, force: true });
      }
    });
    expect(await runPod(world, wish(record, ['exit', '0']))).toMatchObject({ stderr: '', code: 0 });
    expect(readdirSync('/dev/shm').filter((name) => made.includes(name))).toEqual(before);
  });

  it('is no third mount namespace: init and app share one', async () => {
    const world = createWorld('chroot');
    const { child, ending, pod } = await started(world, ['sleep', '20']);
    const { pid } = podStatus(pod);
    const app = /pid=(\d+)/.exec(readFileSync(pod.file('apps/probe/state'), 'utf8'))?.[1];
    expect(readlinkSync(`/proc/${app}/ns/mnt`)).toBe(readlinkSync(`/proc/${pid}/ns/mnt`));
    pod[Symbol.dispose]();
    child.kill('SIGTERM');
    await ending;
  });
});
