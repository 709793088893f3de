import { execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from '../support/installation.ts';

/** What one run of a command came to. */
export interface Measurement {
  readonly milliseconds: number;
  /** Highest resident memory of it or of any one of its children, in bytes (VmHWM). */
  readonly peakBytes: number;
}

/** Times commands; see measure.c. */
export interface Stopwatch {
  /** Runs the command to its end. Throws, with what it said, unless it exits with 0. */
  time(command: Command): Promise<Measurement>;
}

/** Builds the stopwatch below `directory`. */
export function createStopwatch(directory: string): Stopwatch {
  const program = join(directory, 'measure');
  const source = join(import.meta.dirname, 'measure.c');
  execFileSync('cc', ['-static', '-O2', '-o', program, source]);
  return { time: (command) => time(program, mkdtempSync(join(directory, 'times-')), command) };
}

async function time(program: string, directory: string, command: Command): Promise<Measurement> {
  const [result, log] = [join(directory, 'result'), join(directory, 'log')];
  const descriptors = [openSync(log, 'w'), openSync(result, 'w')] as const;
  const child = spawn(program, [...command.words], {
    stdio: ['ignore', descriptors[0], descriptors[0], descriptors[1]],
    env: { ...process.env, ...command.environment },
  });
  for (const descriptor of descriptors) closeSync(descriptor);
  await new Promise((resolve, reject) => child.once('close', resolve).once('error', reject));
  const [nanoseconds = 0, kibibytes = 0, status] = readFileSync(result, 'utf8')
    .split(' ')
    .map(Number);
  if (status !== 0) {
    const said = readFileSync(log, 'utf8').trim();
    throw new Error(`"${command.words.join(' ')}" failed (${status}): ${said}`);
  }
  return { milliseconds: nanoseconds / 1e6, peakBytes: kibibytes * 1024 };
}
