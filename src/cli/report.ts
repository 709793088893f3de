import { GantryError } from '../error.ts';

/**
 * Prints a failure as `gantry: COMMAND: why` on standard error, on one line; with `debug` the chain of
 * causes follows, one a line, and the stack of a defect.
 */
export function printError(command: string, error: unknown, debug: boolean): void {
  const where = command === '' ? 'gantry' : `gantry: ${command}`;
  console.error(`${where}: ${oneLine(messageOf(error))}`);
  if (!(error instanceof GantryError)) {
    console.error(
      debug && error instanceof Error
        ? error.stack
        : 'this is a defect in Gantry: --debug shows where',
    );
  }
  if (!debug) return;
  for (let cause = causeOf(error); cause !== undefined; cause = causeOf(cause)) {
    console.error(`  caused by: ${oneLine(messageOf(cause))}`);
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function causeOf(error: unknown): unknown {
  return error instanceof Error ? error.cause : undefined;
}

/** Control characters may come from outside (an image, a server): they never reach a terminal. */
export function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must go
  return text.replace(/\s*\n\s*/g, '; ').replace(/[\u0000-\u001f\u007f-\u009f]/g, '?');
}
