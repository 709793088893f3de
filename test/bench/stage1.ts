import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, exitCodeOf, type Installation } from '../support/installation.ts';
import { type Contender, compete, isPresent, type Result } from './contender.ts';
import type { Bench, Outcome } from './figures.ts';
import { gantryRun, nspawnStart } from './starting.ts';
import { type Row, rowsOf } from './table.ts';

/** The flavours whose apps share the host's kernel, so that nsenter gets into them too. */
const ENTERED = ['native', 'nspawn', 'chroot'] as const;

/** Starting a cached pod under each flavour, and entering one that runs. */
export async function measureStage1(bench: Bench): Promise<Outcome> {
  const { gantry, stopwatch, rounds, root, reference } = bench;
  const native = gantryRun(gantry, reference);
  const chroot = flavourRun(gantry, reference, 'chroot');
  const starts: Contender[] = [native, chroot];
  if (isPresent(['systemd-nspawn'])) {
    starts.push(flavourRun(gantry, reference, 'nspawn'), nspawnStart(root));
  }
  const started = await compete(starts, rounds, stopwatch);
  const [ours, chrooted, contained, bare] = started;
  const rows: Row[] = rowsOf('run under chroot', both(chrooted, ours), { [native.name]: 0.9 });
  const bound = { 'systemd-nspawn': 1.6 };
  rows.push(...rowsOf('run under nspawn', both(contained, bare), bound));
  const results = [...started];
  for (const flavour of ENTERED) {
    if (flavour === 'nspawn' && bare === undefined) continue;
    const entered = await measureEnter(bench, flavour);
    rows.push(...rowsOf(`enter, ${flavour}`, entered, { nsenter: 1.5 }));
    results.push(...entered);
  }
  return { rows, results };
}

function both(ours: Result | undefined, peer: Result | undefined): Result[] {
  return ours === undefined || peer === undefined ? [] : [ours, peer];
}

function flavourRun(gantry: Installation, reference: string, flavour: string): Contender {
  const run = gantryRun(gantry, reference);
  return {
    ...run,
    name: `gantry run, ${flavour}`,
    note: `the same under stage1 ${flavour}`,
    round: async () => [gantry.command('run', `--stage1-name=${flavour}`, reference)],
  };
}

/** `gantry enter` and nsenter(1) on one pod. */
async function measureEnter(bench: Bench, flavour: string): Promise<Result[]> {
  const { gantry, stopwatch, rounds, reference } = bench;
  const options = [`--stage1-name=${flavour}`, reference, '--exec=/bin/pause'];
  const uuid = await gantry.call('prepare', ...options);
  const pod = gantry.start('run-prepared', uuid);
  try {
    await gantry.call('status', '--wait-ready=10s', uuid);
    const enter: Contender = {
      name: 'gantry enter',
      note: `${flavour}: namespaces, capabilities, filter and environment of the app`,
      programs: [],
      round: async () => [frontCommand(gantry, uuid)],
    };
    const kinds = flavour === 'chroot' ? ['-m'] : ['-m', '-u', '-i', '-n', '-p'];
    const nsenter: Contender = {
      name: 'nsenter',
      note: `${flavour}: ${kinds.join(' ')}, on the app of the same pod`,
      programs: ['nsenter'],
      round: async () => [
        { words: ['nsenter', '-t', String(appProcess(gantry, uuid)), ...kinds, '/bin/true'] },
      ],
    };
    return await compete([enter, nsenter], rounds * 2, stopwatch);
  } finally {
    await gantry.call('stop', '--force', uuid);
    await exitCodeOf(pod);
    await gantry.call('gc', '--grace-period=0s');
  }
}

/** What an operator types: the front reads no policy for it. */
function frontCommand(gantry: Installation, uuid: string): Command {
  const [program] = gantry.command('enter').words;
  return { words: [program, `--dir=${gantry.dataDirectory}`, 'enter', uuid, '/bin/true'] };
}

/** The host's PID of the pod's one app: the child of its init. */
function appProcess(gantry: Installation, uuid: string): number {
  const pids = readFileSync(join(gantry.dataDirectory, 'pods/run', uuid, 'pid'), 'utf8');
  const init = pids.trim().split(' ')[1];
  return Number(readFileSync(`/proc/${init}/task/${init}/children`, 'utf8').trim().split(' ')[0]);
}
