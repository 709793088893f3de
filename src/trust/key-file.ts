import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs';
import { errnoOf, GantryError } from '../error.ts';

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
  if (stats.uid !== 0 && stats.uid !== self) {
    throw new GantryError(
      'permission',
      `trusted key store: ${path} belongs to user ${stats.uid}, who could change it; make it yours: chown ${self} ${path}`,
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
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_CLOEXEC);
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
