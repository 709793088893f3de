import {
  type BigIntStats,
  closeSync,
  constants,
  copyFileSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../error.ts';
import { system } from '../system/binding.ts';
import type { PathWhitelist } from './render-order.ts';
import { namesIn } from './staging.ts';

/** A tree to lay over what is there already. */
export interface Layer {
  /** Its root directory. */
  readonly tree: string;
  readonly whitelists: readonly PathWhitelist[];
}

/**
 * Lays trees over each other, the first lowest, into the new directory `target`. What is no
 * directory is hard-linked, so that nothing is copied; a later path replaces an earlier one, and a
 * symbolic link is replaced, never followed (appc spec/ace.md, Filesystem Setup).
 */
export function mergeTrees(layers: readonly Layer[], target: string): void {
  mkdirSync(target, { mode: 0o700 });
  const directories = new Map<string, string>();
  for (const layer of layers) new Overlay(layer, target, directories).lay();
  const deepestFirst = [...directories].sort(([a], [b]) => b.length - a.length);
  for (const [path, source] of deepestFirst) copyMetadata(source, join(target, path));
}

/** One layer being laid over the target. */
class Overlay {
  readonly #layer: Layer;
  readonly #target: string;
  /** Where each directory of the target takes its metadata from: the last layer that has it. */
  readonly #directories: Map<string, string>;

  constructor(layer: Layer, target: string, directories: Map<string, string>) {
    this.#layer = layer;
    this.#target = target;
    this.#directories = directories;
  }

  lay(): void {
    this.#directories.set('', this.#layer.tree);
    this.#children('');
  }

  #children(directory: string): void {
    for (const name of namesIn(join(this.#layer.tree, directory))) {
      const path = directory === '' ? name : `${directory}/${name}`;
      const isDirectory = lstatSync(join(this.#layer.tree, path)).isDirectory();
      const listed = this.#layer.whitelists.every((whitelist) => whitelist.admits(path));
      if (!isDirectory) {
        if (listed) this.#link(path);
      } else if (listed || this.#leadsOn(path)) {
        // A directory that is not listed itself appears with the first thing in it.
        if (listed) this.#directory(path);
        this.#children(path);
      }
    }
  }

  #leadsOn(path: string): boolean {
    return this.#layer.whitelists.every((list) => list.admits(path) || list.leadsOn(path));
  }

  #link(path: string): void {
    this.#parents(path);
    const [from, to] = [join(this.#layer.tree, path), join(this.#target, path)];
    if (this.#directories.has(path)) this.#forget(path);
    rmSync(to, { recursive: true, force: true });
    try {
      linkSync(from, to);
    } catch (error) {
      // A file may have only so many names (65,000 on ext4), and none on another file system.
      const errno = errnoOf(error);
      const copyable = errno === 'EMLINK' || errno === 'EXDEV';
      if (!copyable || !lstatSync(from).isFile()) throw error;
      copyFileSync(from, to, constants.COPYFILE_FICLONE);
      copyMetadata(from, to);
    }
  }

  #directory(path: string): void {
    this.#parents(path);
    const at = join(this.#target, path);
    if (!this.#directories.has(path)) {
      rmSync(at, { force: true });
      mkdirSync(at, { mode: 0o700 });
    }
    this.#directories.set(path, join(this.#layer.tree, path));
  }

  /** Makes sure that everything above is a directory, as this layer has it. */
  #parents(path: string): void {
    const slash = path.lastIndexOf('/');
    if (slash === -1) return;
    const parent = path.slice(0, slash);
    if (this.#directories.get(parent) !== join(this.#layer.tree, parent)) this.#directory(parent);
  }

  /** A directory and all below gives way to something else. */
  #forget(path: string): void {
    for (const known of this.#directories.keys()) {
      if (known === path || known.startsWith(`${path}/`)) this.#directories.delete(known);
    }
  }
}

/** Extended attributes, owner, mode and time, onto a file or directory. */
function copyMetadata(from: string, to: string): void {
  const stat: BigIntStats = lstatSync(from, { bigint: true });
  const fd = openSync(to, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    system.settle(
      fd,
      Number(stat.uid),
      Number(stat.gid),
      Number(stat.mode & 0o7777n),
      Number(stat.mtimeNs / 1_000_000_000n) - (stat.mtimeNs % 1_000_000_000n < 0n ? 1 : 0),
      Number(((stat.mtimeNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n),
    );
  } finally {
    closeSync(fd);
  }
  // After the owner, for changing that drops file capabilities.
  for (const name of system.listXattr(from)) {
    const value = system.getXattr(from, name);
    if (value !== undefined) system.setXattr(to, name, value);
  }
}
