import { type ChildProcess, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { Isolator } from '../../src/image/isolator.ts';
import { groupHost } from '../../src/isolation/control-groups.ts';
import {
  cpuIsolator,
  cpuSharesIsolator,
  ioWeightIsolator,
  memoryIsolator,
  pidsIsolator,
} from '../../src/isolation/limits.ts';
import { addApp } from '../../src/pod/app-add.ts';
import { removeApp } from '../../src/pod/app-rm.ts';
import { startApp } from '../../src/pod/app-turns.ts';
import { findPod, podsIn } from '../../src/pod/find.ts';
import { listPods } from '../../src/pod/list.ts';
import type { PodRequest } from '../../src/pod/request.ts';
import { needs, program, root } from '../support/requirements.ts';
import {
  addImage,
  createWorld,
  leaks,
  requestOf,
  runChild,
  runPod,
  startChild,
  UNSIGNED,
  type World,
} from './pod-world.ts';

beforeEach((context) => needs(context, root));

/** Runs the probe in a pod of its own, and checks that nothing is left of it. */
async function probe(
  commands: readonly string[],
  isolators: readonly Isolator[],
  changes: Partial<PodRequest> = {},
  flavour = 'native',
) {
  const world = createWorld(flavour);
  const record = await addImage(world);
  const apps = [{ record, args: commands, isolators }];
  const ending = await runPod(world, requestOf(record, [], { apps, ...changes }));
  expect(await leaks(world)).toEqual([]);
  return ending;
}

describe('an app with a limit of memory', () => {
  it('is killed when it takes more', async () => {
    const { code, stdout, stderr } = await probe(['hold', '64'], [memoryIsolator('16M')]);
    expect({ code, stdout, stderr }).toEqual({
      code: 137,
      stdout: [],
      stderr:
        'gantry: run: app "probe" has reached a limit of memory: the kernel killed 1 of its processes\n',
    });
  });

  it('may take as much as that', async () => {
    const { code, stdout } = await probe(['hold', '64'], [memoryIsolator('128M')]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: ['hold 64: ok'] });
  });
});

describe('an isolator of an image', () => {
  it('is enforced, unless an option takes its place', async () => {
    const world = createWorld();
    const isolators = [pidsIsolator('10')];
    const record = await addImage(world, { app: { isolators } });
    const own = await runPod(world, requestOf(record, ['forks', '50']));
    expect(own.stdout).toEqual(['forks 9: Resource temporarily unavailable']);
    const apps = [{ record, args: ['forks', '50'], isolators: [pidsIsolator('20')] }];
    const asked = await runPod(world, requestOf(record, [], { apps }));
    expect(asked.stdout).toEqual(['forks 19: Resource temporarily unavailable']);
    expect(await leaks(world)).toEqual([]);
  });
});

describe('an app with a limit of processes', () => {
  it('gets no more of them', async () => {
    const { stdout } = await probe(['forks', '50'], [pidsIsolator('10')]);
    expect(stdout).toEqual(['forks 9: Resource temporarily unavailable']);
  });

  it('may have as many as that', async () => {
    expect((await probe(['forks', '50'], [pidsIsolator('51')])).stdout).toEqual(['forks 50: ok']);
  });
});

describe('an app with a limit of processor time', () => {
  it('gets that much of it', async () => {
    const { stdout } = await probe(['spin', '2000'], [cpuIsolator('200m')]);
    const used = Number(stdout[0]?.replace('spin ', ''));
    // 400 ms, and what a period or two more make of it; a machine that is busy may give it less.
    expect(used).toBeGreaterThan(0);
    expect(used).toBeLessThan(600);
  });
});

describe('two apps of a pod', () => {
  it('have limits of their own, and one without has none', async () => {
    const world = createWorld();
    const record = await addImage(world);
    const apps = [
      {
        record,
        name: 'small',
        args: ['sleep', '1', 'hold', '64'],
        isolators: [memoryIsolator('16M')],
      },
      { record, name: 'free', args: ['trap', '15', 'hold', '64', 'sleep', '5'] },
      {
        record,
        name: 'large',
        args: ['trap', '15', 'hold', '64', 'sleep', '5'],
        isolators: [memoryIsolator('128M')],
      },
    ];
    const { code, stdout } = await runPod(world, requestOf(record, [], { apps }));
    expect(code).toBe(137);
    expect(stdout.filter((line) => line === 'hold 64: ok')).toHaveLength(2);
    expect(await leaks(world)).toEqual([]);
  });

  it('are both bounded by what bounds the pod', async () => {
    const world = createWorld();
    const record = await addImage(world);
    const app = { record, args: ['sleep', '1', 'forks', '20'] };
    const apps = [
      { ...app, name: 'one', isolators: [pidsIsolator('30')] },
      { ...app, name: 'two' },
    ];
    const isolators = [pidsIsolator('12')];
    const { stdout } = await runPod(world, requestOf(record, [], { apps, isolators }));
    const forks = stdout.map((line) => Number(/forks (\d+)/.exec(line)?.[1]));
    // Init and the app itself are part of it.
    expect(forks).toHaveLength(2);
    expect(Math.max(...forks)).toBeLessThanOrEqual(10);
    expect(await leaks(world)).toEqual([]);
  });
});

/** The control files of that name in a group of the pod, in whichever hierarchy. */
function controlFiles(group: string, ...names: string[]): string[] {
  return groupDirectories(group).flatMap((directory) =>
    names
      .map((name) => join(directory, name))
      .filter((path) => existsSync(path))
      .map((path) => readFileSync(path, 'utf8').trim()),
  );
}

/** Where there is a group of that path, below ours or at the top. */
function groupDirectories(group: string): string[] {
  const parents = groupHost().hierarchies.flatMap(({ top, own = top }) => [top, own]);
  return [...new Set(parents.map((parent) => join(parent, group)))].filter((at) => existsSync(at));
}

/** Starts a pod that stays, and waits until its app says so. */
async function startStaying(world: World, verb: string, argument: unknown) {
  const pod = startChild(world, verb, argument);
  for await (const line of createInterface(pod.stdout)) if (line.endsWith('here')) break;
  const [uuid = ''] = podsIn(world.dataDir, 'run');
  return { pod, uuid, group: `gantry-${uuid}` };
}

async function end(pod: ChildProcess): Promise<void> {
  const ended = once(pod, 'exit');
  pod.kill('SIGTERM');
  await ended;
}

const STAYING = ['echo', 'here', 'sleep', '60'];

describe('what an app asks for', () => {
  it('is set for its group, and its share for that of the pod', async () => {
    const world = createWorld();
    const record = await addImage(world);
    const isolators = [
      memoryIsolator('32Mi'),
      cpuIsolator('750m'),
      cpuSharesIsolator(2048),
      ioWeightIsolator(200),
      pidsIsolator('10'),
    ];
    const apps = [{ record, name: 'web', args: STAYING, isolators }];
    const { pod, uuid, group } = await startStaying(world, 'run', {
      ...requestOf(record, [], { apps }),
      runsNow: true,
    });
    const app = `${group}/app-web`;
    expect(controlFiles(app, 'memory.max', 'memory.limit_in_bytes')).toEqual(['33554432']);
    expect(controlFiles(app, 'pids.max')).toEqual(['10']);
    expect(['750000', '75000']).toContain(
      controlFiles(app, 'cpu.cfs_quota_us', 'cpu.max')[0]?.split(' ')[0],
    );
    for (const each of [app, group]) {
      expect(['2048', '174']).toContain(controlFiles(each, 'cpu.shares', 'cpu.weight')[0]);
      expect(controlFiles(each, 'blkio.bfq.weight', 'io.bfq.weight')).toEqual(['109']);
    }
    await end(pod);
    expect(await leaks(world, uuid)).toEqual([]);
  });

  it('makes no group where nothing is asked', async () => {
    const world = createWorld();
    const record = await addImage(world);
    const request = { ...requestOf(record, STAYING), runsNow: true };
    const { pod, group } = await startStaying(world, 'run', request);
    const own = readFileSync(`/proc/${pod.pid}/cgroup`, 'utf8');
    const [unified] = /^0::.*$/m.exec(own) ?? [];
    expect(groupDirectories(group)).toHaveLength(unified === undefined ? 0 : 1);
    expect(groupDirectories(`${group}/app-probe`)).toEqual([]);
    await end(pod);
  });
});

describe('a prepared pod', () => {
  it('has the limits of its apps, wherever it is started', async () => {
    const world = createWorld();
    const record = await addImage(world);
    const apps = [{ record, args: ['hold', '64'], isolators: [memoryIsolator('16M')] }];
    const prepared = await runChild(world, 'prepare', requestOf(record, [], { apps }));
    const [uuid = ''] = prepared.stdout;
    expect((await runChild(world, 'start', { uuid })).code).toBe(137);
    expect(await leaks(world, uuid)).toEqual([]);
  });
});

describe('a pod whose supervisor was killed', () => {
  it('leaves no group in any hierarchy when it has been collected', async () => {
    const world = createWorld();
    const record = await addImage(world);
    const isolators = [memoryIsolator('32M'), pidsIsolator('9'), cpuIsolator('1')];
    const apps = [{ record, args: STAYING, isolators }];
    const { pod, uuid, group } = await startStaying(world, 'run', {
      ...requestOf(record, [], { apps, isolators: [pidsIsolator('20')] }),
      runsNow: true,
    });
    const ended = once(pod, 'exit');
    pod.kill('SIGKILL');
    await ended;
    expect(groupDirectories(group).length).toBeGreaterThan(1);
    await runChild(world, 'gc', null);
    expect(groupDirectories(group)).toEqual([]);
    expect(await leaks(world, uuid)).toEqual([]);
  });
});

describe('a command that is entered into an app', () => {
  it('is in the groups of the app', async () => {
    const world = createWorld();
    const record = await addImage(world);
    const apps = [{ record, args: STAYING, isolators: [pidsIsolator('5')] }];
    const { pod, uuid } = await startStaying(world, 'run', {
      ...requestOf(record, [], { apps }),
      runsNow: true,
    });
    const stdout = execFileSync('stage1/enter', ['probe', '/bin/probe', 'forks', '20'], {
      cwd: join(world.dataDir, 'pods/run', uuid),
      encoding: 'utf8',
    });
    expect(stdout).toBe('forks 3: Resource temporarily unavailable\n');
    await end(pod);
    expect(await leaks(world, uuid)).toEqual([]);
  });
});

describe('apps that come and go', () => {
  async function startSandbox(world: World, changes: Partial<PodRequest>) {
    const request = { apps: [], mutable: true, runsNow: true, interactive: false, overlay: true };
    const process = startChild(world, 'run', { ...request, ...changes, insecure: UNSIGNED });
    while (listPods(world.dataDir)[0]?.state !== 'running') await sleep(20);
    const pod = findPod(world.dataDir, listPods(world.dataDir)[0]?.uuid ?? '');
    onTestFinished(() => pod.close());
    while (!existsSync(pod.file('ready'))) await sleep(20);
    return { process, pod };
  }

  it.each([{ privateUsers: false }, { privateUsers: true }])(
    'have their limits as long as they are there, with %j',
    async (changes) => {
      const world = createWorld();
      const record = await addImage(world);
      const { process, pod } = await startSandbox(world, changes);
      const app = { record, name: 'web', args: ['hold', '64'], isolators: [memoryIsolator('16M')] };
      const insecure = UNSIGNED;
      await addApp(world.context, pod, { app, insecure });
      await startApp(pod, 'web');
      while (!/exit=/.test(readFileSync(pod.file('apps/web/state'), 'utf8'))) await sleep(20);
      expect(readFileSync(pod.file('apps/web/state'), 'utf8')).toContain('exit=137');
      expect(groupDirectories(`gantry-${pod.uuid}/app-web`)).toHaveLength(1);
      await removeApp(pod, 'web');
      expect(groupDirectories(`gantry-${pod.uuid}/app-web`)).toEqual([]);
      await addApp(world.context, pod, { app: { ...app, isolators: [] }, insecure });
      await startApp(pod, 'web');
      while (!/exit=/.test(readFileSync(pod.file('apps/web/state'), 'utf8'))) await sleep(20);
      expect(readFileSync(pod.file('apps/web/state'), 'utf8')).toContain('exit=0');
      await end(process);
      expect(await leaks(world, pod.uuid)).toEqual([]);
    },
  );
});

describe.each([
  { flavour: 'chroot', network: 'host' },
  { flavour: 'nspawn', network: 'none' },
] as const)('the limits of $flavour', ({ flavour, network }) => {
  beforeEach((context) => {
    if (flavour === 'nspawn') needs(context, program('systemd-nspawn'));
  });

  it('bound the processes of an app', async () => {
    const ending = await probe(['forks', '50'], [pidsIsolator('10')], { network }, flavour);
    expect(ending.stdout).toEqual(['forks 9: Resource temporarily unavailable']);
  });

  it('bound its memory', async () => {
    const ending = await probe(['hold', '64'], [memoryIsolator('16M')], { network }, flavour);
    expect(ending.code).toBe(137);
  });

  it('bound the whole pod', async () => {
    const isolators = [pidsIsolator('20')];
    const ending = await probe(['forks', '50'], [], { network, isolators }, flavour);
    expect(ending.stdout[0]).toMatch(/^forks 1\d: Resource temporarily unavailable$/);
  });
});
