import { closeSync, constants, lstatSync, openSync, rmSync, type Stats, writeSync } from 'node:fs';
import { errnoOf, GantryError } from '../error.ts';
import { O_DIRECTORY, system } from '../system/binding.ts';
import { DirectoryFates } from './directory-fates.ts';
import { DirectoryHandles, obstacleOf, openDirectory } from './directory-handles.ts';
import {
  type ArchiveDialect,
  checkSymlinkTarget,
  checkSymlinkText,
  refusedEntry,
} from './entry-name.ts';
import { OrdinaryOwner } from './ordinary-owner.ts';
import { isOverlayXattr, makeOpaque } from './overlay-marks.ts';
import type { TarEntry } from './tar-reader.ts';

const { S_IFCHR, S_IFBLK, S_IFIFO } = constants;
const DEVICE_UNIT = 2 ** 32; // system.mknodAt takes major * 2^32 + minor

/**
 * Writes the members of an archive into a new, private directory, synchronously. Each name is
 * resolved beneath that directory with no symbolic link on the way; nothing that exists is ever
 * written through.
 */
export class TreeWriter {
  /** Paths of device nodes written, in order. */
  readonly deviceNodes: string[] = [];
  readonly #dialect: ArchiveDialect;
  readonly #made: (count: number) => void;
  readonly #root: number;
  readonly #handles: DirectoryHandles;
  readonly #fates: DirectoryFates;
  readonly #owner = new OrdinaryOwner();
  /** The file whose content comes in several pieces, and how many bytes are still to come. */
  #open: { fd: number; entry: TarEntry; path: string } | undefined;
  #waiting: { entry: TarEntry; path: string } | undefined;

  /**
   * `directory`: exists, empty, and nobody else can write to it. `made` is told of directories that
   * the archive does not mention itself: one name of 4 kB may ask for two thousand.
   */
  constructor(directory: string, dialect: ArchiveDialect, made: (count: number) => void) {
    this.#dialect = dialect;
    this.#made = made;
    this.#root = openSync(directory, constants.O_RDONLY | O_DIRECTORY);
    this.#handles = new DirectoryHandles(this.#root);
    this.#fates = new DirectoryFates(this.#root);
  }

  /**
   * Writes a member at `path` (relative, checked). A file's content follows through `content`.
   * Throws `invalid-archive` naming the entry and why it is refused; errno errors of the disk as
   * they are.
   */
  entry(entry: TarEntry, path: string): void {
    checkXattrs(entry);
    this.#owner.check(entry);
    if (path === '' && entry.type !== 'directory') {
      throw refusedEntry(entry.name, `the root file system is a ${entry.type}`);
    }
    if (entry.type === 'file' && entry.size > 0) {
      this.#waiting = { entry, path };
      return;
    }
    this.#guarded(entry, () => this.#write(entry, path));
  }

  /** Takes the next piece of the file announced last. */
  content(piece: Uint8Array): void {
    const waiting = this.#waiting;
    if (waiting !== undefined) {
      this.#waiting = undefined;
      this.#guarded(waiting.entry, () => this.#startFile(waiting.entry, waiting.path, piece));
    } else if (this.#open !== undefined) {
      writeFully(this.#open.fd, piece);
    }
  }

  /** Says that the member announced last is complete. */
  entryEnd(): void {
    const file = this.#open;
    if (file === undefined) return;
    this.#open = undefined;
    const { uid, gid, mode, modified } = file.entry;
    try {
      system.settle(file.fd, uid, gid, mode, modified.seconds, modified.nanoseconds);
    } finally {
      closeSync(file.fd);
    }
    this.#guarded(file.entry, () => this.#setXattrs(file.entry, file.path));
  }

  /**
   * Makes a directory opaque: what lower layers have in it does not show (overlayfs.rst, "whiteouts
   * and opaque directories"). One that is not there is made.
   */
  hideBelow(path: string, entryName: string): void {
    this.#guardedName(entryName, () => {
      if (!this.#isReplaced(path)) makeOpaque(handlePath(this.#directoryAt(path), '.'));
    });
  }

  /**
   * Hides what lower layers have at `path`. Where this tree has a directory there, only what is in it
   * shows, and the answer is true; where something else is there, that shows anyway.
   */
  hide(path: string, entryName: string): boolean {
    return this.#guardedName(entryName, () => {
      if (this.#isReplaced(split(path)[0])) return false;
      const [parent, name] = this.#parentOf(path);
      const found = lstatSync(handlePath(parent, name), { throwIfNoEntry: false });
      if (found === undefined) this.#whiteout(parent, name);
      if (found?.isDirectory() !== true) return false;
      makeOpaque(handlePath(parent, name));
      return true;
    });
  }

  /** The directories the archive does not mention itself, the root included, in no order. */
  unmentioned(): string[] {
    return this.#fates.unmentioned();
  }

  /** Gives directories their owners, modes and times, the deepest first. */
  finish(): void {
    this.#handles.close();
    this.#fates.settle();
  }

  /** Closes every descriptor, whether or not `finish` was reached. */
  close(): void {
    if (this.#open !== undefined) closeSync(this.#open.fd);
    this.#open = undefined;
    this.#handles.close();
    closeSync(this.#root);
  }

  #write(entry: TarEntry, path: string): void {
    if (entry.type === 'directory') this.#directory(entry, path);
    else this.#replacing(entry, path, (parent, name) => this.#create(entry, path, parent, name));
    if (entry.type !== 'hard-link' && !this.#owner.cannotMake(entry)) this.#setXattrs(entry, path);
  }

  #create(entry: TarEntry, path: string, parent: number, name: string): void {
    switch (entry.type) {
      case 'file':
        writeWhole(entry, parent, name, new Uint8Array(0));
        break;
      case 'hard-link':
        this.#hardLink(entry, parent, name);
        break;
      case 'symlink':
        if (this.#dialect.lenient) checkSymlinkText(entry.name, entry.linkName);
        else checkSymlinkTarget(entry.name, path, entry.linkName);
        system.symlinkAt(entry.linkName, parent, name);
        settleNode(entry, parent, name);
        break;
      default:
        this.#node(entry, path, parent, name);
    }
  }

  #startFile(entry: TarEntry, path: string, piece: Uint8Array): void {
    this.#replacing(entry, path, (parent, name) => {
      if (piece.length === entry.size) {
        writeWhole(entry, parent, name, piece);
        this.#setXattrs(entry, path);
        return;
      }
      const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
      const fd = system.openat2(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600, 0);
      this.#open = { fd, entry, path };
      writeFully(fd, piece);
    });
  }

  #directory(entry: TarEntry, path: string): void {
    const { uid, gid, mode } = entry;
    this.#fates.mention(path, { uid, gid, mode, ...entry.modified });
    if (path === '') return;
    const [parent, name] = this.#parentOf(path);
    try {
      system.mkdirAt(parent, name, 0o700);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
      if (this.#stat(parent, name).isDirectory()) return;
      // Named twice, first as something else: as tar does, the later one counts.
      system.unlinkAt(parent, name, 0);
      system.mkdirAt(parent, name, 0o700);
    }
  }

  /** A member named twice: the later one counts, never written through the earlier one. */
  #replacing(entry: TarEntry, path: string, create: (parent: number, name: string) => void): void {
    const [parent, name] = this.#parentOf(path);
    try {
      create(parent, name);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
      if (this.#stat(parent, name).isDirectory()) {
        if (!this.#dialect.lenient) {
          throw refusedEntry(entry.name, 'a directory of this name came before');
        }
        this.#removeDirectory(path);
        create(...this.#parentOf(path));
        return;
      }
      system.unlinkAt(parent, name, 0);
      create(parent, name);
    }
  }

  /** A directory and all that came in it gives way. */
  #removeDirectory(path: string): void {
    // Handles on directories that are gone would still take entries.
    this.#handles.close();
    const [parent, name] = this.#parentOf(path);
    rmSync(handlePath(parent, name), { recursive: true });
    this.#fates.expectStale();
  }

  #hardLink(entry: TarEntry, parent: number, name: string): void {
    const path = this.#dialect.targetOf(entry.linkName);
    const target = JSON.stringify(entry.linkName);
    if (path === undefined) throw refusedEntry(entry.name, `a hard link to ${target}`);
    const [directory, base] = split(path);
    let from: number;
    try {
      from = openDirectory(this.#root, directory);
    } catch (error) {
      throw refusedEntry(entry.name, `the hard link's target ${target} cannot be reached`, error);
    }
    try {
      const stat = this.#stat(from, base);
      if (stat.isSymbolicLink() && !this.#dialect.lenient) {
        throw refusedEntry(entry.name, `a hard link to the symbolic link ${target}`);
      }
      if (stat.isDirectory())
        throw refusedEntry(entry.name, `a hard link to the directory ${target}`);
      system.linkAt(from, base, parent, name, 0);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
      throw refusedEntry(entry.name, `a hard link to ${target}, which is not there`, error);
    } finally {
      closeSync(from);
    }
  }

  #node(entry: TarEntry, path: string, parent: number, name: string): void {
    const { deviceMajor, deviceMinor, mode } = entry;
    if (entry.type === 'fifo') {
      system.mknodAt(parent, name, S_IFIFO | 0o600, 0);
    } else {
      const character = entry.type === 'character-device';
      // Overlayfs takes character device 0/0 for "deleted here" and would hide what lies beneath.
      if (character && deviceMajor === 0 && deviceMinor === 0) {
        throw refusedEntry(entry.name, 'character device 0/0 is an overlayfs whiteout');
      }
      // Nothing is there then, of lower layers neither: apps could not open it anyway.
      if (this.#owner.cannotMake(entry)) {
        this.#whiteout(parent, name);
        return;
      }
      const device = deviceMajor * DEVICE_UNIT + deviceMinor;
      system.mknodAt(parent, name, (character ? S_IFCHR : S_IFBLK) | 0o600, device);
      this.deviceNodes.push(path);
    }
    // The node was made by this process an instant ago: it is no symbolic link.
    system.chownAt(parent, name, entry.uid, entry.gid);
    system.chmodAt(parent, name, mode);
    system.setTimesAt(parent, name, entry.modified.seconds, entry.modified.nanoseconds);
  }

  /**
   * Whether this tree has something else where lower layers may have this directory: then nothing of it
   * shows, and there is nothing to hide. umoci writes whiteouts below the link that a directory became.
   */
  #isReplaced(directory: string): boolean {
    try {
      this.#handles.get(directory);
      return false;
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === 'ENOENT') return false;
      if (errno === 'ELOOP' || errno === 'ENOTDIR') return true;
      throw error;
    }
  }

  /** The directory a path lies in, made when the archive did not mention it, and its last name. */
  #parentOf(path: string): [handle: number, name: string] {
    const [directory, name] = split(path);
    try {
      return [this.#handles.get(directory), name];
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
    const [parent, last] = this.#parentOf(directory);
    system.mkdirAt(parent, last, 0o700);
    this.#fates.leaveUnmentioned(directory);
    this.#made(1);
    return [this.#handles.get(directory), name];
  }

  /** A handle on the directory itself, made when the archive did not mention it. */
  #directoryAt(path: string): number {
    const [handle] = this.#parentOf(path === '' ? '.' : `${path}/.`);
    return handle;
  }

  #whiteout(parent: number, name: string): void {
    system.mknodAt(parent, name, S_IFCHR, 0);
    system.setTimesAt(parent, name, 0, 0);
    this.#made(1);
  }

  #stat(parent: number, name: string): Stats {
    return lstatSync(handlePath(parent, name));
  }

  /** After the owner, for changing that drops file capabilities. */
  #setXattrs(entry: TarEntry, path: string): void {
    if (entry.xattrs.size === 0) return;
    const at = path === '' ? `/proc/self/fd/${this.#root}/.` : handlePath(...this.#parentOf(path));
    for (const [name, value] of entry.xattrs) {
      try {
        system.setXattr(at, name, value);
      } catch (error) {
        if (errnoOf(error) !== 'EOPNOTSUPP' && errnoOf(error) !== 'EPERM') throw error;
        throw refusedEntry(entry.name, `its attribute ${name} cannot be stored here`, error);
      }
    }
  }

  #guarded(entry: TarEntry, write: () => void): void {
    this.#guardedName(entry.name, write);
  }

  #guardedName<T>(entryName: string, write: () => T): T {
    try {
      return write();
    } catch (error) {
      if (error instanceof GantryError) throw error;
      const obstacle = obstacleOf(error);
      if (obstacle !== undefined) throw refusedEntry(entryName, obstacle, error);
      if (errnoOf(error) === 'ENAMETOOLONG') {
        throw refusedEntry(entryName, 'its name is too long', error);
      }
      throw error;
    }
  }
}

function checkXattrs(entry: TarEntry): void {
  for (const name of entry.xattrs.keys()) {
    if (isOverlayXattr(name)) {
      throw refusedEntry(entry.name, `its attribute ${name} would change what overlayfs shows`);
    }
    if (name === '' || name.includes('\0')) {
      throw refusedEntry(entry.name, 'it has an attribute without a usable name');
    }
  }
}

function writeWhole(entry: TarEntry, parent: number, name: string, data: Uint8Array): void {
  const { uid, gid, mode, modified } = entry;
  const { seconds, nanoseconds } = modified;
  system.writeFileAt(parent, name, data, uid, gid, mode, seconds, nanoseconds);
}

/** Owner and times of a symbolic link itself; it has no mode. */
function settleNode(entry: TarEntry, parent: number, name: string): void {
  system.chownAt(parent, name, entry.uid, entry.gid);
  system.setTimesAt(parent, name, entry.modified.seconds, entry.modified.nanoseconds);
}

function writeFully(fd: number, piece: Uint8Array): void {
  for (let at = 0; at < piece.length; ) at += writeSync(fd, piece, at, piece.length - at);
}

/** A path for the calls that take no directory descriptor; its last name is not followed. */
function handlePath(parent: number, name: string): string {
  return `/proc/self/fd/${parent}/${name}`;
}

function split(path: string): [directory: string, name: string] {
  const slash = path.lastIndexOf('/');
  return slash === -1 ? ['', path] : [path.slice(0, slash), path.slice(slash + 1)];
}
