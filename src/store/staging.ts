import { closeSync, mkdirSync, openSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, GantryError } from '../error.ts';
import { LOCK, system } from '../system/binding.ts';
import { newUuid } from '../system/uuid.ts';
import { makeDirectory } from './durable.ts';

/**
 * A directory for work in progress, held by a flock for as long as its process lives: what a crash
 * leaves behind is told from what is being worked on by the lock alone.
 */
export class Staging {
  readonly dir: string;
  readonly #lock: number;
  #gone = false;

  private constructor(dir: string, lock: number) {
    this.dir = dir;
    this.#lock = lock;
  }

  /** Makes a new directory below `parent`, named `prefix` and random digits. */
  static open(parent: string, prefix = ''): Staging {
    makeDirectory(parent);
    for (;;) {
      const dir = join(parent, prefix + newUuid());
      mkdirSync(dir, { mode: 0o700 });
      const lock = tryLock(dir);
      if (lock !== undefined) return new Staging(dir, lock);
      // The collector came between mkdir and flock and took it for a leftover.
    }
  }

  path(name: string): string {
    return join(this.dir, name);
  }

  /** Puts everything in it on disk: one syncfs costs less than ten thousand fsyncs. */
  sync(): void {
    system.syncFilesystem(this.#lock);
  }

  /** Removes it with all that is still in it. Harmless when repeated. */
  discard(): void {
    if (this.#gone) return;
    this.#gone = true;
    try {
      rmSync(this.dir, { recursive: true, force: true });
    } finally {
      closeSync(this.#lock);
    }
  }
}

/** Names of the directories below `parent` whose owner is gone; with `remove`, removes them. */
export function collectLeftovers(parent: string, remove: boolean): string[] {
  const collected: string[] = [];
  for (const name of namesIn(parent)) {
    const dir = join(parent, name);
    const lock = tryLock(dir);
    if (lock === undefined) continue;
    try {
      if (remove) rmSync(dir, { recursive: true, force: true });
      collected.push(name);
    } finally {
      closeSync(lock);
    }
  }
  return collected;
}

/** Names in a directory, sorted; none where there is no directory. */
export function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir).sort();
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    if (errnoOf(error) === 'EACCES') {
      throw new GantryError('permission', `cannot read ${dir}: permission denied: run it as root`, {
        cause: error,
      });
    }
    throw error;
  }
}

/** A descriptor holding the directory's lock, or undefined when another has it or it is gone. */
function tryLock(dir: string): number | undefined {
  let fd: number;
  try {
    fd = openSync(dir, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  if (system.flock(fd, LOCK.exclusive | LOCK.nonBlocking)) return fd;
  closeSync(fd);
  return undefined;
}
