import {
  type BigIntStats,
  closeSync,
  constants,
  copyFileSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { errnoOf, GantryError } from '../error.ts';
import { system } from '../system/binding.ts';

const AT_FDCWD = -100;
const NANOSECONDS = 1_000_000_000n;

/** Where each file with several names has been copied to, by device and inode. */
type Links = Map<string, string>;

/**
 * Copies a directory tree with everything it has: owners, modes, times to the nanosecond, extended
 * attributes and file capabilities, hard links, symbolic links, devices, fifos. File contents are
 * shared by reflink where the file system can (btrfs, XFS), and copied otherwise.
 * @param to must not exist
 * @throws GantryError `store` naming what could not be copied
 */
export function copyTree(from: string, to: string): void {
  copyEntry(from, to, new Map());
}

function copyEntry(from: string, to: string, links: Links): void {
  try {
    const stats = lstatSync(from, { bigint: true });
    if (copyLink(to, stats, links)) return;
    copyContent(from, to, stats, links);
    copyAttributes(from, to, stats);
  } catch (error) {
    if (error instanceof GantryError) throw error;
    throw new GantryError('store', `cannot copy ${from} to ${to}: ${errnoOf(error) ?? 'failed'}`, {
      cause: error,
    });
  }
}

/** A further name of a file that has been copied becomes a link to the copy. */
function copyLink(to: string, stats: BigIntStats, links: Links): boolean {
  if (stats.nlink < 2n || stats.isDirectory()) return false;
  const key = `${stats.dev}:${stats.ino}`;
  const first = links.get(key);
  if (first === undefined) {
    links.set(key, to);
    return false;
  }
  linkSync(first, to);
  return true;
}

function copyContent(from: string, to: string, stats: BigIntStats, links: Links): void {
  if (stats.isDirectory()) {
    mkdirSync(to, 0o700);
    for (const name of readdirSync(from)) copyEntry(join(from, name), join(to, name), links);
  } else if (stats.isFile()) {
    copyFileSync(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  } else if (stats.isSymbolicLink()) {
    symlinkSync(readlinkSync(from), to);
  } else {
    system.mknodAt(AT_FDCWD, to, Number(stats.mode), deviceNumber(stats.rdev));
  }
}

/** The owner comes first: changing it clears setuid bits and file capabilities (chown(2)). */
function copyAttributes(from: string, to: string, stats: BigIntStats): void {
  const [uid, gid] = [Number(stats.uid), Number(stats.gid)];
  const mode = Number(stats.mode & 0o7777n);
  const [seconds, nanoseconds] = [stats.mtimeNs / NANOSECONDS, stats.mtimeNs % NANOSECONDS];
  if (stats.isFile() || stats.isDirectory()) {
    const fd = openSync(to, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      system.settle(fd, uid, gid, mode, Number(seconds), Number(nanoseconds));
    } finally {
      closeSync(fd);
    }
  } else {
    system.chownAt(AT_FDCWD, to, uid, gid);
    if (!stats.isSymbolicLink()) system.chmodAt(AT_FDCWD, to, mode);
  }
  for (const name of system.listXattr(from)) {
    // overlayfs's own notes are of the tree they were made in.
    if (name.startsWith('trusted.overlay.')) continue;
    const value = system.getXattr(from, name);
    if (value !== undefined) system.setXattr(to, name, value);
  }
  if (!stats.isFile() && !stats.isDirectory()) {
    system.setTimesAt(AT_FDCWD, to, Number(seconds), Number(nanoseconds));
  }
}

/** The kernel's device number (glibc's makedev) as the binding takes it: major * 2^32 + minor. */
function deviceNumber(rdev: bigint): number {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n);
  return Number(major) * 2 ** 32 + Number(minor);
}
