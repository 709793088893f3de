import type { ChildProcess } from 'node:child_process';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { newUuid } from '../../src/system/uuid.ts';
import { exitCodeOf } from '../support/installation.ts';
import { type Contender, compete, isPresent, median, type Result } from './contender.ts';
import type { Bench, Outcome } from './figures.ts';
import { createPodman } from './peers/podman.ts';
import { besidesApps, gantryPods, perPod } from './resident.ts';
import { gantryRun } from './starting.ts';
import { type Row, rowsOf } from './table.ts';

/** What `gantry list` has to show: most have ended, some were never started. */
const LISTED = { ended: 800, prepared: 200 } as const;
/** How many containers podman makes in a bearable time. */
const COMPARED = 100;
/** How many pods run at once. */
const RUNNING = 200;
/** How many are started at the same moment: what happens when a machine comes up. */
const AT_ONCE = 20;

/** `gantry list` of many pods beside none, and beside podman's list of as many containers. */
export async function measureList(bench: Bench): Promise<Outcome> {
  const { directory, gantry, stopwatch, rounds, root, reference } = bench;
  const ended = await gantry.call('prepare', reference);
  await gantry.run('run-prepared', ended);
  const prepared = await gantry.call('prepare', reference);
  const crowd = (name: string, counts: { readonly ended: number; readonly prepared: number }) => {
    const place = join(directory, name);
    copyPods(gantry.dataDirectory, place, 'run', ended, counts.ended);
    copyPods(gantry.dataDirectory, place, 'prepared', prepared, counts.prepared);
    return listing(bench, place, `${counts.ended + counts.prepared} pods`);
  };
  const none = listing(bench, join(directory, 'none'), 'no pods');
  const many = crowd('many', LISTED);
  const some = crowd('some', { ended: COMPARED / 2, prepared: COMPARED / 2 });
  const peers = isPresent(['podman', 'runc', 'conmon']) ? [podmanList(directory, root)] : [];
  const results = await compete([some, ...peers, none, many], rounds, stopwatch);
  await gantry.call('gc', '--grace-period=0s', '--expire-prepared=0s');
  const [ours, ...theirs] = results.slice(0, 1 + peers.length);
  const [ofNone, ofMany] = results.slice(-2);
  if (ours === undefined || ofNone === undefined || ofMany === undefined)
    return { rows: [], results };
  const more: Row = {
    figure: `list of ${LISTED.ended + LISTED.prepared} pods, more than of none`,
    unit: 'ms',
    ours: median(ofMany.rounds.map((round, at) => round.milliseconds - millisecondsOf(ofNone, at))),
    bound: { most: 250 },
  };
  return { rows: [more, ...rowsOf(`list of ${COMPARED}`, [ours, ...theirs], {})], results };
}

function millisecondsOf(result: Result, round: number): number {
  return result.rounds[round]?.milliseconds ?? Number.NaN;
}

/** Copies a pod so often, each with a UUID of its own. */
function copyPods(from: string, to: string, phase: string, uuid: string, count: number): void {
  const source = join(from, 'pods', phase, uuid);
  for (let pod = 0; pod < count; pod++) {
    const target = join(to, 'pods', phase, newUuid());
    cpSync(source, target, { recursive: true, verbatimSymlinks: true });
  }
}

function listing({ gantry }: Bench, dataDirectory: string, what: string): Contender {
  return {
    name: `gantry list, ${what}`,
    note: 'the text an operator reads; pods copied in memory',
    programs: [],
    round: async () => [gantry.command('list', `--dir=${dataDirectory}`)],
  };
}

function podmanList(directory: string, root: string): Contender {
  const podman = createPodman(directory, root);
  return {
    name: 'podman ps --all',
    note: `${COMPARED} containers that were created`,
    programs: ['podman', 'runc', 'conmon'],
    setUp: async () => {
      await podman.setUp();
      for (let container = 0; container < COMPARED; container++) {
        await podman.call('create', '--network=none', 'small', '/bin/true');
      }
    },
    round: async () => [podman.command('ps', '--all')],
    tearDown: podman.tearDown,
  };
}

/** Many pods at once: what each costs, and how long it takes to start, list and stop them all. */
export async function measureMany({ gantry, reference }: Bench): Promise<Outcome> {
  const uuids: string[] = [];
  const running: ChildProcess[] = [];
  const took = async (work: () => Promise<unknown>) => {
    const begun = performance.now();
    await work();
    return performance.now() - begun;
  };
  try {
    for (let pod = 0; pod < RUNNING; pod++) {
      uuids.push(await gantry.call('prepare', reference, '--exec=/bin/pause'));
    }
    const start = await took(() => startAll(gantry, uuids, running));
    const { rss, pss } = perPod(besidesApps(running), RUNNING);
    const list = await took(() => gantry.call('list'));
    const collect = await took(() => gantry.call('gc', '--mark-only'));
    const stop = await took(async () => {
      await gantry.call('stop', ...uuids);
      await Promise.all(running.map(exitCodeOf));
    });
    const figure = `${RUNNING} pods at once`;
    const note = `run-prepared of ${RUNNING} pods, ${AT_ONCE} at a time; supervisor and init, without the apps`;
    return {
      rows: [
        { figure: `${figure}: resident each`, unit: 'MB', ours: rss / 1e6, bound: { most: 1.5 } },
        { figure: '  the same, shared pages once (PSS)', unit: 'MB', ours: pss / 1e6 },
        { figure: '  until all are ready, each', unit: 'ms', ours: start / RUNNING },
        { figure: '  list', unit: 'ms', ours: list },
        { figure: '  gc --mark-only', unit: 'ms', ours: collect },
        { figure: '  stop all', unit: 'ms', ours: stop },
      ],
      results: [{ name: figure, note, rss, pss }],
    };
  } finally {
    if (running.length > 0) await gantry.run('stop', '--force', ...uuids);
    await Promise.race([Promise.all(running.map(exitCodeOf)), sleep(10_000)]);
    await gantry.call('gc', '--grace-period=0s', '--expire-prepared=0s');
  }
}

async function startAll(
  gantry: Bench['gantry'],
  uuids: readonly string[],
  running: ChildProcess[],
): Promise<void> {
  for (let from = 0; from < uuids.length; from += AT_ONCE) {
    const turn = uuids.slice(from, from + AT_ONCE);
    for (const uuid of turn) running.push(gantryPods.start(gantry, uuid));
    await Promise.all(turn.map((uuid) => gantryPods.ready(gantry, uuid)));
  }
}

/** A pod of ten apps beside one of one. */
export async function measureApps({
  gantry,
  stopwatch,
  rounds,
  reference,
}: Bench): Promise<Outcome> {
  const words = Array.from({ length: 10 }, (_, app) => [reference, `--name=app-${app}`, '---']);
  const one: Contender = { ...gantryRun(gantry, reference), name: 'one app' };
  const ten: Contender = {
    ...one,
    name: 'ten apps',
    round: async () => [gantry.command('run', '--net=none', ...words.flat())],
  };
  const results = await compete([ten, one], rounds, stopwatch);
  return { rows: rowsOf('run of a pod of ten apps', results, { [one.name]: 3 }), results };
}
