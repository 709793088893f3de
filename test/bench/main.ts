import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findProgram } from '../support/requirements.ts';
import { type Contender, compete, type Result } from './contender.ts';
import { formatRows, isKept, type Row } from './figure.ts';
import { createInstallation, type Installation } from './gantry.ts';
import { makeOciLayout } from './oci-layout.ts';
import { createContainerd } from './peers/containerd.ts';
import { createPodman } from './peers/podman.ts';
import { containerdResident, gantryResident, podmanResident, type Resident } from './resident.ts';
import * as starting from './starting.ts';
import { createStopwatch, type Stopwatch } from './stopwatch.ts';
import * as transfer from './transfer.ts';
import { makeLargeRoot, makeSmallRoot } from './workload.ts';

const usage = `usage: npm run bench -- [--rounds=N] [--only=start|version|transfer|memory] [--json=FILE]

Measures Gantry beside the tools an operator would otherwise use, as far as they are installed, in
turns, and prints medians, ratios and the bounds they are held to. Exits with 1 when one is not kept.`;

/** What every part of the bench is given. */
interface Bench {
  readonly directory: string;
  readonly gantry: Installation;
  readonly stopwatch: Stopwatch;
  readonly rounds: number;
  /** The small root file system, and the signed image made of it (in the store already). */
  readonly root: string;
  readonly reference: string;
}

/** What one part measured: rows of the table, and what exactly was run. */
interface Outcome {
  readonly rows: readonly Row[];
  readonly results: readonly (Result | Resident)[];
}

const parts: Readonly<Record<string, (bench: Bench) => Promise<Outcome>>> = {
  version: measureVersion,
  start: measureStart,
  transfer: measureTransfer,
  memory: measureMemory,
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
  const image = await gantry.makeImage('large', large, ['/usr/bin/none']);
  const layout = makeOciLayout(join(directory, 'layout'), large, 'example.com/large:1');
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
  makeOciLayout(layout, root, 'example.com/small:1');
  execFileSync('tar', ['-C', layout, '-cf', archive, '.']);
  return archive;
}

function named(name: string, note: string, words: readonly [string, ...string[]]): Contender {
  return { name, note, programs: [], round: async () => [{ words }] };
}

function present(contenders: readonly Contender[]): Contender[] {
  return contenders.filter(({ name, programs }) => {
    if (isPresent(programs)) return true;
    console.error(`${name} takes no part: not all of ${programs.join(', ')} are installed`);
    return false;
  });
}

function isPresent(programs: readonly string[]): boolean {
  return programs.every((program) => findProgram(program) !== undefined);
}

/** Our result, the first, against each of the others; `bounds` by the peer's name. */
function rowsOf(
  figure: string,
  [ours, ...peers]: readonly Result[],
  bounds: Readonly<Record<string, number>>,
): Row[] {
  return peers.map((peer) => {
    const most = bounds[peer.name];
    return {
      figure,
      unit: 'ms',
      ours: ours?.milliseconds ?? Number.NaN,
      peer: { name: peer.name, value: peer.milliseconds },
      ...(most === undefined ? {} : { bound: { most } }),
    };
  });
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '15' },
      only: { type: 'string', multiple: true },
      json: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  const chosen = values.only ?? Object.keys(parts);
  const rounds = Number(values.rounds);
  if (
    values.help ||
    !Number.isInteger(rounds) ||
    rounds < 1 ||
    chosen.some((name) => !(name in parts))
  ) {
    console.error(usage);
    return values.help ? 0 : 2;
  }
  if (process.getuid?.() !== 0) {
    console.error('bench: starting pods needs root: run it as root');
    return 2;
  }
  // In memory, so that no disk's caches and barriers are measured.
  const directory = mkdtempSync('/dev/shm/gantry-bench-');
  try {
    const outcome = await measure(directory, rounds, chosen);
    report(outcome, rounds, values.json);
    return outcome.rows.every((row) => isKept(row) !== false) ? 0 : 1;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function measure(
  directory: string,
  rounds: number,
  chosen: readonly string[],
): Promise<Outcome> {
  const root = makeSmallRoot(directory);
  const gantry = await createInstallation(directory);
  const image = await gantry.makeImage('small', root, ['/bin/true']);
  await gantry.call('fetch', image.path, `--signature=${image.path}.asc`);
  const stopwatch = createStopwatch(directory);
  const { reference } = image;
  const outcomes: Outcome[] = [];
  for (const name of chosen) {
    console.error(`measuring: ${name}`);
    const part = parts[name];
    if (part !== undefined) {
      outcomes.push(await part({ directory, gantry, stopwatch, rounds, root, reference }));
    }
  }
  return {
    rows: outcomes.flatMap((outcome) => outcome.rows),
    results: outcomes.flatMap((outcome) => outcome.results),
  };
}

function report({ rows, results }: Outcome, rounds: number, json: string | undefined): void {
  const processors = cpus();
  console.log(`${processors.length} x ${processors[0]?.model}, Node ${process.versions.node}`);
  console.log(
    `medians of ${rounds} rounds in turns (twice that for version, a quarter for fetch)\n`,
  );
  console.log(formatRows(rows));
  console.log('\nWhat was run:');
  for (const { name, note } of results) console.log(`  ${name}: ${note}`);
  if (json !== undefined) {
    writeFileSync(json, `${JSON.stringify({ rounds, rows, results }, null, 2)}\n`);
  }
}

process.exitCode = await main();
