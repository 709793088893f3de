import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Volume } from '../../src/image/pod-manifest.ts';
import { retainIsolator } from '../../src/isolation/isolators.ts';
import { addApp } from '../../src/pod/app-add.ts';
import { startApp } from '../../src/pod/app-turns.ts';
import { findPod } from '../../src/pod/find.ts';
import { listPods } from '../../src/pod/list.ts';
import { preparePod } from '../../src/pod/prepare.ts';
import { readRecord } from '../../src/pod/record.ts';
import type { AppRequest, PodRequest } from '../../src/pod/request.ts';
import { system } from '../../src/system/binding.ts';
import { ended } from '../support/ended.ts';
import { needs, program, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
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
afterEach(() => void vi.restoreAllMocks());

/** Enough to mount a file system through which devices can be opened, and to make them. */
const MOUNTING = retainIsolator(['CAP_SYS_ADMIN', 'CAP_MKNOD', 'CAP_SYSLOG']);
const REFUSED = 'Operation not permitted';
/** The kernel's log: a device that no app is to have, and that every machine has. */
const KMSG = 'c:1:11';
const LOG: Partial<AppRequest> = {
  mounts: [{ volume: 'log', path: '/log' }],
  isolators: [MOUNTING],
};

interface Wishes {
  readonly volumes?: readonly Volume[];
  readonly app?: Partial<AppRequest>;
}

async function requestFor(
  world: World,
  commands: readonly string[],
  { volumes = [], app = {} }: Wishes,
): Promise<PodRequest> {
  const record = await addImage(world, { files: { mnt: { directory: true } } });
  const apps = [{ record, args: commands, ...app }];
  return { ...requestOf(record, [], { volumes, apps }), network: 'host' };
}

async function run(commands: readonly string[], wishes: Wishes = {}, world = createWorld()) {
  const ending = await runPod(world, await requestFor(world, commands, wishes));
  expect(await leaks(world)).toEqual([]);
  return ending;
}

/** A pod prepared by this process and started by another; says in which group it was, too. */
async function prepareAndStart(commands: readonly string[], wishes: Wishes) {
  const world = createWorld();
  using pod = await preparePod(world.context, await requestFor(world, commands, wishes));
  const { uuid } = pod;
  const access = readRecord(pod)?.settings.deviceAccess;
  pod[Symbol.dispose]();
  const { stdout } = await runChild(world, 'start', { uuid });
  const isLeft = access !== undefined && existsSync(access.directory);
  expect(await leaks(world, uuid)).toEqual([]);
  return { stdout, access, isLeft, phase: findPod(world.dataDir, uuid).phase };
}

/** A node of the kernel's log, for a volume. */
function log(readOnly: boolean): Volume {
  const source = join(temporaryDirectory(), 'log');
  system.mknodAt(-100, source, 0o020600, 2 ** 32 + 11);
  return { name: 'log', kind: 'host', source, readOnly };
}

/** Ends when it is asked to. */
const STAYING = ['trap', '15', 'sleep', '600'];
const OPENED = ['read /log', 'write /log'];
const COMMANDS = OPENED.flatMap((line) => line.split(' '));

describe.each(['native', 'nspawn'])(
  'an app under %s that can mount and make devices',
  (flavour) => {
    beforeEach((context) =>
      needs(context, ...(flavour === 'nspawn' ? [program('systemd-nspawn')] : [])),
    );
    const attempt = (...devices: string[]) => {
      const commands = devices.flatMap((device) => ['device', `/mnt/node=${device}`]);
      return run(
        ['mount', '/mnt', ...commands],
        { app: { isolators: [MOUNTING] } },
        createWorld(flavour),
      );
    };

    it('cannot open those of the host', async () => {
      const { stdout } = await attempt(KMSG, 'b:7:0', 'c:5:1');
      expect(stdout).toEqual([
        'mount /mnt: ok',
        ...[0, 1, 2].flatMap(() => [`read /mnt/node: ${REFUSED}`, `write /mnt/node: ${REFUSED}`]),
      ]);
    });

    it('can open those every app has', async () => {
      const { stdout } = await attempt('c:1:3', 'c:1:5', 'c:1:7', 'c:1:8', 'c:1:9');
      expect(stdout.filter((line) => !line.endsWith(': ok'))).toEqual([]);
      expect(stdout).toHaveLength(11);
    });
  },
);

describe.each(['native', 'nspawn'])('a device as a volume, under %s', (flavour) => {
  beforeEach((context) =>
    needs(context, ...(flavour === 'nspawn' ? [program('systemd-nspawn')] : [])),
  );

  it('can be read and written', async () => {
    const { stdout } = await run(
      COMMANDS,
      { volumes: [log(false)], app: LOG },
      createWorld(flavour),
    );
    expect(stdout).toEqual(OPENED.map((line) => `${line}: ok`));
  });

  it('cannot be written to where it is read-only, not by another node either', async () => {
    const wishes = { volumes: [log(true)], app: LOG };
    const commands = [...COMMANDS, 'mount', '/mnt', 'device', `/mnt/node=${KMSG}`];
    const { stdout } = await run(commands, wishes, createWorld(flavour));
    expect(stdout).toEqual([
      'read /log: ok',
      `write /log: ${REFUSED}`,
      'mount /mnt: ok',
      'read /mnt/node: ok',
      `write /mnt/node: ${REFUSED}`,
    ]);
  });
});

describe('a prepared pod with a read-only device', () => {
  const wishes = () => ({ volumes: [log(true)], app: LOG });
  const expected = ['read /log: ok', `write /log: ${REFUSED}`];

  it('has a control group of its own for it, which goes with it', async () => {
    const { stdout, access, isLeft } = await prepareAndStart(COMMANDS, wishes());
    expect(stdout).toEqual(expected);
    expect(access?.version).toBe(2);
    expect(isLeft).toBe(false);
  });

  it('has one of v1 where v2 cannot be used', async (context) => {
    needs(context, {
      what: 'the devices controller of cgroup v1',
      met: existsSync('/sys/fs/cgroup/devices/devices.list'),
    });
    vi.spyOn(system, 'canFilterDevices').mockReturnValue(false);
    const { stdout, access, isLeft } = await prepareAndStart(COMMANDS, wishes());
    expect(stdout).toEqual(expected);
    expect(access?.version).toBe(1);
    expect(isLeft).toBe(false);
  });
});

describe('a command that is entered into an app', () => {
  it.each([
    ['v2', true],
    ['v1', false],
  ])('has no devices that the app has not, with control groups of %s', async (name, filters) => {
    vi.spyOn(system, 'canFilterDevices').mockReturnValue(filters);
    const world = createWorld();
    const request = await requestFor(world, STAYING, { volumes: [log(true)], app: LOG });
    using pod = await preparePod(world.context, request);
    const { uuid } = pod;
    expect(readRecord(pod)?.settings.deviceAccess?.version).toBe(name === 'v2' ? 2 : 1);
    pod[Symbol.dispose]();
    const child = startChild(world, 'start', { uuid });
    const ending = ended(child);
    const directory = join(world.dataDir, 'pods/run', uuid);
    while (!existsSync(join(directory, 'ready'))) await sleep(20);
    const options = { cwd: directory, encoding: 'utf8' } as const;
    const stdout = execFileSync('stage1/enter', ['probe', '/bin/probe', ...COMMANDS], options);
    expect(stdout).toBe(`read /log: ok\nwrite /log: ${REFUSED}\n`);
    child.kill('SIGTERM');
    await ending;
    expect(await leaks(world, uuid)).toEqual([]);
  });
});

it('an app that comes to a running pod has no devices of the host either', async () => {
  const world = createWorld();
  const record = await addImage(world, { files: { mnt: { directory: true } } });
  const request = { apps: [], mutable: true, runsNow: true, interactive: false, overlay: true };
  const child = startChild(world, 'run', { ...request, insecure: UNSIGNED });
  const ending = ended(child);
  while (listPods(world.dataDir)[0]?.state !== 'running') await sleep(20);
  using pod = findPod(world.dataDir, listPods(world.dataDir)[0]?.uuid ?? '');
  while (!existsSync(pod.file('ready'))) await sleep(20);
  const args = ['mount', '/mnt', 'device', `/mnt/node=${KMSG}`];
  const app = { record, name: 'web', args, isolators: [MOUNTING] };
  await addApp(world.context, pod, { app, insecure: UNSIGNED });
  await startApp(pod, 'web');
  while (!/exit=/.test(readFileSync(pod.file('apps/web/state'), 'utf8'))) await sleep(20);
  child.kill('SIGTERM');
  const { said } = await ending;
  expect(said).toContain(`read /mnt/node: ${REFUSED}`);
  expect(said).toContain(`write /mnt/node: ${REFUSED}`);
  expect(await leaks(world, pod.uuid)).toEqual([]);
});

it('a prepared pod that asks for no devices has no control group', async () => {
  const { access } = await prepareAndStart([], {});
  expect(access).toBeUndefined();
});

describe('a device as a volume is refused', () => {
  const prepare = async (wishes: Wishes, flavour = 'native') => {
    const world = createWorld(flavour);
    using _ = await preparePod(world.context, await requestFor(world, [], wishes));
  };

  it('where it would have to be read-only and nothing can keep it so', async () => {
    await expect(prepare({ volumes: [log(true)], app: LOG }, 'chroot')).rejects.toThrow(
      '--volume log: the device cannot be read-only: stage1 gantry/chroot lacks device-access',
    );
  });

  it('where two mounts of it differ', async () => {
    const mounts = [
      { volume: 'log', path: '/log' },
      { volume: 'other', path: '/other' },
    ];
    const volumes = [log(true), { ...log(false), name: 'other' }];
    await expect(prepare({ volumes, app: { mounts } })).rejects.toThrow(
      '--volume other: the device',
    );
  });
});
