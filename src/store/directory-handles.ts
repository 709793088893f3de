import { closeSync } from 'node:fs';
import { errnoOf } from '../error.ts';
import { O_DIRECTORY, O_PATH, RESOLVE, system } from '../system/binding.ts';

/** Descriptors kept open at once; an archive lists a directory's files together, so few suffice. */
const capacity = 64;

/**
 * Open handles (O_PATH) on directories beneath a root, by path relative to it. A path is only ever
 * resolved by openat2 beneath the root with no symbolic link on the way, so nothing an archive
 * planted can lead outside, whatever is cached.
 */
export class DirectoryHandles {
  readonly #root: number;
  readonly #open = new Map<string, number>();

  /** `root`: a descriptor of the root directory, which stays the caller's. */
  constructor(root: number) {
    this.#root = root;
  }

  /**
   * A handle on the directory, valid until the next call. Throws ENOENT, ENOTDIR, or ELOOP where a
   * component is a symbolic link.
   */
  get(path: string): number {
    if (path === '') return this.#root;
    const cached = this.#open.get(path);
    if (cached !== undefined) return cached;
    const fd = openDirectory(this.#root, path);
    if (this.#open.size >= capacity) this.close();
    this.#open.set(path, fd);
    return fd;
  }

  close(): void {
    for (const fd of this.#open.values()) closeSync(fd);
    this.#open.clear();
  }
}

/** Opens a directory beneath `root` without following any symbolic link. */
export function openDirectory(root: number, path: string, flags = O_PATH): number {
  return system.openat2(
    root,
    path === '' ? '.' : path,
    flags | O_DIRECTORY,
    0,
    RESOLVE.beneath | RESOLVE.noSymlinks,
  );
}

/** Why a directory on the way to an entry cannot be entered, for an error of `get`. */
export function obstacleOf(error: unknown): string | undefined {
  switch (errnoOf(error)) {
    case 'ELOOP':
      return 'its path leads through a symbolic link';
    case 'ENOTDIR':
      return 'its path leads through something that is no directory';
    case 'EXDEV':
      return 'its path leaves the root';
    default:
      return undefined;
  }
}
