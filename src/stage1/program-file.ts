import { posix } from 'node:path';
import { GantryError } from '../error.ts';
import { quote } from '../image/quotation.ts';
import { isRegistered } from '../isolation/binfmt.ts';
import type { LayerTree } from '../isolation/layer-tree.ts';
import { isElf, isNative, processorOf, type ReadAt, readElf } from './elf.ts';
import { lies } from './volume-mounts.ts';

/** Where an app's program is looked for. */
export interface ProgramPlace {
  readonly tree: LayerTree;
  /** What a relative path starts from. */
  readonly workingDirectory: string;
  /** Where something is mounted over the image: what is there the image does not say. */
  readonly mounted: readonly string[];
}

/** What the kernel reads of a file to know how to execute it (linux/binfmts.h, BINPRM_BUF_SIZE). */
const START_BYTES = 256;
/** Of this much of a file, one read is enough for nearly every program. */
const PAGE = 4096;
/** execve(2), "Interpreter scripts": the kernel goes no deeper. */
const MAX_DEPTH = 5;
const REMEDY = 'name another program with --exec';

/**
 * Refuses what exec would refuse when the pod starts: a program that is missing, may not be executed, is for
 * another machine, or needs an interpreter or loader that the image lacks. What lies in a volume is left to
 * exec.
 * @param where names the app, for messages
 * @throws GantryError `launch`
 */
export function requireProgram(program: string, place: ProgramPlace, where: string): void {
  let path = program;
  for (let depth = 0; depth <= MAX_DEPTH; depth++) {
    const whose = depth === 0 ? where : `${where}: ${quote(program)} needs ${quote(path)}`;
    const next = needOf(path, place, whose);
    if (next === undefined) return;
    path = next;
  }
  throw new GantryError(
    'launch',
    `${where}: ${quote(program)} is a script whose interpreters are scripts, too many of them: ${REMEDY}`,
  );
}

/** What a program is executed by; undefined where by nothing else, or nobody knows. */
function needOf(program: string, place: ProgramPlace, where: string): string | undefined {
  const { tree, workingDirectory } = place;
  const path = posix.resolve('/', workingDirectory, program);
  const found = tree.realPath(path);
  const mounted = place.mounted.flatMap((mount) => [posix.resolve(mount), tree.realPath(mount)]);
  if (mounted.some((mount) => lies(found, mount) || lies(path, mount))) return undefined;
  const stats = tree.stat(found);
  // The words scripts written for rkt look for.
  if (stats === undefined) {
    throw refuse(where, `Error: Unable to open "${printable(program)}": No such file or directory`);
  }
  const name = quote(program);
  if (stats.isDirectory()) throw refuse(where, `${name} is a directory and no program`);
  if (!stats.isFile()) throw refuse(where, `${name} is no regular file`);
  if ((stats.mode & 0o111) === 0) {
    throw refuse(
      where,
      `${name} is not executable: it has mode 0${(stats.mode & 0o7777).toString(8)}`,
    );
  }
  return tree.withFile(found, (readAt) => readNeed(readAt, name, where));
}

function readNeed(readAt: ReadAt, name: string, where: string): string | undefined {
  const page = readAt(0, PAGE);
  const start = page.subarray(0, START_BYTES);
  if (isElf(start)) return loaderOf(inPage(page, readAt), start, name, where);
  const isScript = start.toString('latin1', 0, 2) === '#!';
  const interpreter = isScript ? interpreterOf(start) : undefined;
  if (interpreter !== undefined) return interpreter;
  if (isRegistered(start)) return undefined;
  if (isScript) throw refuse(where, `${name} is a script that names no interpreter after #!`);
  throw refuse(where, `${name} is no program: it has no ELF header and does not begin with #!`);
}

/** What the first page has is not read again. */
function inPage(page: Buffer, readAt: ReadAt): ReadAt {
  return (offset, length) =>
    offset + length <= page.length
      ? page.subarray(offset, offset + length)
      : readAt(offset, length);
}

function loaderOf(readAt: ReadAt, start: Buffer, name: string, where: string): string | undefined {
  const program = readElf(readAt);
  if (typeof program !== 'string' && isNative(program)) return program.interpreter;
  // The host may have been told what else executes such files.
  if (isRegistered(start)) return undefined;
  if (typeof program === 'string') throw refuse(where, `${name} cannot be executed: ${program}`);
  throw refuse(where, `${name} is for ${processorOf(program)}, and this machine is ${own()}`);
}

function own(): string {
  const names: Readonly<Record<string, string>> = { x64: 'amd64', ia32: 'i386' };
  return names[process.arch] ?? process.arch;
}

/** As the kernel reads the first line of a script (fs/binfmt_script.c). */
function interpreterOf(start: Buffer): string | undefined {
  const end = start.subarray(2).findIndex((byte) => byte === 0x0a || byte === 0);
  const line = start.toString('utf8', 2, end === -1 ? start.length : 2 + end);
  const [, path = '', more] = /^[ \t]*([^ \t]*)([ \t]?)/.exec(line) ?? [];
  // One that does not end in what the kernel reads may go on.
  const isWhole = end !== -1 || more !== '' || start.length < START_BYTES;
  return path !== '' && isWhole ? path : undefined;
}

/** In rkt's words the path stands as it is. */
function printable(path: string): string {
  return path.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?');
}

function refuse(where: string, why: string): GantryError {
  return new GantryError('launch', `${where}: ${why}: ${REMEDY}`);
}
