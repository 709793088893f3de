import {
  closeSync,
  lstatSync,
  openSync,
  readlinkSync,
  readSync,
  type Stats,
  statSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { GantryError } from '../error.ts';
import { quote } from '../image/quotation.ts';
import { isHidden, isHiddenRoots, isRootless } from '../system/ordinary-user.ts';
import { isElf, isNative } from './elf.ts';

/** What the programs of a stage1 are called in its manifest (specs/stage1-interface.md). */
export const ENTRY_POINTS = [
  'run',
  'enter',
  'stop',
  'gc',
  'app-add',
  'app-start',
  'app-stop',
  'app-rm',
] as const;
export type EntryPoint = (typeof ENTRY_POINTS)[number];

/** Makes the error for what is wrong with a stage1, naming it. */
export type Refusal = (why: string, cause?: unknown) => GantryError;

/** A file of a stage1, and every directory that is passed on the way to it. */
export interface StageFile {
  readonly path: string;
  readonly stats: Stats;
  /** Absolute; the stage1's own first. */
  readonly directories: readonly string[];
}

/** As the kernel has it (path_resolution(7)). */
const MAX_SYMLINKS = 40;
/** Enough for the head of an ELF file (elf(5)) and the first line of a script (BINPRM_BUF_SIZE). */
const HEAD_BYTES = 256;

/**
 * Finds a file of the stage1 in `directory` without leaving it: a symbolic link may lead to another place
 * inside, by a relative path.
 * @param what names the file in messages
 */
export function findInside(
  directory: string,
  relative: string,
  what: string,
  refuse: Refusal,
): StageFile {
  const directories = [directory];
  const names: string[] = [];
  const pending = components(relative).reverse();
  let stats: Stats | undefined;
  let links = 0;
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (name === '..') {
      if (names.pop() === undefined) throw refuse(`${what} lies outside of it: copy it into it`);
      continue;
    }
    const path = join(directory, ...names, name);
    stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats?.isSymbolicLink()) {
      const target = readlinkSync(path);
      if (target.startsWith('/')) {
        throw refuse(
          `${what} is a link to ${quote(target)}: only relative links inside are followed`,
        );
      }
      if (++links > MAX_SYMLINKS) throw refuse(`${what} is a link that never ends`);
      pending.push(...components(target).reverse());
      continue;
    }
    if (stats === undefined || (pending.length > 0 && !stats.isDirectory())) {
      throw refuse(`${what} is not there: add it, or take it out of the manifest`);
    }
    names.push(name);
    if (stats.isDirectory()) directories.push(path);
  }
  if (!stats?.isFile()) throw refuse(`${what} is no regular file`);
  return { path: join(directory, ...names), stats, directories };
}

/** Refuses a program that this machine's kernel would not run. */
export function requireRunnable(
  { path, stats }: StageFile,
  what: string,
  refuse: Refusal,
  machine: string = process.arch,
): void {
  if ((stats.mode & 0o111) === 0) throw refuse(`${what} is not executable: chmod +x it`);
  const head = readHead(path);
  if (isElf(head)) {
    requireMachine(head, what, refuse, machine);
  } else if (head.subarray(0, 2).toString('latin1') === '#!') {
    requireInterpreter(head, what, refuse);
  } else {
    throw refuse(`${what} is neither an ELF program nor a script that begins with #!`);
  }
}

/** Refuses what anyone but root could put other code into: the pod's supervisor runs as root. */
export function requireRootsOwn(
  file: StageFile,
  what: string,
  refuse: Refusal,
  above: boolean,
): void {
  requireRoots(file.stats, what, refuse, isHiddenRoots(file.path, file.stats.uid));
  for (const directory of file.directories) {
    const stats = statSync(directory);
    requireRoots(stats, `directory ${directory}`, refuse, isHiddenRoots(directory, stats.uid));
  }
  if (!above) return;
  for (let path = dirname(file.directories[0] ?? '/'); ; path = dirname(path)) {
    const stats = statSync(path);
    // Where the sticky bit is set (/tmp), others can add, but not replace what is root's.
    const sticky = (stats.mode & 0o1000) !== 0;
    const seen = sticky ? { uid: stats.uid, mode: 0 } : stats;
    // What an ordinary user names lies below others' directories, such as /home; whose, they cannot see.
    requireRoots(seen, `directory ${path}`, refuse, isHidden(stats.uid));
    if (path === '/') return;
  }
}

function requireRoots(
  { uid, mode }: Pick<Stats, 'uid' | 'mode'>,
  what: string,
  refuse: Refusal,
  hidden: boolean,
): void {
  if (uid !== 0 && !hidden) {
    throw refuse(
      isRootless()
        ? `${what} belongs to another user: it is run as you, so use a copy of your own`
        : `${what} belongs to user ${uid}: it is run as root, so chown it to root`,
    );
  }
  if ((mode & 0o022) === 0) return;
  throw refuse(`${what} can be written to by others than root: chmod go-w it`);
}

function requireMachine(head: Buffer, what: string, refuse: Refusal, machine: string): void {
  // elf(5): e_ident[EI_DATA] is the byte order, e_machine follows e_ident and e_type.
  const isBigEndian = head[5] === 2;
  const number =
    head.length < 20 ? -1 : isBigEndian ? head.readUInt16BE(18) : head.readUInt16LE(18);
  if (isNative({ machine: number, littleEndian: !isBigEndian }, machine)) return;
  throw refuse(
    `${what} is a program of another architecture (ELF machine ${number}, this one is ${machine}): use a stage1 built for this machine`,
  );
}

function requireInterpreter(head: Buffer, what: string, refuse: Refusal): void {
  const [line = ''] = head.subarray(2).toString('utf8').split('\n');
  const [interpreter = ''] = line.trim().split(/[ \t]/);
  const stats = interpreter.startsWith('/')
    ? statSync(interpreter, { throwIfNoEntry: false })
    : undefined;
  if (stats?.isFile() && (stats.mode & 0o111) !== 0) return;
  throw refuse(`${what} is a script of ${quote(interpreter)}, which this host lacks: install that`);
}

function readHead(path: string): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  const fd = openSync(path, 'r');
  try {
    return head.subarray(0, readSync(fd, head, 0, HEAD_BYTES, 0));
  } finally {
    closeSync(fd);
  }
}

function components(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}
