import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import type { Volume } from '../../src/image/pod-manifest.ts';
import { findPod, podsIn } from '../../src/pod/find.ts';
import { gcPods } from '../../src/pod/gc.ts';
import { preparePod } from '../../src/pod/prepare.ts';
import { readRecord } from '../../src/pod/record.ts';
import type { PodRequest } from '../../src/pod/request.ts';
import { ended } from '../support/ended.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import {
  addImage,
  createWorld as createAnyWorld,
  type ImageWishes,
  leaks,
  requestOf,
  runPod,
  UNSIGNED,
  type World,
} from './pod-world.ts';

const worlds: World[] = [];

export function createWorld(flavour?: string): World {
  const world = createAnyWorld(flavour);
  worlds.push(world);
  return world;
}

/** To be done after each test: the files of their locks are the host's, and go with the pods. */
export function removePods(): void {
  for (const { dataDir } of worlds.splice(0)) {
    gcPods(dataDir, { graceSeconds: 0, expirePreparedSeconds: 0, markOnly: false });
  }
}

export const COUNT = 65_536;
export const ABLE = { ...UNSIGNED, capabilities: true };

export async function requestFor(
  world: World,
  commands: readonly string[],
  changes: Partial<PodRequest> = {},
  image: ImageWishes = {},
): Promise<PodRequest> {
  const record = await addImage(world, image);
  return requestOf(record, commands, { privateUsers: true, ...changes });
}

/** Runs a pod of one app to its end, and sees that nothing is left of it but its directory. */
export async function run(
  commands: readonly string[],
  changes: Partial<PodRequest> = {},
  image: ImageWishes = {},
) {
  const world = createWorld();
  const ending = await runPod(world, await requestFor(world, commands, changes, image));
  expect(await leaks(world)).toEqual([]);
  return { ...ending, world, ...only(world) };
}

/** The world's one pod: its directory, and its range. */
export function only(world: World): {
  readonly dir: string;
  readonly first: number;
  readonly uuid: string;
} {
  const [uuid = ''] = [...podsIn(world.dataDir, 'run'), ...podsIn(world.dataDir, 'prepared')];
  if (uuid === '') return { dir: '', first: Number.NaN, uuid };
  using pod = findPod(world.dataDir, uuid);
  return { dir: pod.dir, first: readRecord(pod)?.settings.users?.first ?? Number.NaN, uuid };
}

export async function refusal(changes: Partial<PodRequest>, image?: ImageWishes): Promise<string> {
  const world = createWorld();
  const request = await requestFor(world, [], changes, image);
  const error = await preparePod(world.context, request).catch((refused: Error) => refused);
  expect(error).toBeInstanceOf(Error);
  // Nothing of the pod is left, its range neither.
  expect(podsIn(world.dataDir, 'prepared')).toEqual([]);
  expect(claims(world)).toEqual([]);
  return (error as Error).message;
}

export function claims({ dataDir }: World): string[] {
  return existsSync(join(dataDir, 'users')) ? readdirSync(join(dataDir, 'users')) : [];
}

export function owner(path: string): string {
  const { uid, gid } = statSync(path);
  return `${uid}:${gid}`;
}

export function host(name: string, source: string, more: object = {}): Volume {
  return { name, kind: 'host', source, readOnly: false, ...more };
}

/** With the volumes at paths of the app. */
export function mounted(volumes: readonly Volume[], ...targets: [volume: string, path: string][]) {
  return { volumes, mounts: targets.map(([volume, path]) => ({ volume, path })) };
}

/** Runs a pod within a shell script of mounts of its own, which has a directory $S and what to execute. */
export async function runAmong(
  script: string,
  dataDir: (directory: string) => string,
  request: (directory: string) => PodRequest,
) {
  const directory = temporaryDirectory();
  const child = join(import.meta.dirname, 'pod-child.ts');
  const wishes = JSON.stringify({ ...request(directory), runsNow: true });
  const words = [process.execPath, child, dataDir(directory), 'run', wishes];
  const shell = spawn(
    'unshare',
    ['-m', '--propagation', 'private', 'sh', '-c', script, 'sh', ...words],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, S: directory } },
  );
  onTestFinished(() => void shell.kill('SIGKILL'));
  return await ended(shell);
}

/** The state file of a running app. */
export async function appState(world: World, app: string): Promise<string> {
  for (let tries = 0; tries < 400; tries++) {
    const { dir } = only(world);
    const path = join(dir, 'apps', app, 'state');
    if (dir !== '' && existsSync(path)) return readFileSync(path, 'utf8');
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('the app has not started');
}

/** The effective user of a process. */
export function userOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^Uid:\t\d+\t(\d+)/m.exec(status)?.[1]);
}
