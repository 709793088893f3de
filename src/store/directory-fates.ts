import { closeSync, constants } from 'node:fs';
import { errnoOf } from '../error.ts';
import { system } from '../system/binding.ts';
import { openDirectory } from './directory-handles.ts';

/** What a directory gets at the very end, when nothing is written into it any more. */
export interface DirectoryFate {
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** Directories the archive does not mention itself: always the same, so that trees are too. */
const unmentioned: DirectoryFate = { uid: 0, gid: 0, mode: 0o755, seconds: 0, nanoseconds: 0 };

/** What becomes of the directories of a tree that is being written, by path; '' is the root. */
export class DirectoryFates {
  readonly #root: number;
  readonly #fates = new Map<string, DirectoryFate>([['', unmentioned]]);
  /** A directory gave way, so that some of the fates may be of what is not there any more. */
  #hasStale = false;

  /** `root`: a descriptor of the tree's root, which stays the caller's. */
  constructor(root: number) {
    this.#root = root;
  }

  /** The archive says what the directory is to be. */
  mention(path: string, fate: DirectoryFate): void {
    this.#fates.set(path, fate);
  }

  /** The directory was made on the way to something in it. */
  leaveUnmentioned(path: string): void {
    this.#fates.set(path, unmentioned);
  }

  /**
   * A directory and all below it is gone. Looking through the fates each time, an archive that names a
   * directory and a file by turns would take hours. A directory that comes again gets a fate of its own.
   */
  expectStale(): void {
    this.#hasStale = true;
  }

  /** The directories the archive does not mention itself, the root included, in no order. */
  unmentioned(): string[] {
    this.#dropStale();
    return [...this.#fates].flatMap(([path, fate]) => (fate === unmentioned ? [path] : []));
  }

  /** Gives directories their owners, modes and times, the deepest first. */
  settle(): void {
    this.#dropStale();
    const deepestFirst = [...this.#fates].sort(([a], [b]) => b.length - a.length);
    for (const [path, { uid, gid, mode, seconds, nanoseconds }] of deepestFirst) {
      const fd = openDirectory(this.#root, path, constants.O_RDONLY);
      try {
        system.settle(fd, uid, gid, mode, seconds, nanoseconds);
      } finally {
        closeSync(fd);
      }
    }
  }

  #dropStale(): void {
    if (!this.#hasStale) return;
    this.#hasStale = false;
    for (const path of this.#fates.keys()) {
      try {
        closeSync(openDirectory(this.#root, path));
      } catch (error) {
        if (!['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) throw error;
        this.#fates.delete(path);
      }
    }
  }
}
