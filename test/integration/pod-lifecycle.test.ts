import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { secure } from '../../src/config/insecure.ts';
import { findPod, podsIn, readUuidFile } from '../../src/pod/find.ts';
import { type GcOptions, gcPods } from '../../src/pod/gc.ts';
import { imagesInUse, listPods } from '../../src/pod/list.ts';
import { readManifest } from '../../src/pod/manifest.ts';
import { PHASES } from '../../src/pod/phase.ts';
import { formatPlan } from '../../src/pod/plan.ts';
import type { Pod } from '../../src/pod/pod.ts';
import { preparePod } from '../../src/pod/prepare.ts';
import { readRecord } from '../../src/pod/record.ts';
import { removePod } from '../../src/pod/remove.ts';
import type { PodRequest } from '../../src/pod/request.ts';
import { startPod } from '../../src/pod/run.ts';
import { podStatus } from '../../src/pod/status.ts';
import { needs, root } from '../support/requirements.ts';
import {
  addImage,
  createWorld,
  leaks,
  requestOf,
  runChild,
  runPod,
  startChild,
  type World,
} from './pod-world.ts';

beforeEach((context) => needs(context, root));

const everything: GcOptions = { graceSeconds: 0, expirePreparedSeconds: 0, markOnly: false };

/** A prepared pod, closed, by UUID. */
async function prepare(world: World, args: string[], changes: Partial<PodRequest> = {}) {
  const record = await addImage(world);
  using pod = await preparePod(world.context, requestOf(record, args, changes));
  return pod.uuid;
}

/** Looks at a pod and closes it again. */
function look<T>(world: World, uuid: string, at: (pod: Pod) => T): T {
  using pod = findPod(world.dataDir, uuid);
  return at(pod);
}

function stateOf(world: World, uuid: string): string {
  return look(world, uuid, (pod) => pod.state());
}

/** Every pod directory there is: `phase/uuid`. */
function directories(world: World): string[] {
  return PHASES.flatMap((phase) => podsIn(world.dataDir, phase).map((uuid) => `${phase}/${uuid}`));
}

async function until(condition: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 200 && !condition(); attempt++) await sleep(25);
  expect(condition()).toBe(true);
}

/** A running pod, with the process that supervises it. */
async function running(world: World, args: string[]) {
  const uuid = await prepare(world, args);
  const supervisor = startChild(world, 'start', { uuid });
  const ended = new Promise((resolve) => supervisor.once('close', resolve));
  await until(() => look(world, uuid, (pod) => podStatus(pod).ready));
  return { uuid, supervisor, ended };
}

describe('a prepared pod', () => {
  it('can be listed, read, run, and removed', async () => {
    const world = createWorld();
    const uuid = await prepare(world, ['exit', '5'], { hostname: 'web' });
    expect(listPods(world.dataDir)).toMatchObject([
      { uuid, state: 'prepared', apps: [{ name: 'probe', state: 'created' }] },
    ]);
    expect(look(world, uuid, readManifest).apps[0]?.app?.exec).toEqual(['/bin/probe', 'exit', '5']);
    expect(look(world, uuid, formatPlan)).toContain('  hostname web\n');
    expect((await runChild(world, 'start', { uuid })).code).toBe(5);
    const status = look(world, uuid, podStatus);
    expect(status).toMatchObject({ state: 'exited', exited: true, exitCode: 5 });
    expect(status.apps).toMatchObject([{ state: 'exited', exitCode: 5 }]);
    const { createdAt = 0n, startedAt = 0n } = status;
    expect(startedAt).toBeGreaterThan(createdAt);
    look(world, uuid, (pod) => removePod(pod));
    expect(directories(world)).toEqual([]);
    expect(await leaks(world)).toEqual([]);
  });

  it('can be started with another host name, in another network', async () => {
    const world = createWorld();
    const uuid = await prepare(world, ['uname', 'ls', '/sys/class/net']);
    const choice = { uuid, hostname: 'web', network: 'host' };
    const { stdout } = await runChild(world, 'start', choice);
    expect(stdout[0]).toBe('uname web');
    expect(stdout).toHaveLength(1 + readdirSync('/sys/class/net').length);
    expect(await leaks(world)).toEqual([]);
  });

  it('is left as it was when what is chosen at the start is wrong', async () => {
    const world = createWorld();
    const uuid = await prepare(world, ['exit', '2']);
    const refused = await runChild(world, 'start', { uuid, hostname: 'a b' });
    expect(refused).toMatchObject({
      code: 254,
      stderr: expect.stringMatching(/^invalid host name/),
    });
    expect(stateOf(world, uuid)).toBe('prepared');
    expect((await runChild(world, 'start', { uuid })).code).toBe(2);
  });

  it('writes its UUID to a file', async () => {
    const world = createWorld();
    const uuidFile = join(world.dataDir, 'uuid');
    const uuid = await prepare(world, [], { uuidFile });
    expect(readUuidFile(uuidFile)).toBe(uuid);
    expect(findPod(world.dataDir, uuid.slice(0, 8).toUpperCase()).uuid).toBe(uuid);
  });

  it('runs once, however many try at the same time', async () => {
    const world = createWorld();
    const uuid = await prepare(world, ['sleep', '1', 'exit', '9']);
    const endings = await Promise.all([1, 2, 3].map(() => runChild(world, 'start', { uuid })));
    expect(endings.map(({ code }) => code).sort()).toEqual([254, 254, 9]);
    for (const { code, stderr } of endings) {
      if (code === 254) expect(stderr).toMatch(/^pod "[0-9a-f-]+" is (not prepared|just being)/);
    }
  });

  it('is made of the very images it asked about, whatever is fetched meanwhile', async () => {
    const world = createWorld();
    const { store } = world;
    const name = 'example.com/base';
    const asked = await addImage(world, { name, files: { base: 'asked about' } });
    const record = await addImage(world, { dependencies: [{ imageName: name }] });
    const layerPaths = store.layerPaths.bind(store);
    store.layerPaths = async (...words) => {
      await addImage(world, { name, files: { base: 'fetched meanwhile' } });
      return await layerPaths(...words);
    };
    using pod = await preparePod(world.context, requestOf(record, []));
    const { images, settings } = readRecord(pod) ?? {};
    expect(new Set(images)).toEqual(new Set([record.id, asked.id]));
    const rootfs = settings?.apps[0]?.rootfs;
    const lower = rootfs?.kind === 'overlay' ? rootfs.lowers[0] : undefined;
    expect(readFileSync(join(pod.dir, lower ?? '', 'base'), 'utf8')).toBe('asked about');
  });

  it('keeps its images in use until it is gone', async () => {
    const world = createWorld();
    const uuid = await prepare(world, []);
    expect(imagesInUse(world.dataDir).size).toBe(1);
    look(world, uuid, (pod) => removePod(pod));
    expect(imagesInUse(world.dataDir).size).toBe(0);
  });
});

describe('a running pod', () => {
  it('shows its verified processes, and is left alone', async () => {
    const world = createWorld();
    const { uuid, supervisor, ended } = await running(world, ['sleep', '60']);
    const status = look(world, uuid, podStatus);
    expect(status).toMatchObject({ state: 'running', exited: false, supervisor: supervisor.pid });
    expect(readFileSync(`/proc/${status.pid}/status`, 'utf8')).toMatch(/^NSpid:\t\d+\t1$/m);
    expect(() => look(world, uuid, (pod) => removePod(pod))).toThrow(
      `pod "${uuid}" is currently running: stop it first with gantry stop`,
    );
    expect(() => look(world, uuid, (pod) => startPod(pod))).toThrow(
      `pod "${uuid}" is not prepared: it is running`,
    );
    expect(gcPods(world.dataDir, everything)).toEqual({
      marked: [],
      removed: [],
      kept: [],
      failed: [],
    });
    supervisor.kill('SIGTERM');
    await ended;
    expect(stateOf(world, uuid)).toBe('exited');
    expect(await leaks(world)).toEqual([]);
  });

  it('is believed no process id that another process may have by now', async () => {
    const world = createWorld();
    const { uuid, supervisor, ended } = await running(world, ['sleep', '60']);
    look(world, uuid, (pod) =>
      writeFileSync(join(pod.dir, 'pid'), `${process.pid} ${process.pid}\n`),
    );
    expect(look(world, uuid, podStatus).pid).toBeUndefined();
    supervisor.kill('SIGTERM');
    await ended;
  });

  it('ends with its supervisor, and gc removes what that left', async () => {
    const world = createWorld();
    const record = await addImage(world);
    const request = { ...requestOf(record, ['sleep', '60']), runsNow: true };
    const supervisor = startChild(world, 'run', request);
    const ended = new Promise((resolve) => supervisor.once('close', resolve));
    await until(() => listPods(world.dataDir).some(({ state }) => state === 'running'));
    const [pod] = listPods(world.dataDir);
    await until(() => look(world, pod?.uuid ?? '', podStatus).ready);
    supervisor.kill('SIGKILL');
    await ended;
    await until(() => stateOf(world, pod?.uuid ?? '') === 'exited');
    expect(look(world, pod?.uuid ?? '', podStatus).apps[0]).toMatchObject({ state: 'exited' });
    await sleep(200);
    expect(gcPods(world.dataDir, everything).failed).toEqual([]);
    expect(directories(world)).toEqual([]);
    expect(await leaks(world, pod?.uuid ?? '')).toEqual([]);
  });
});

describe('an exited pod', () => {
  it('is marked first and deleted after the grace period', async () => {
    const world = createWorld();
    const record = await addImage(world);
    await runPod(world, requestOf(record, ['exit', '1']));
    const [pod] = listPods(world.dataDir);
    const uuid = pod?.uuid ?? '';
    const lines: string[] = [];
    const info = (line: string) => lines.push(line);
    gcPods(world.dataDir, { ...everything, markOnly: true, info });
    expect(stateOf(world, uuid)).toBe('exited garbage');
    expect(look(world, uuid, podStatus).apps[0]?.exitCode).toBe(1);
    expect(gcPods(world.dataDir, { ...everything, graceSeconds: 1800, info }).kept).toEqual([uuid]);
    expect(gcPods(world.dataDir, { ...everything, info }).removed).toEqual([uuid]);
    expect(lines).toEqual([
      `moving pod "${uuid}" to garbage`,
      `pod "${uuid}" not removed: still within grace period (30m0s)`,
      `Garbage collecting pod "${uuid}"`,
    ]);
  });

  it('is removed once by several collections at the same time', async () => {
    const world = createWorld();
    const record = await addImage(world);
    for (let i = 0; i < 3; i++) await runPod(world, requestOf(record, []));
    const endings = await Promise.all([1, 2, 3, 4].map(() => runChild(world, 'gc', null)));
    expect(endings.map(({ code, stderr }) => ({ code, stderr }))).toEqual(
      endings.map(() => ({ code: 0, stderr: '' })),
    );
    expect(directories(world)).toEqual([]);
  });

  it('is not run again, and not removed by way of a symbolic link or into a mount', async () => {
    const world = createWorld();
    const record = await addImage(world);
    await runPod(world, requestOf(record, []));
    const [summary] = listPods(world.dataDir);
    using pod = findPod(world.dataDir, summary?.uuid ?? '');
    expect(() => startPod(pod)).toThrow(`pod "${pod.uuid}" is not prepared: it is exited`);
    const precious = join(world.dataDir, 'precious');
    mkdirSync(precious);
    writeFileSync(join(precious, 'file'), '');
    symlinkSync(precious, join(pod.dir, 'apps/link'));
    const mounted = join(pod.dir, 'mounted');
    mkdirSync(mounted);
    execFileSync('mount', ['--bind', precious, mounted]);
    try {
      expect(() => removePod(pod)).toThrow(/mounted: something is mounted there/);
    } finally {
      execFileSync('umount', [join(pod.dir, 'mounted')]);
    }
    removePod(pod);
    expect(readdirSync(precious)).toEqual(['file']);
    expect(directories(world)).toEqual([]);
  });
});

describe('a pod that cannot be prepared', () => {
  it.each<[string, Partial<Parameters<typeof addImage>[1]> & object, Partial<PodRequest>, RegExp]>([
    ['an unsigned image', {}, { insecure: secure }, /^example.com\/probe: it was stored without/],
    ['another system', { labels: { os: 'freebsd' } }, {}, /bad os "freebsd"/],
    ['another machine', { labels: { arch: 's390x' } }, {}, /bad arch "s390x" for linux/],
    [
      'an unknown user',
      { app: { user: 'nobody-here' } },
      {},
      /the image has no user "nobody-here"/,
    ],
    ['a missing directory', { app: { workingDirectory: '/srv' } }, {}, /no directory \/srv/],
    [
      'an event handler that is not there',
      { app: { eventHandlers: [{ name: 'pre-start', exec: ['absent'] }] } },
      {},
      /unable to find "absent"/,
    ],
    ['a bad host name', {}, { hostname: 'a b' }, /^invalid host name "a b"/],
    [
      'no place for its UUID',
      {},
      { uuidFile: '/nonexistent/uuid' },
      /--uuid-file-save: cannot write/,
    ],
  ])('for %s is refused, and nothing is left', async (_, image, changes, message) => {
    const world = createWorld();
    const record = await addImage(world, image);
    await expect(preparePod(world.context, requestOf(record, [], changes))).rejects.toThrow(
      message,
    );
    expect(directories(world)).toEqual([]);
  });

  it('is refused for two apps of one name, or two on a terminal', async () => {
    const world = createWorld();
    const record = await addImage(world);
    const apps = [
      { record, args: [] },
      { record, args: [] },
    ];
    const request = requestOf(record, [], { apps });
    await expect(preparePod(world.context, request)).rejects.toThrow(
      'apps[1].name: multiple apps with name probe: give each its own with --name',
    );
    await expect(preparePod(world.context, { ...request, interactive: true })).rejects.toThrow(
      'interactive option only supports one image',
    );
    await expect(preparePod(world.context, { ...request, apps: [] })).rejects.toThrow(
      'pod must contain at least one application',
    );
  });

  it('is refused when its image has been removed meanwhile', async () => {
    const world = createWorld();
    const record = await addImage(world);
    rmSync(world.store.layout.layer(record.id), { recursive: true });
    await expect(preparePod(world.context, requestOf(record, []))).rejects.toThrow(
      'has been removed from the store meanwhile',
    );
  });
});

describe('a crash while a pod is prepared', () => {
  it.each([{ overlay: true }, { overlay: false }, { overlay: true, privateUsers: true }])(
    'leaves something that gc removes, wherever it happens (%o)',
    async (changes) => {
      const world = createWorld();
      const mountPoints = [{ name: 'work', path: '/work' }];
      const record = await addImage(world, { app: { mountPoints } });
      const request = requestOf(record, [], changes);
      const users = join(world.dataDir, 'users');
      const seen = new Set<string>();
      let after = 0;
      for (; after < 80; after++) {
        // As on first use, when the directories of the phases are yet to be made.
        rmSync(join(world.dataDir, 'pods'), { recursive: true, force: true });
        const { code } = await runChild(world, 'crash', { after, request });
        if (code === 0) break;
        for (const directory of directories(world)) {
          seen.add(directory.split('/')[0] ?? '');
        }
        expect(gcPods(world.dataDir, everything).failed, `after ${after} changes`).toEqual([]);
        expect(directories(world), `after ${after} changes`).toEqual([]);
        expect(existsSync(users) ? readdirSync(users) : []).toEqual([]);
      }
      expect(after).toBeLessThan(80);
      expect([...seen].sort()).toEqual(['embryo', 'prepare', 'prepared']);
      expect(listPods(world.dataDir).map(({ state }) => state)).toEqual(['prepared']);
    },
    120_000,
  );
});

describe('a name of a pod', () => {
  it('is refused when it is empty, unknown or of several', async () => {
    const world = createWorld();
    expect(() => findPod(world.dataDir, ' ')).toThrow('UUID cannot be empty');
    expect(() => findPod(world.dataDir, 'x')).toThrow('no matches found for "x"');
    for (const end of ['1', '2']) {
      const uuid = `5bc080ca-7a7a-4d1c-9a2b-00000000000${end}`;
      mkdirSync(join(world.dataDir, 'pods/prepared', uuid), { recursive: true });
    }
    expect(() => findPod(world.dataDir, '5bc0')).toThrow('ambiguous uuid, 2 matches for "5bc0"');
    expect(findPod(world.dataDir, '5bc080ca-7a7a-4d1c-9a2b-000000000001').state()).toBe('prepared');
    expect(() => findPod(world.dataDir, '../prepared')).toThrow('no matches found');
  });
});
