import { execFileSync } from 'node:child_process';
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Installation } from '../support/installation.ts';
import { type Contender, compete, isPresent, present, type Result } from './contender.ts';
import { measureApps, measureList, measureMany } from './crowd.ts';
import { measureIsolators } from './isolators.ts';
import { measureOci } from './oci.ts';
import { makeOciLayout, packLayer } from './oci-layout.ts';
import { createContainerd } from './peers/containerd.ts';
import { createPodman } from './peers/podman.ts';
import { containerdResident, gantryResident, podmanResident, type Resident } from './resident.ts';
import { measureStage1 } from './stage1.ts';
import * as starting from './starting.ts';
import type { Stopwatch } from './stopwatch.ts';
import { type Row, rowsOf } from './table.ts';
import * as transfer from './transfer.ts';
import { measureUsers } from './users.ts';
import { makeLargeRoot } from './workload.ts';

/** What every part of the bench is given. */
export interface Bench {
  readonly directory: string;
  readonly gantry: Installation;
  readonly stopwatch: Stopwatch;
  readonly rounds: number;
  /** The small root file system, and the signed image made of it (in the store already). */
  readonly root: string;
  readonly reference: string;
}

/** What one part measured: rows of the table, and what exactly was run. */
export interface Outcome {
  readonly rows: readonly Row[];
  readonly results: readonly (Result | Resident)[];
}

/** The parts of the bench by the names that `--only` takes. */
export const figures: Readonly<Record<string, (bench: Bench) => Promise<Outcome>>> = {
  version: measureVersion,
  start: measureStart,
  stage1: measureStage1,
  users: measureUsers,
  isolators: measureIsolators,
  transfer: measureTransfer,
  oci: measureOci,
  memory: measureMemory,
  apps: measureApps,
  list: measureList,
  many: measureMany,
};

async function measureVersion({ gantry, stopwatch, rounds }: Bench): Promise<Outcome> {
  const ours = named(
    'gantry version',
    'through the front, bundle and compile cache',
    gantry.command('version').words,
  );
  const bare = named('node -e 0', 'the same pinned Node', [process.execPath, '-e', '0']);
  const results = await compete([ours, bare], rounds * 2, stopwatch);
  return { rows: rowsOf('version', results, { [bare.name]: 1.3 }), results };
}

async function measureStart(bench: Bench): Promise<Outcome> {
  const { directory, gantry, stopwatch, rounds, root, reference } = bench;
  const ours = starting.gantryRun(gantry, reference);
  const prepared = starting.gantryRunPrepared(gantry, reference);
  const peers = present([
    starting.podmanStart(directory, root),
    starting.nspawnStart(root),
    starting.containerdStart(directory, () => smallArchive(bench)),
    starting.runcStart(directory, root),
    starting.bubblewrapStart(root),
  ]);
  const results = await compete([ours, prepared, ...peers], rounds, stopwatch);
  const [run, runPrepared, ...theirs] = results;
  if (run === undefined || runPrepared === undefined) throw new Error('no round was run');
  const bounds = { 'podman run': 0.35, 'systemd-nspawn': 1.0 };
  return {
    rows: [
      ...rowsOf('run of a cached static true', [run, ...theirs], bounds),
      ...rowsOf('run-prepared', [runPrepared, ...theirs], { 'runc run': 0.5 }),
    ],
    results,
  };
}

async function measureTransfer(bench: Bench): Promise<Outcome> {
  const { directory, gantry, stopwatch, rounds } = bench;
  const large = makeLargeRoot(directory);
  const image = await gantry.makeImage('large', large, { exec: ['/usr/bin/none'] });
  const layers = [packLayer(join(directory, 'layer.tar.gz'), large)];
  const layout = makeOciLayout(join(directory, 'layout'), layers, 'example.com/large:1');
  rmSync(large, { recursive: true });
  const mirror = await transfer.startMirror(directory, image, layout);
  try {
    const peers = present([transfer.skopeoUmoci(directory, mirror), transfer.gunzipAlone(image)]);
    const ours = transfer.gantryFetch(gantry, image, mirror);
    const results = await compete([ours, ...peers], Math.max(3, Math.ceil(rounds / 4)), stopwatch);
    const megabytes = (statSync(image.path).size / 1e6).toFixed(0);
    const figure = `fetch, verify, unpack ${megabytes} MB`;
    const peak: Row = {
      figure: 'peak memory of that fetch',
      unit: 'MB',
      ours: (results[0]?.peakBytes ?? Number.NaN) / 1e6,
      bound: { most: 200 },
    };
    return {
      rows: [...rowsOf(figure, results, { 'skopeo copy + umoci unpack': 0.4 }), peak],
      results,
    };
  } finally {
    await mirror.close();
  }
}

async function measureMemory(bench: Bench): Promise<Outcome> {
  const { directory, gantry, root, reference } = bench;
  const count = 5;
  const ours = await gantryResident(gantry, reference, count);
  const theirs: Resident[] = [];
  if (isPresent(['podman', 'runc', 'conmon'])) {
    const podman = createPodman(directory, root);
    await podman.setUp();
    theirs.push(await podmanResident(podman, count).finally(podman.tearDown));
  }
  if (isPresent(['containerd', 'ctr', 'runc', 'containerd-shim-runc-v2'])) {
    const containerd = createContainerd(directory, () => smallArchive(bench));
    await containerd.setUp();
    const measured = containerd
      .image()
      .then((image) => containerdResident(containerd, image, count));
    theirs.push(await measured.finally(containerd.tearDown));
  }
  const figure = 'resident memory per running pod';
  const absolute: Row = { figure, unit: 'MB', ours: ours.rss / 1e6, bound: { most: 1.5 } };
  const shared: Row = {
    figure: '  the same, shared pages once (PSS)',
    unit: 'MB',
    ours: ours.pss / 1e6,
  };
  const compared = theirs.map(
    ({ name, rss }): Row => ({
      figure,
      unit: 'MB',
      ours: ours.rss / 1e6,
      peer: { name, value: rss / 1e6 },
    }),
  );
  return { rows: [absolute, ...compared, shared], results: [ours, ...theirs] };
}

/** The small root as an OCI archive. */
async function smallArchive({ directory, root }: Bench): Promise<string> {
  const layout = join(directory, 'small');
  const archive = join(directory, 'small.tar');
  const layer = packLayer(join(directory, 'small.tar.gz'), root);
  makeOciLayout(layout, [layer], 'example.com/small:1');
  execFileSync('tar', ['-C', layout, '-cf', archive, '.']);
  return archive;
}

function named(name: string, note: string, words: readonly [string, ...string[]]): Contender {
  return { name, note, programs: [], round: async () => [{ words }] };
}
