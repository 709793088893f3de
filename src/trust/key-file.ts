import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  type Stats,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { errnoOf, GantryError } from '../error.ts';
import { isHiddenRoots, ordinaryUser } from '../system/ordinary-user.ts';
import { newUuid } from '../system/uuid.ts';

/** More than any public key needs, however many people have certified it. */
export const MAX_KEY_FILE_BYTES = 1 << 20;

/**
 * Refuses what someone else could have written. A trusted key is as good as the permissions it
 * lies behind, so files and directories are held to what sshd asks of `authorized_keys`: owned by
 * root or by whoever runs Gantry, writable by nobody else.
 *
 * @throws GantryError `permission`, naming the path and the command that settles it.
 */
export function requireSafeOwnership(path: string, stats: Stats): void {
  const self = process.geteuid?.() ?? 0;
  if (stats.uid !== 0 && stats.uid !== self && !isHiddenRoots(resolve(path), stats.uid)) {
    throw new GantryError(
      'permission',
      `trusted key store: ${path} belongs to user ${stats.uid}, who could change it; make it yours: chown ${ordinaryUser() ?? self} ${path}`,
    );
  }
  if ((stats.mode & 0o022) !== 0) {
    const mode = (stats.mode & 0o7777).toString(8).padStart(4, '0');
    throw new GantryError(
      'permission',
      `trusted key store: ${path} can be written by others (mode ${mode}); run: chmod go-w ${path}`,
    );
  }
}

/**
 * Reads a trusted key file. Checked on the open descriptor, so that what was checked is what is
 * read; opened without blocking, so that a fifo in the directory cannot hang a fetch.
 *
 * @throws GantryError `permission` or `bad-key`, naming the path.
 */
export function readKeyFile(path: string): Buffer {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw new GantryError('bad-key', `cannot open trusted key ${path}: ${errnoOf(error)}`, {
      cause: error,
    });
  }
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) {
      throw new GantryError('bad-key', `trusted key ${path} is not a regular file; remove it`);
    }
    requireSafeOwnership(path, stats);
    return readBounded(fd, path);
  } finally {
    closeSync(fd);
  }
}

/** Reads to the end, counting itself: a size told beforehand may have changed since. */
function readBounded(fd: number, path: string): Buffer {
  const chunks: Buffer[] = [];
  let total = 0;
  for (;;) {
    const chunk = Buffer.allocUnsafe(16 << 10);
    const count = readSync(fd, chunk);
    if (count === 0) return Buffer.concat(chunks, total);
    total += count;
    if (total > MAX_KEY_FILE_BYTES) {
      throw new GantryError(
        'bad-key',
        `trusted key ${path} is larger than ${MAX_KEY_FILE_BYTES} bytes; remove it, or export it again without other people's certifications (gpg --export-options export-minimal)`,
      );
    }
    chunks.push(chunk.subarray(0, count));
  }
}

/**
 * Puts a key file in its place: written beside it, synced, renamed, so that a crash leaves the old
 * file or the new one. Directories on the way are made, from `base` down.
 *
 * @throws GantryError `permission` (or `store` for a full or failing disk), naming the path.
 */
export function installKeyFile(base: string, path: string, content: string): void {
  const directory = dirname(path);
  const temporary = join(directory, `.${basename(path)}.${newUuid()}`);
  try {
    makeDirectories(base, directory);
    writeSynced(temporary, content);
    moveInto(path, temporary);
    syncDirectory(directory);
  } catch (error) {
    throw writeFailure(`cannot write trusted key ${path}`, error);
  }
}

/**
 * Removes a key file for good: synced, since a key that comes back after a crash is one trusted again.
 *
 * @throws GantryError `permission` (or `store` for a failing disk), naming the path.
 */
export function removeKeyFile(path: string): void {
  try {
    rmSync(path);
    syncDirectory(dirname(path));
  } catch (error) {
    throw writeFailure(`cannot remove trusted key ${path}`, error);
  }
}

function writeFailure(what: string, error: unknown): GantryError {
  const errno = errnoOf(error) ?? String(error);
  const denied = errno === 'EACCES' || errno === 'EPERM' || errno === 'EROFS';
  return new GantryError(denied ? 'permission' : 'store', `${what}: ${errno}`, { cause: error });
}

/** Modes are set, not left to the umask: 0755 where others read, and never group-writable. */
function makeDirectories(base: string, directory: string): void {
  if (directory !== base && directory !== dirname(directory)) {
    makeDirectories(base, dirname(directory));
  }
  if (existsSync(directory)) return;
  mkdirSync(directory, { recursive: true });
  chmodSync(directory, 0o755);
}

function writeSynced(path: string, content: string): void {
  const fd = openSync(path, 'wx', 0o644);
  try {
    writeFileSync(fd, content);
    fchmodSync(fd, 0o644);
    fsyncSync(fd);
  } catch (error) {
    rmSync(path);
    throw error;
  } finally {
    closeSync(fd);
  }
}

function moveInto(path: string, temporary: string): void {
  try {
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary);
    throw error;
  }
}

function syncDirectory(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
