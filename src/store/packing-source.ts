import { type BigIntStats, lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { GantryError } from '../error.ts';
import { system } from '../system/binding.ts';
import { splitDevice } from '../system/device-number.ts';
import { checkSymlinkTarget, checkSymlinkText } from './entry-name.ts';
import { reasonOf } from './failure.ts';
import { isOverlayXattr, isWhiteout } from './overlay-marks.ts';
import type { TarMember } from './tar-encoding.ts';

/** One thing in the directory that becomes a root file system, as an archive has it. */
export interface SourceEntry extends TarMember {
  /** On disk. */
  readonly path: string;
}

/** In what the archives of images and those of layers differ for who writes them. */
export interface PackingDialect {
  /** What a member is called; `inside` is its path below the packed directory, '' that itself. */
  nameOf(inside: string): string;
  /** Why nothing may be called so in this kind of archive; undefined where it may. */
  faultOf(fileName: string): string | undefined;
  /** Throws for a symbolic link that unpacking would refuse. */
  checkSymlink(path: string, inside: string, target: string): void;
}

/** An App Container Image: everything lies below `rootfs` (appc spec/aci.md, Image Archives). */
export const imagePacking: PackingDialect = {
  nameOf: (inside) => (inside === '' ? 'rootfs' : `rootfs/${inside}`),
  faultOf: () => undefined,
  checkSymlink: checkSymlinkTarget,
};

/**
 * An OCI layer: names are relative to the root, and those that begin with `.wh.` would take something
 * away (image-spec layer.md, "Whiteouts").
 */
export const layerPacking: PackingDialect = {
  nameOf: (inside) => (inside === '' ? '.' : inside),
  faultOf: (fileName) =>
    fileName.startsWith('.wh.') ? 'is called like a whiteout of image layers' : undefined,
  checkSymlink: (path, _inside, target) => checkSymlinkText(path, target),
};

const billion = 1_000_000_000n;

/**
 * Everything below a directory and the directory itself, sorted, parents first. A file's second and
 * further names come as hard links to its first.
 * Throws `usage` for what an image cannot hold, or what unpacking would refuse.
 */
export function* walkSource(rootfs: string, dialect: PackingDialect): Iterable<SourceEntry> {
  yield* new SourceWalk(dialect).walk(rootfs, '');
}

class SourceWalk {
  readonly #dialect: PackingDialect;
  /** Of files with several names, the one each came under before. */
  readonly #firstNames = new Map<string, string>();

  constructor(dialect: PackingDialect) {
    this.#dialect = dialect;
  }

  *walk(path: string, inside: string): Iterable<SourceEntry> {
    const stat = statOf(path);
    if (inside === '' && !stat.isDirectory()) throw unpackable(path, 'is no directory');
    yield this.#entryOf(path, inside, stat);
    if (!stat.isDirectory()) return;
    for (const child of readdirSync(path).sort()) {
      const fault = this.#dialect.faultOf(child);
      if (fault !== undefined) throw unpackable(join(path, child), fault);
      yield* this.walk(join(path, child), inside === '' ? child : `${inside}/${child}`);
    }
  }

  #entryOf(path: string, inside: string, stat: BigIntStats): SourceEntry {
    const name = this.#dialect.nameOf(inside);
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
    const first = stat.isDirectory() ? undefined : this.#firstName(name, stat);
    if (first !== undefined) return { ...entry, typeflag: '1', linkName: first };
    entry.xattrs = xattrsOf(path);
    if (stat.isFile()) return { ...entry, typeflag: '0', size: Number(stat.size) };
    if (stat.isDirectory()) return { ...entry, typeflag: '5' };
    if (stat.isFIFO()) return { ...entry, typeflag: '6' };
    if (stat.isSymbolicLink()) {
      const linkName = readlinkSync(path);
      this.#dialect.checkSymlink(path, inside, linkName);
      return { ...entry, typeflag: '2', linkName };
    }
    return deviceOf(entry, stat);
  }

  /** The name a file with several names came under before, if it did. */
  #firstName(name: string, stat: BigIntStats): string | undefined {
    // Unpacking refuses hard links to symbolic links; a second symbolic link says the same.
    if (stat.nlink < 2n || stat.isSymbolicLink()) return undefined;
    const inode = `${stat.dev}:${stat.ino}`;
    const first = this.#firstNames.get(inode);
    if (first === undefined) this.#firstNames.set(inode, name);
    return first;
  }
}

function deviceOf(entry: Omit<SourceEntry, 'typeflag'>, stat: BigIntStats): SourceEntry {
  if (!stat.isCharacterDevice() && !stat.isBlockDevice()) {
    throw unpackable(entry.path, 'is a socket, which an image cannot hold');
  }
  if (isWhiteout(stat)) {
    throw unpackable(entry.path, 'is an overlayfs whiteout (character device 0/0)');
  }
  const { major: deviceMajor, minor: deviceMinor } = splitDevice(stat.rdev);
  const typeflag = stat.isCharacterDevice() ? '3' : '4';
  return { ...entry, typeflag, deviceMajor, deviceMinor };
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
    if (isOverlayXattr(name)) {
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
