import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pack } from 'tar-stream';
import { onTestFinished } from 'vitest';
import { type InsecureOptions, secure } from '../../src/config/insecure.ts';
import type { ImageRecord } from '../../src/image/image-record.ts';
import { defaultUnpackLimits } from '../../src/image/unpack-limits.ts';
import { podsIn } from '../../src/pod/find.ts';
import { PHASES } from '../../src/pod/phase.ts';
import type { PodRequest, PrepareContext } from '../../src/pod/request.ts';
import { Store } from '../../src/store/store.ts';
import { type HostState, leaksSince, readHost } from '../support/host.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { buildProbe } from './pod-probe.ts';

/** A file of an image: its content, or what it is instead of a plain file of root's. */
export type ImageFile =
  | string
  | { readonly link: string }
  | {
      readonly content?: string | Buffer;
      readonly directory?: true;
      readonly mode?: number;
      readonly uid?: number;
      readonly gid?: number;
    };

/** An image of the world: the probe as /bin/probe, and what a test adds. */
export interface ImageWishes {
  readonly name?: string;
  readonly files?: Readonly<Record<string, ImageFile>>;
  readonly app?: Readonly<Record<string, unknown>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly dependencies?: readonly Readonly<Record<string, unknown>>[];
}

/** A store with a data directory of its own. */
export interface World {
  readonly dataDir: string;
  readonly store: Store;
  readonly context: PrepareContext;
  /** Warnings that preparing gave in this process. */
  readonly warnings: string[];
  readonly before: HostState;
}

/** How a pod ended, its output without the prefixes of its lines. */
export interface PodEnding {
  readonly code: number | null;
  readonly stdout: string[];
  readonly stderr: string;
}

/** The directory of a shipped flavour. */
export function stage1Of(flavour: string): string {
  return join(import.meta.dirname, '../../dist/stage1', flavour);
}

export const STAGE1 = stage1Of('native');
const child = join(import.meta.dirname, 'pod-child.ts');

/** Images of these tests are not signed. */
export const UNSIGNED: InsecureOptions = { ...secure, image: true };

/** A new world, gone with the test, whose pods are isolated by `flavour`. */
export function createWorld(flavour = 'native'): World {
  const dataDir = temporaryDirectory();
  const store = Store.open(dataDir);
  const warnings: string[] = [];
  const context: PrepareContext = {
    store,
    directories: { system: join(dataDir, 'none'), local: join(dataDir, 'none') },
    stage1Dir: stage1Of(flavour),
    dataDir,
    report: { warn: (line) => warnings.push(line) },
  };
  return { dataDir, store, context, warnings, before: readHost(dataDir) };
}

/**
 * What of the world's pods is left on the host. Control groups of pods that other tests run at the
 * same time are not: of those only the ones of existing pods and of `removed` count.
 */
export async function leaks(world: World, ...removed: string[]): Promise<string[]> {
  const own = [...removed, ...PHASES.flatMap((phase) => podsIn(world.dataDir, phase))];
  const found = await leaksSince(world.before, world.dataDir);
  return found.filter(
    (line) => !line.startsWith('cgroups:') || own.some((id) => line.includes(id)),
  );
}

/** Imports an image, as an unsigned one. */
export async function addImage(world: World, wishes: ImageWishes = {}): Promise<ImageRecord> {
  const ingest = await world.store.beginIngest(defaultUnpackLimits);
  await ingest.write(await archive(wishes));
  const staged = await ingest.finish();
  return await staged.commit({
    source: {},
    provenance: { kind: 'unverified', reason: 'made by a test' },
  });
}

/** A pod of one app, with what a test wants otherwise. */
export function requestOf(
  record: ImageRecord,
  args: readonly string[],
  changes: Partial<PodRequest> = {},
): PodRequest {
  return {
    apps: [{ record, args }],
    network: 'none',
    overlay: true,
    interactive: false,
    insecure: UNSIGNED,
    ...changes,
  };
}

/** Starts a process that prepares and runs a pod, or what `verb` says (pod-child.ts). */
export function startChild(world: World, verb: string, argument: unknown) {
  const words = [child, world.dataDir, verb, JSON.stringify(argument)];
  const started = spawn(process.execPath, words, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TEST_STAGE1_DIR: world.context.stage1Dir },
  });
  // A test that failed must not leave its pod running; one that has ended is not there to be killed.
  onTestFinished(() => void started.kill('SIGKILL'));
  return started;
}

/** Runs such a process to its end. */
export async function runChild(world: World, verb: string, argument: unknown): Promise<PodEnding> {
  const process = startChild(world, verb, argument);
  const ended = new Promise<number | null>((resolve) => process.once('close', resolve));
  const [stdout, stderr] = await Promise.all([buffer(process.stdout), buffer(process.stderr)]);
  const lines = stdout.toString().split('\n').slice(0, -1);
  return {
    code: await ended,
    stdout: lines.map((line) => line.replace(/^\[ *\d+\.\d+\] [a-z0-9-]+\[\d+\]: /, '')),
    stderr: stderr.toString(),
  };
}

/** Prepares and runs a pod as `gantry run` does. */
export function runPod(world: World, request: PodRequest): Promise<PodEnding> {
  return runChild(world, 'run', { ...request, runsNow: true });
}

async function archive(wishes: ImageWishes) {
  const { name = 'example.com/probe', files = {}, app, labels, dependencies = [] } = wishes;
  const tar = pack();
  const manifest = {
    acKind: 'ImageManifest',
    acVersion: '0.8.11',
    name,
    labels: Object.entries({ os: 'linux', arch: 'amd64', ...labels }).map(([key, value]) => ({
      name: key,
      value,
    })),
    app: { exec: ['/bin/probe'], user: '0', group: '0', ...app },
    dependencies,
  };
  tar.entry({ name: 'manifest' }, JSON.stringify(manifest));
  tar.entry({ name: 'rootfs', type: 'directory', mode: 0o755 });
  tar.entry({ name: 'rootfs/bin', type: 'directory', mode: 0o755 });
  tar.entry({ name: 'rootfs/bin/probe', mode: 0o755 }, readFileSync(buildProbe()));
  for (const [path, file] of Object.entries(files)) addFile(tar, `rootfs/${path}`, file);
  tar.finalize();
  return await buffer(tar);
}

function addFile(tar: ReturnType<typeof pack>, name: string, file: ImageFile): void {
  if (typeof file === 'string') {
    tar.entry({ name, mode: 0o644 }, file);
  } else if ('link' in file) {
    tar.entry({ name, type: 'symlink', linkname: file.link });
  } else {
    const { content = '', directory, mode = directory ? 0o755 : 0o644, uid = 0, gid = 0 } = file;
    const owner = { name, mode, uid, gid };
    if (directory) tar.entry({ ...owner, type: 'directory' });
    else tar.entry(owner, content);
  }
}
