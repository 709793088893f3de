import type { Installation } from '../support/installation.ts';
import { type Contender, compete } from './contender.ts';
import type { Bench, Outcome } from './figures.ts';
import { gantryRun, gantryRunPrepared } from './starting.ts';
import { rowsOf } from './table.ts';

/** What options after an image stand for, on every host: labels are left out, since few hosts have a policy for any. */
const ISOLATORS: readonly string[] = [
  '--memory=256M',
  '--cpu=2',
  '--cpu-shares=2048',
  '--pids=100',
  '--caps-retain=CAP_CHOWN,CAP_KILL,CAP_SETUID,CAP_SETGID',
  '--seccomp=mode=retain,errno=EPERM,@gantry/default-whitelist',
  '--no-new-privileges',
  '--oom-score-adj=500',
  '--rlimit=nofile=512:1024',
  '--rlimit=core=0',
];

/** Refused where neither blkio nor io has weights. */
const WEIGHT = '--io-weight=200';

/** Starting a pod under all isolators and under none, with Node and without. */
export async function measureIsolators(bench: Bench): Promise<Outcome> {
  const { gantry, stopwatch, rounds, reference } = bench;
  const { code } = await gantry.run('prepare', reference, WEIGHT);
  const isolators = code === 0 ? [...ISOLATORS, WEIGHT] : ISOLATORS;
  const run = gantryRun(gantry, reference);
  const prepared = gantryRunPrepared(gantry, reference);
  const started = await compete(
    [isolatedRun(gantry, reference, isolators, run), run],
    rounds,
    stopwatch,
  );
  const readied = await compete(
    [isolatedPrepared(gantry, reference, isolators, prepared), prepared],
    rounds,
    stopwatch,
  );
  return {
    rows: [
      ...rowsOf('run, all isolators', started, { [run.name]: 1.25 }),
      ...rowsOf('run-prepared, all isolators', readied, {}),
    ],
    results: [...started, ...readied],
  };
}

function isolatedRun(
  gantry: Installation,
  reference: string,
  isolators: readonly string[],
  run: Contender,
): Contender {
  const round = async () => [gantry.command('run', '--net=none', reference, ...isolators)];
  return { ...isolated(run, isolators), round };
}

function isolatedPrepared(
  gantry: Installation,
  reference: string,
  isolators: readonly string[],
  run: Contender,
): Contender {
  const round = async () => {
    const uuid = await gantry.call('prepare', reference, ...isolators);
    return [gantry.command('run-prepared', uuid)];
  };
  return { ...isolated(run, isolators), round };
}

function isolated(run: Contender, isolators: readonly string[]): Contender {
  return {
    ...run,
    name: `${run.name}, all isolators`,
    note: `the same with ${isolators.join(' ')}`,
  };
}
