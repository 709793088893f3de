import { spawn } from 'node:child_process';

/** A command as it is shown (`words`, joined by blanks) and as it is run. */
export interface Command {
  /** What is printed behind the prompt. */
  readonly shown: string;
  /** What is run: the program, then its arguments. */
  readonly words: readonly [string, ...string[]];
  /** Beside the environment of this process. */
  readonly environment?: Readonly<Record<string, string>>;
  /** The exit code that is expected; 0 unless given. */
  readonly expected?: number;
}

/** A command ended otherwise than the story says; by a signal, where `bySignal`. */
export class Surprise extends Error {
  readonly bySignal: boolean;

  constructor(message: string, bySignal = false) {
    super(message);
    this.bySignal = bySignal;
  }
}

const terminal = process.stdout.isTTY === true;

/** Prints what comes next, as a paragraph of its own. */
export function tell(text: string): void {
  console.log(`\n${terminal ? `\x1b[1m${text}\x1b[0m` : text}`);
}

/** Prints the command, runs it on this terminal, and throws `Surprise` for an unexpected exit code. */
export async function show(command: Command): Promise<void> {
  console.log(`\n  $ ${command.shown}`);
  const code = await run(command);
  const expected = command.expected ?? 0;
  if (code !== expected) {
    throw new Surprise(
      `"${command.shown}" ended with ${code}, not ${expected}`,
      typeof code === 'string',
    );
  }
}

/** Runs the command on this terminal without a word; resolves to its exit code (128+n for a signal). */
function run({ words: [program, ...args], environment }: Command): Promise<number | string> {
  const child = spawn(program, args, {
    // Nothing of the story asks: a prompt would be a mistake, and is to fail rather than wait.
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...environment },
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'no exit code'));
  });
}
