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
import { splitDevice } from '../system/device-number.ts';
import { isOpaque, isOverlayXattr, isWhiteout, showingTrees } from './overlay-marks.ts';

const AT_FDCWD = -100;
const NANOSECONDS = 1_000_000_000n;

/** Where each file with several names has been copied to, by device and inode. */
type Links = Map<string, string>;

/** How what is no directory gets to its new place: copied, or as a further name of the same file. */
export type Transfer = 'copy' | 'link';

/** Who a file's user or group becomes. */
export type Owner = (id: number) => number;

/** Of a copy that belongs to whom the original does. */
const sameOwner: Owner = (id) => id;

/**
 * Writes trees laid over each other as one, with everything they have: owners, modes, times to the
 * nanosecond, extended attributes and file capabilities, hard links, symbolic links, devices, fifos. What
 * overlayfs would hide is left out, and so are its marks. File contents are shared by reflink where the
 * file system can (btrfs, XFS), and copied otherwise.
 * @param trees top first, each a directory
 * @param to must not exist; with `link`, in the trees' file system
 * @param owner whose a copy is to be
 * @throws GantryError `store` naming what could not be copied
 */
export function flattenLayers(
  trees: readonly string[],
  to: string,
  transfer: Transfer = 'copy',
  owner: Owner = sameOwner,
): void {
  new Flattening(transfer, owner).directory(showingTrees(trees), to);
}

class Flattening {
  readonly #links: Links = new Map();
  readonly #transfer: Transfer;
  readonly #owner: Owner;

  constructor(transfer: Transfer, owner: Owner) {
    this.#transfer = transfer;
    this.#owner = owner;
  }

  /** `sources`: the directories that are merged, top first; the first one lends its looks. */
  directory(sources: readonly string[], to: string): void {
    const [top] = sources;
    if (top === undefined) throw new GantryError('internal', `no layers for ${to}`);
    naming(top, to, () => mkdirSync(to, 0o700));
    for (const [name, entries] of merged(sources)) this.#entry(entries, join(to, name));
    naming(top, to, () => this.#attributes(top, to, lstatSync(top, { bigint: true })));
  }

  /** What several directories have under one name, top first. */
  #entry(entries: readonly Entry[], to: string): void {
    const [top] = entries;
    if (top === undefined || isWhiteout(top.stats)) return;
    if (top.stats.isDirectory()) this.directory(mergedDirectories(entries), to);
    else naming(top.path, to, () => this.#file(top, to));
  }

  #file({ path, stats }: Entry, to: string): void {
    if (this.#transfer === 'link') {
      linkSync(path, to);
    } else if (!copyLink(to, stats, this.#links)) {
      copyContent(path, to, stats);
      this.#attributes(path, to, stats);
    }
  }

  #attributes(from: string, to: string, stats: BigIntStats): void {
    copyAttributes(from, to, stats, this.#owner);
  }
}

/** Something in one of the trees. */
interface Entry {
  readonly path: string;
  readonly stats: BigIntStats;
}

/** The names in merged directories, each with what the directories have under it, top first. */
function merged(directories: readonly string[]): Map<string, Entry[]> {
  const names = new Map<string, Entry[]>();
  for (const directory of directories) {
    for (const name of readdirSync(directory)) {
      const path = join(directory, name);
      const entry = { path, stats: lstatSync(path, { bigint: true }) };
      const entries = names.get(name);
      if (entries === undefined) names.set(name, [entry]);
      else entries.push(entry);
    }
  }
  return names;
}

/** Of what lies under one name the directories that show, down to the first that hides the rest. */
function mergedDirectories(entries: readonly Entry[]): string[] {
  const directories: string[] = [];
  for (const { path, stats } of entries) {
    if (!stats.isDirectory()) break;
    directories.push(path);
    if (isOpaque(path)) break;
  }
  return directories;
}

/** Says of a failure what was being copied where. */
function naming(from: string, to: string, work: () => void): void {
  try {
    work();
  } catch (error) {
    if (error instanceof GantryError) throw error;
    throw new GantryError('store', `cannot copy ${from} to ${to}: ${errnoOf(error) ?? 'failed'}`, {
      cause: error,
    });
  }
}

/** A further name of a file that has been copied becomes a link to the copy. */
function copyLink(to: string, stats: BigIntStats, links: Links): boolean {
  if (stats.nlink < 2n) return false;
  const key = `${stats.dev}:${stats.ino}`;
  const first = links.get(key);
  if (first === undefined) {
    links.set(key, to);
    return false;
  }
  linkSync(first, to);
  return true;
}

function copyContent(from: string, to: string, stats: BigIntStats): void {
  if (stats.isFile()) {
    copyFileSync(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  } else if (stats.isSymbolicLink()) {
    symlinkSync(readlinkSync(from), to);
  } else {
    const { major, minor } = splitDevice(stats.rdev);
    // The binding takes both in one number.
    system.mknodAt(AT_FDCWD, to, Number(stats.mode), major * 2 ** 32 + minor);
  }
}

/** The owner comes first: changing it clears setuid bits and file capabilities (chown(2)). */
function copyAttributes(from: string, to: string, stats: BigIntStats, owner: Owner): void {
  const uid = owner(Number(stats.uid));
  const gid = owner(Number(stats.gid));
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
    if (isOverlayXattr(name)) continue;
    const value = system.getXattr(from, name);
    if (value !== undefined) system.setXattr(to, name, ownedXattr(name, value, owner));
  }
  if (!stats.isFile() && !stats.isDirectory()) {
    system.setTimesAt(AT_FDCWD, to, Number(seconds), Number(nanoseconds));
  }
}

/** The entries of access lists that name a user or group (linux/posix_acl_xattr.h): tag, permissions, id. */
const ACL_ENTRY = { headerBytes: 4, bytes: 8, idAt: 4, named: [0x02, 0x08] } as const;

/** An access list names users, as the file's owner does. */
function ownedXattr(name: string, value: Buffer, owner: Owner): Buffer {
  if (owner === sameOwner || !name.startsWith('system.posix_acl_')) return value;
  const owned = Buffer.from(value);
  const { headerBytes, bytes, idAt, named } = ACL_ENTRY;
  for (let at = headerBytes; at + bytes <= owned.length; at += bytes) {
    if (!named.some((tag) => tag === owned.readUInt16LE(at))) continue;
    owned.writeUInt32LE(owner(owned.readUInt32LE(at + idAt)), at + idAt);
  }
  return owned;
}
