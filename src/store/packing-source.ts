import { type BigIntStats, lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { GantryError } from '../error.ts';
import { system } from '../system/binding.ts';
import { checkSymlinkTarget } from './entry-name.ts';
import { reasonOf } from './failure.ts';
import type { TarMember } from './tar-encoding.ts';

/** One thing in the directory that becomes a root file system, as an archive has it. */
export interface SourceEntry extends TarMember {
  /** On disk. */
  readonly path: string;
}

const billion = 1_000_000_000n;

/**
 * Everything below a directory and the directory itself, sorted, parents first. A file's second and
 * further names come as hard links to its first.
 * Throws `usage` for what an image cannot hold, or what unpacking would refuse.
 */
export function* walkSource(rootfs: string): Iterable<SourceEntry> {
  const firstNames = new Map<string, string>();
  yield* walk(rootfs, 'rootfs', '', firstNames);
}

function* walk(
  path: string,
  name: string,
  inside: string,
  firstNames: Map<string, string>,
): Iterable<SourceEntry> {
  const stat = statOf(path);
  if (inside === '' && !stat.isDirectory()) throw unpackable(path, 'is no directory');
  yield entryOf(path, name, inside, stat, firstNames);
  if (!stat.isDirectory()) return;
  for (const child of readdirSync(path).sort()) {
    const below = inside === '' ? child : `${inside}/${child}`;
    yield* walk(join(path, child), `${name}/${child}`, below, firstNames);
  }
}

function entryOf(
  path: string,
  name: string,
  inside: string,
  stat: BigIntStats,
  firstNames: Map<string, string>,
): SourceEntry {
  const entry = {
    path,
    name: stat.isDirectory() ? `${name}/` : name,
    linkName: '',
    mode: Number(stat.mode & 0o7777n),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    size: 0,
    ...timeOf(stat),
    deviceMajor: 0,
    deviceMinor: 0,
    xattrs: new Map<string, Buffer>(),
  };
  const first = stat.isDirectory() ? undefined : firstName(name, stat, firstNames);
  if (first !== undefined) return { ...entry, typeflag: '1', linkName: first };
  entry.xattrs = xattrsOf(path);
  if (stat.isFile()) return { ...entry, typeflag: '0', size: Number(stat.size) };
  if (stat.isDirectory()) return { ...entry, typeflag: '5' };
  if (stat.isFIFO()) return { ...entry, typeflag: '6' };
  if (stat.isSymbolicLink()) {
    const linkName = readlinkSync(path);
    checkSymlinkTarget(path, inside, linkName);
    return { ...entry, typeflag: '2', linkName };
  }
  return deviceOf(entry, stat);
}

function deviceOf(entry: Omit<SourceEntry, 'typeflag'>, stat: BigIntStats): SourceEntry {
  if (!stat.isCharacterDevice() && !stat.isBlockDevice()) {
    throw unpackable(entry.path, 'is a socket, which an image cannot hold');
  }
  if (stat.isCharacterDevice() && stat.rdev === 0n) {
    throw unpackable(entry.path, 'is an overlayfs whiteout (character device 0/0)');
  }
  // The kernel's huge encoding of dev_t, makedev(3).
  const { rdev } = stat;
  const deviceMajor = Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn));
  const deviceMinor = Number((rdev & 0xffn) | ((rdev >> 12n) & ~0xffn & 0xffffffffn));
  const typeflag = stat.isCharacterDevice() ? '3' : '4';
  return { ...entry, typeflag, deviceMajor, deviceMinor };
}

/** The name a file with several names came under before, if it did. */
function firstName(
  name: string,
  stat: BigIntStats,
  firstNames: Map<string, string>,
): string | undefined {
  // Unpacking refuses hard links to symbolic links; a second symbolic link says the same.
  if (stat.nlink < 2n || stat.isSymbolicLink()) return undefined;
  const inode = `${stat.dev}:${stat.ino}`;
  const first = firstNames.get(inode);
  if (first === undefined) firstNames.set(inode, name);
  return first;
}

function timeOf(stat: BigIntStats): { seconds: number; nanoseconds: number } {
  const nanoseconds = ((stat.mtimeNs % billion) + billion) % billion;
  return {
    seconds: Number((stat.mtimeNs - nanoseconds) / billion),
    nanoseconds: Number(nanoseconds),
  };
}

function xattrsOf(path: string): Map<string, Buffer> {
  const xattrs = new Map<string, Buffer>();
  for (const name of system.listXattr(path).sort()) {
    // Labels are this host's policy, not the image's content.
    if (name === 'security.selinux') continue;
    if (/^(trusted|user)\.overlay(\.|$)/.test(name)) {
      throw unpackable(path, `has the attribute ${name}, which is overlayfs's own`);
    }
    const value = system.getXattr(path, name);
    if (value !== undefined) xattrs.set(name, value);
  }
  return xattrs;
}

function statOf(path: string): BigIntStats {
  try {
    return lstatSync(path, { bigint: true });
  } catch (cause) {
    throw new GantryError('usage', `cannot pack ${path}: ${reasonOf(cause)}`, { cause });
  }
}

function unpackable(path: string, why: string): GantryError {
  return new GantryError('usage', `cannot pack ${path}: it ${why}`);
}
