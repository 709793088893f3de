import {
  closeSync,
  fchmodSync,
  fsyncSync,
  linkSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { errnoOf, GantryError, reasonOf } from '../error.ts';
import { newUuid } from '../system/uuid.ts';

/** How a file is put in its place. */
export interface NewFileOptions {
  readonly mode: number;
  /** Take the place of a file that is there. */
  readonly overwrite?: boolean;
}

/**
 * Puts a whole file in its place, or nothing: written beside it, synced, then linked there, which fails
 * where something is there already (link(2)), so that of two writers one gets the name.
 *
 * @returns whether the file is there now; false where another one is, and is not to be overwritten.
 * @throws GantryError `permission`, or `store` for a full or failing disk, naming the path.
 */
export function putNewFile(
  path: string,
  content: string | Uint8Array,
  { mode, overwrite = false }: NewFileOptions,
): boolean {
  const beside = join(dirname(path), `.${basename(path).slice(0, 200)}.${newUuid()}`);
  try {
    writeSynced(beside, content, mode);
    if (overwrite) renameSync(beside, path);
    else linkSync(beside, path);
    syncDirectory(dirname(path));
    return true;
  } catch (error) {
    if (!overwrite && errnoOf(error) === 'EEXIST') return false;
    throw unwritable(path, error);
  } finally {
    rmSync(beside, { force: true });
  }
}

/** The failure to write a file. */
export function unwritable(path: string, cause: unknown): GantryError {
  const errno = errnoOf(cause) ?? '';
  const denied = ['EACCES', 'EPERM', 'EROFS'].includes(errno);
  const code = denied ? 'permission' : 'store';
  return new GantryError(code, `cannot write ${path}: ${reasonOf(cause)}`, { cause });
}

/** The mode is set, not left to the umask: a secret key is 0600 from its first byte on. */
function writeSynced(path: string, content: string | Uint8Array, mode: number): void {
  const fd = openSync(path, 'wx', mode);
  try {
    fchmodSync(fd, mode);
    writeFileSync(fd, content);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
