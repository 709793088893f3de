import { writeSync } from 'node:fs';
import { errnoOf, GantryError } from '../error.ts';

/** What a shell reports of a program that SIGPIPE ended. */
const BROKEN_PIPE = 128 + 13;

/**
 * Writes text to standard output, all of it before it returns. Node's own `process.stdout` would do,
 * and take 3 ms to load, a tenth of the time a command takes. When the reader is gone the process ends
 * quietly, like other programs in a pipeline. Throws `store` when it cannot be written (a full disk).
 */
export function print(text: string): void {
  write(1, text);
}

/** Writes one line to standard error, where what is said of the work goes. */
export function say(line: string): void {
  write(2, `${oneLine(line)}\n`);
}

/**
 * Control characters, and those that reorder text unseen, may come from outside (an image, a server):
 * they never reach a terminal.
 */
export function oneLine(text: string): string {
  if (/^[ -~]*$/.test(text)) return text;
  return text.replace(/\s*\n\s*/g, '; ').replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?');
}

function write(fd: 1 | 2, text: string): void {
  let rest: Uint8Array = Buffer.from(text);
  while (rest.length > 0) rest = rest.subarray(writeSome(fd, rest));
}

/** How many bytes were written. What standard error does not take is dropped: nobody can be told. */
function writeSome(fd: 1 | 2, bytes: Uint8Array): number {
  try {
    return writeSync(fd, bytes);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'EPIPE') process.exit(BROKEN_PIPE);
    if (errno === 'EAGAIN') {
      // A pipe that somebody made non-blocking is full: its reader needs a moment.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
      return 0;
    }
    if (fd === 2) return bytes.length;
    throw new GantryError('store', `standard output cannot be written: ${errno}`, { cause: error });
  }
}
