import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../error.ts';
import { seccompFile } from '../system/seccomp.ts';
import { newUuid } from '../system/uuid.ts';
import type { CallPolicy } from './system-calls.ts';

/** To be raised when another program is compiled from the same policy. */
const FORM = 2;
/** BPF_MAXINSNS instructions. */
const MAX_PROGRAM = 4096 * 8;
const MAX_AGE_MS = 30 * 24 * 3_600_000;

/**
 * The compiled filters of a data directory, `filters/` in it (specs/store.md). What an entry is made from is in it
 * word by word, so that its name need only be likely to be its own.
 */
export class FilterCache {
  readonly #directory: string;

  constructor(dataDir: string) {
    this.#directory = join(dataDir, 'filters');
  }

  /** The program compiled from a policy before; undefined where there is none, or none that can be believed. */
  find(policy: CallPolicy): Buffer | undefined {
    if (!this.#isOwn()) return undefined;
    const origin = originOf(policy);
    const content = readOwn(this.#fileOf(origin));
    if (content === undefined || !content.subarray(0, origin.length).equals(origin)) {
      return undefined;
    }
    const program = Buffer.from(content.subarray(origin.length + 4));
    const whole = program.length > 0 && program.length % 8 === 0 && program.length <= MAX_PROGRAM;
    return whole && content.readUInt32LE(origin.length) === sum(program) ? program : undefined;
  }

  /** Keeps a program for the next one who asks; where it cannot be written, that one compiles it too. */
  keep(policy: CallPolicy, program: Buffer): void {
    try {
      mkdirSync(this.#directory, { mode: 0o700 });
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') return;
    }
    if (!this.#isOwn()) return;
    const origin = originOf(policy);
    const check = Buffer.alloc(4);
    check.writeUInt32LE(sum(program));
    const beside = join(this.#directory, `.${newUuid()}`);
    try {
      writeFileSync(beside, Buffer.concat([origin, check, program]), { mode: 0o600, flag: 'wx' });
      renameSync(beside, this.#fileOf(origin));
    } catch {
      rmSync(beside, { force: true });
    }
  }

  /** Removes what was compiled more than a month ago, in use or not: compiling it again takes milliseconds. */
  sweep(now = Date.now()): void {
    if (!this.#isOwn()) return;
    for (const name of readdirSync(this.#directory)) {
      const path = join(this.#directory, name);
      const { mtimeMs } = lstatSync(path, { throwIfNoEntry: false }) ?? { mtimeMs: now };
      if (now - mtimeMs > MAX_AGE_MS) rmSync(path, { force: true, recursive: true });
    }
  }

  /** Nobody else can have written in it. */
  #isOwn(): boolean {
    const stats = lstatSync(this.#directory, { throwIfNoEntry: false });
    return stats?.isDirectory() === true && isPrivate(stats);
  }

  #fileOf(origin: Buffer): string {
    return join(this.#directory, sum(origin).toString(16).padStart(8, '0'));
  }
}

function isPrivate({ uid, mode }: Stats): boolean {
  return uid === process.geteuid?.() && (mode & 0o077) === 0;
}

function readOwn(path: string): Buffer | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    return undefined;
  }
  try {
    const stats = fstatSync(fd);
    return stats.isFile() && isPrivate(stats) ? readFileSync(fd) : undefined;
  } finally {
    closeSync(fd);
  }
}

/** All that a program depends on, in ASCII. The padding lets the sums go by whole words. */
function originOf(policy: CallPolicy): Buffer {
  const { size, mtimeMs } = statSync(seccompFile());
  const text = JSON.stringify([FORM, process.arch, size, mtimeMs, policy]);
  return Buffer.from(`${text.padEnd(Math.ceil((text.length + 1) / 4) * 4 - 1)}\n`);
}

/** FNV-1a over 32-bit words: against files cut short or never written, not against anybody. */
function sum(bytes: Buffer): number {
  const words = new Uint32Array(
    bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
  );
  let result = 0x811c9dc5;
  for (const word of words) {
    result = Math.imul(result ^ word, 0x01000193);
    result ^= result >>> 15;
  }
  return result >>> 0;
}
