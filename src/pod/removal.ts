import { closeSync, constants, readdirSync } from 'node:fs';
import { errnoOf, GantryError } from '../error.ts';
import { AT_REMOVEDIR, RENAME, RESOLVE, system } from '../system/binding.ts';
import { newUuid } from '../system/uuid.ts';

/** openat2(2): not into another mount. */
const NO_CROSSING = 0x01;
const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/** How far down is gone at once: each step takes a descriptor, and an app may have made as many as it liked. */
const DEEPEST = 64;

/** What is too far down goes to the top, and from there, later. */
interface Top {
  readonly fd: number;
  moved: boolean;
}

/**
 * Empties an open directory. Every name is looked up in the directory it was read from, so no
 * symbolic link is followed wherever one appears, and what is mounted below stays: it is refused.
 * @param shown the directory's path, for messages
 * @throws GantryError `busy` for a mount, `store` for what cannot be removed
 */
export function emptyDirectory(fd: number, shown: string): void {
  const top: Top = { fd, moved: true };
  while (top.moved) {
    top.moved = false;
    emptyBelow(fd, shown, 0, top);
  }
}

function emptyBelow(fd: number, shown: string, depth: number, top: Top): void {
  for (const entry of readdirSync(`/proc/self/fd/${fd}`, { withFileTypes: true })) {
    const path = `${shown}/${entry.name}`;
    try {
      if (!entry.isDirectory()) {
        system.unlinkAt(fd, entry.name, 0);
        continue;
      }
      if (depth === DEEPEST) {
        system.renameAt(fd, entry.name, top.fd, newUuid(), RENAME.noReplace);
        top.moved = true;
        continue;
      }
      const resolve = NO_CROSSING | RESOLVE.beneath | RESOLVE.noSymlinks;
      const child = system.openat2(fd, entry.name, DIRECTORY, 0, resolve);
      try {
        emptyBelow(child, path, depth + 1, top);
      } finally {
        closeSync(child);
      }
      system.unlinkAt(fd, entry.name, AT_REMOVEDIR);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw cannotRemove(path, error);
    }
  }
}

function cannotRemove(path: string, error: unknown): GantryError {
  if (error instanceof GantryError) return error;
  const errno = errnoOf(error);
  if (errno === 'EXDEV' || errno === 'EBUSY') {
    const message = `cannot remove ${path}: something is mounted there: unmount it and try again`;
    return new GantryError('busy', message, { cause: error });
  }
  return new GantryError('store', `cannot remove ${path}: ${errno ?? 'failed'}`, { cause: error });
}
