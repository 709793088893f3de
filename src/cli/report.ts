import { GantryError } from '../error.ts';
import { say } from './print.ts';

/**
 * Prints a failure as `gantry: COMMAND: why` on standard error, on one line; with `debug` the chain of
 * causes follows, one a line, and the stack of a defect.
 */
export function printError(command: string, error: unknown, debug: boolean): void {
  const where = command === '' ? 'gantry' : `gantry: ${command}`;
  say(`${where}: ${messageOf(error)}`);
  if (!(error instanceof GantryError)) {
    const stack = debug && error instanceof Error ? (error.stack ?? '') : undefined;
    if (stack === undefined) say('this is a defect in Gantry: --debug shows where');
    else for (const line of stack.split('\n')) say(line);
  }
  if (!debug) return;
  for (let cause = causeOf(error); cause !== undefined; cause = causeOf(cause)) {
    say(`  caused by: ${messageOf(cause)}`);
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function causeOf(error: unknown): unknown {
  return error instanceof Error ? error.cause : undefined;
}
