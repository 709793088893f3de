import type { Command } from '../support/installation.ts';
import { findProgram } from '../support/requirements.ts';
import type { Measurement, Stopwatch } from './stopwatch.ts';

/** One way to do a job: ours, or what an operator would otherwise use. */
export interface Contender {
  readonly name: string;
  /** What exactly is run, for the reader of the table. */
  readonly note: string;
  /** The programs it needs; without one of them it does not take part. */
  readonly programs: readonly string[];
  /** Called once before the first round. */
  setUp?(): Promise<void>;
  /** Called before every round, outside of the measured time; answers what to run and measure. */
  round(): Promise<readonly Command[]>;
  /** Called after every round, outside of the measured time. */
  afterRound?(): Promise<void>;
  /** Called once after the last round, also when a round failed. */
  tearDown?(): Promise<void>;
}

/** Those that can take part; of the others, says why not. */
export function present<T extends Pick<Contender, 'name' | 'programs'>>(
  contenders: readonly T[],
): T[] {
  return contenders.filter(({ name, programs }) => {
    if (isPresent(programs)) return true;
    console.error(`${name} takes no part: not all of ${programs.join(', ')} are installed`);
    return false;
  });
}

/** Whether all of these programs are installed. */
export function isPresent(programs: readonly string[]): boolean {
  return programs.every((program) => findProgram(program) !== undefined);
}

/** What the rounds of one contender came to. */
export interface Result {
  readonly name: string;
  readonly note: string;
  readonly rounds: readonly Measurement[];
  readonly milliseconds: number;
  readonly peakBytes: number;
}

/**
 * Lets the contenders take turns, `rounds` times after one unmeasured round that warms the caches,
 * so that whatever else the machine does meets all of them alike.
 */
export async function compete(
  contenders: readonly Contender[],
  rounds: number,
  stopwatch: Stopwatch,
): Promise<Result[]> {
  const measured = contenders.map((): Measurement[] => []);
  try {
    for (const contender of contenders) await contender.setUp?.();
    for (let round = -1; round < rounds; round++) {
      for (const [index, contender] of contenders.entries()) {
        const measurement = await runRound(contender, stopwatch);
        if (round >= 0) measured[index]?.push(measurement);
      }
    }
  } finally {
    // All of them, and without hiding what made a round fail.
    await Promise.allSettled(contenders.map((contender) => contender.tearDown?.()));
  }
  return contenders.map(({ name, note }, index) => summarize(name, note, measured[index] ?? []));
}

async function runRound(contender: Contender, stopwatch: Stopwatch): Promise<Measurement> {
  const commands = await contender.round();
  const parts: Measurement[] = [];
  for (const command of commands) parts.push(await stopwatch.time(command));
  await contender.afterRound?.();
  return {
    milliseconds: parts.reduce((sum, part) => sum + part.milliseconds, 0),
    peakBytes: Math.max(...parts.map((part) => part.peakBytes)),
  };
}

function summarize(name: string, note: string, rounds: readonly Measurement[]): Result {
  return {
    name,
    note,
    rounds,
    milliseconds: median(rounds.map((round) => round.milliseconds)),
    peakBytes: Math.max(...rounds.map((round) => round.peakBytes)),
  };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
