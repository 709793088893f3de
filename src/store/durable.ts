import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { errnoOf } from '../error.ts';
import { dataMode } from '../system/ordinary-user.ts';

/** Makes a directory of the store, and those above it, for root and root's group only, or an ordinary user only. */
export function makeDirectory(path: string): void {
  mkdirSync(path, { recursive: true, mode: dataMode() });
}

/** Puts on disk which names a directory holds. */
export function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * Writes a whole file beside its place, syncs it and renames it there: whoever reads `path`, at any
 * time and after any crash, sees the old file or the new one. A crash may leave a `.new-` file,
 * which `imageGc` removes.
 */
export function writeFileAtomically(
  path: string,
  content: string | Uint8Array,
  mode: number,
): void {
  const beside = join(dirname(path), `.new-${process.pid}-${basename(path)}`);
  try {
    writeSynced(beside, content, mode);
    renameSync(beside, path);
  } catch (error) {
    rmSync(beside, { force: true });
    throw error;
  }
  syncDirectory(dirname(path));
}

/** Writes a whole file and syncs it. */
export function writeSynced(path: string, content: string | Uint8Array, mode: number): void {
  const data = Buffer.from(content);
  const fd = openSync(path, 'w', mode);
  try {
    for (let at = 0; at < data.length; ) at += writeSync(fd, data, at);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Renames into place; false when something is there already, which is left alone. */
export function renameUnlessPresent(from: string, to: string): boolean {
  try {
    // For directories rename(2) refuses only a destination that holds something, so a tree that is
    // there but empty is replaced by one that is the same.
    renameSync(from, to);
    return true;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'EEXIST' || errno === 'ENOTEMPTY') return false;
    throw error;
  }
}
