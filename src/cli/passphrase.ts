import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { GantryError, reasonOf } from '../error.ts';
import { say } from './print.ts';

/** Nobody types more, and gpg takes no more. */
const MAX_BYTES = 1024;
const VARIABLE = 'GANTRY_KEY_PASSPHRASE';

const KEY = {
  enter: 0x0d,
  newline: 0x0a,
  interrupt: 0x03,
  end: 0x04,
  backspace: 0x08,
  delete: 0x7f,
  clear: 0x15,
};

/** Where a passphrase comes from, in this order: the file, the variable, the terminal. */
export interface PassphraseSource {
  /** `--passphrase-file`. */
  readonly file?: string | undefined;
  readonly env: NodeJS.ProcessEnv;
  readonly warn: (line: string) => void;
}

/**
 * The passphrase of a key, for its user to wipe; undefined where none was given and nobody can be asked.
 *
 * @throws GantryError `not-found` for a file that cannot be read, `interrupted`.
 */
export async function findPassphrase(
  { file, env, warn }: PassphraseSource,
  question: string,
): Promise<Uint8Array | undefined> {
  if (file !== undefined) return readPassphraseFile(file, warn);
  const variable = env[VARIABLE];
  if (variable !== undefined) return Buffer.from(variable);
  return await askSecretly(question);
}

/**
 * The passphrase of a new key: as `findPassphrase`, but whoever types it types it twice.
 *
 * @throws GantryError `usage` where the two differ
 */
export async function choosePassphrase(source: PassphraseSource): Promise<Uint8Array | undefined> {
  const first = await findPassphrase(source, 'Passphrase for the new key (empty for none): ');
  const typed = source.file === undefined && source.env[VARIABLE] === undefined;
  if (first === undefined || first.length === 0 || !typed) return first;
  const second = await askSecretly('The same passphrase again: ');
  if (second !== undefined && Buffer.from(first).equals(second)) return first;
  throw new GantryError('usage', 'the two passphrases differ: no key was made');
}

/** The first line, as gpg's --passphrase-file has it. */
function readPassphraseFile(path: string, warn: (line: string) => void): Uint8Array {
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    const stats = fstatSync(fd);
    if (stats.isFile() && (stats.mode & 0o044) !== 0) {
      warn(`the passphrase in ${path} can be read by others: chmod 600 ${path}`);
    }
    const bytes = Buffer.alloc(MAX_BYTES + 2);
    let length = 0;
    for (let count = -1; count !== 0 && length < bytes.length; length += count) {
      count = readSync(fd, bytes, length, bytes.length - length, null);
    }
    return firstLine(bytes.subarray(0, length), path);
  } catch (cause) {
    if (cause instanceof GantryError) throw cause;
    throw new GantryError('not-found', `--passphrase-file: ${path}: ${reasonOf(cause)}`, { cause });
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function firstLine(bytes: Buffer, path: string): Uint8Array {
  const end = bytes.indexOf(KEY.newline);
  const line = end === -1 ? bytes : bytes.subarray(0, end);
  const length = line.at(-1) === KEY.enter ? line.length - 1 : line.length;
  if (length <= MAX_BYTES) return line.subarray(0, length);
  throw new GantryError(
    'usage',
    `--passphrase-file: ${path}: its first line is longer than ${MAX_BYTES} bytes`,
  );
}

/** Asks on the terminal, which shows nothing of what is typed; undefined where there is none. */
async function askSecretly(question: string): Promise<Uint8Array | undefined> {
  const { stdin, stderr } = process;
  if (stdin.isTTY !== true || stderr.isTTY !== true) return undefined;
  // Before the question: what is typed from the moment it shows must not be echoed.
  stdin.setRawMode(true);
  try {
    stderr.write(question);
    return await readTyped(stdin);
  } finally {
    stdin.setRawMode(false);
    stdin.pause();
    say('');
  }
}

/** What is typed up to the end of the line. */
function readTyped(stdin: NodeJS.ReadStream): Promise<Uint8Array> {
  const line = new SecretLine();
  return new Promise((resolve, reject) => {
    const take = (chunk: Buffer): void => {
      const state = line.take(chunk);
      if (state === 'typing') return;
      stdin.off('data', take);
      if (state === 'done') resolve(line.bytes);
      else reject(new GantryError('interrupted', 'interrupted: nothing was signed'));
    };
    stdin.on('data', take);
    stdin.resume();
  });
}

/** A line that is typed unseen, edited as a terminal would have done it. */
export class SecretLine {
  readonly #typed = Buffer.alloc(MAX_BYTES);
  #length = 0;

  get bytes(): Uint8Array {
    return this.#typed.subarray(0, this.#length);
  }

  /** Takes what was typed next; what follows the end of the line is dropped. */
  take(chunk: Uint8Array): 'typing' | 'done' | 'interrupted' {
    for (const byte of chunk) {
      if (byte === KEY.enter || byte === KEY.newline || byte === KEY.end) return 'done';
      if (byte === KEY.interrupt) {
        this.#typed.fill(0);
        return 'interrupted';
      }
      this.#edit(byte);
    }
    return 'typing';
  }

  #edit(byte: number): void {
    if (byte === KEY.clear) this.#length = 0;
    else if (byte === KEY.backspace || byte === KEY.delete) this.#dropLast();
    else if (this.#length < MAX_BYTES) this.#typed[this.#length++] = byte;
  }

  /** One character: in UTF-8 all its bytes but the first begin with the bits 10. */
  #dropLast(): void {
    do this.#length = Math.max(this.#length - 1, 0);
    while (this.#length > 0 && ((this.#typed[this.#length] ?? 0) & 0xc0) === 0x80);
  }
}
