import type { Stats } from 'node:fs';
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
} from 'node:fs';
import { join, posix } from 'node:path';
import { errnoOf, GantryError } from '../error.ts';
import { RESOLVE, system } from '../system/binding.ts';
import { OPAQUE_ATTRIBUTE } from '../system/overlay-attribute.ts';

/** As the kernel has it (path_resolution(7)). */
const MAX_SYMLINKS = 40;
/** passwd, group: more than this is no such file. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;

/** A file of the tree. */
interface Found {
  /** The layer it comes from, and its path there, which no symbolic link is part of. */
  readonly layer: string;
  readonly path: string;
  readonly stats: Stats;
  /** Of a directory: the layers whose directory of that path takes part, top first. */
  readonly layers: readonly string[];
}

/**
 * Read access to an image's root file system before it is mounted: directories laid over each other
 * as overlayfs would (Documentation/filesystems/overlayfs.rst), top first. Symbolic links are the
 * image's, so they are followed here, inside the tree, and never by the host's kernel.
 */
export class LayerTree {
  readonly #layers: readonly string[];
  #top?: Found;

  constructor(layers: readonly string[]) {
    this.#layers = layers;
  }

  /** What is at `path` in the tree, symbolic links followed to the end; undefined where nothing is. */
  stat(path: string): Stats | undefined {
    return this.#resolve(path, true)?.stats;
  }

  /** The same of the last component itself, be it a symbolic link. */
  lstat(path: string): Stats | undefined {
    return this.#resolve(path, false)?.stats;
  }

  /** The bytes of the regular file at `path`; undefined where there is none. */
  readFile(path: string): Buffer | undefined {
    const found = this.#resolve(path, true);
    if (found === undefined || !found.stats.isFile()) return undefined;
    const fd = openInLayer(found);
    try {
      if (fstatSync(fd).size > MAX_FILE_BYTES) {
        throw new GantryError('invalid-archive', `${path} in the image is too large to be read`);
      }
      return readFileSync(fd);
    } finally {
      closeSync(fd);
    }
  }

  /**
   * Where `path` leads, symbolic links followed as far as the tree has what they lead to; what is not there
   * is named all the same.
   */
  realPath(path: string): string {
    let missing = path;
    const found = this.#resolve(path, true, (at) => {
      missing = at;
    });
    return found === undefined ? missing : found.path || '/';
  }

  /**
   * Has `use` read of the regular file at `path`, so many bytes at an offset, fewer where it ends.
   * @throws GantryError `store` where there is none, or it cannot be read
   */
  withFile<T>(path: string, use: (readAt: (offset: number, length: number) => Buffer) => T): T {
    const found = this.#resolve(path, true);
    if (found === undefined || !found.stats.isFile()) {
      throw new GantryError('store', `cannot read ${path} of the image: it is no file`);
    }
    const fd = openInLayer(found);
    try {
      return use((offset, length) => {
        const bytes = Buffer.alloc(length);
        return bytes.subarray(0, readSync(fd, bytes, 0, length, offset));
      });
    } finally {
      closeSync(fd);
    }
  }

  /** The names in the directory at `path`, in no order; none where there is no directory. */
  entries(path: string): string[] {
    const names = new Set<string>();
    const hidden = new Set<string>();
    for (const directory of this.directories(path)) {
      for (const entry of readdirSync(directory)) {
        if (names.has(entry) || hidden.has(entry)) continue;
        (isWhiteout(lstatSync(join(directory, entry))) ? hidden : names).add(entry);
      }
    }
    return [...names];
  }

  /**
   * The directories of the layers that the one at `path` is made of, absolute, top first; none where
   * there is no directory. Below the layer no part of such a path is a symbolic link.
   */
  directories(path: string): string[] {
    const found = this.#resolve(path, true);
    if (found === undefined || !found.stats.isDirectory()) return [];
    return found.layers.map((layer) => join(layer, found.path));
  }

  #resolve(
    path: string,
    followLast: boolean,
    onMissing?: (path: string) => void,
  ): Found | undefined {
    const pending = components(path).reverse();
    const above = [this.#root()];
    let links = 0;
    for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
      if (name === '..') {
        if (above.length > 1) above.pop();
        continue;
      }
      const found = lookup(above.at(-1), name);
      if (found === undefined) {
        onMissing?.(posix.join('/', above.at(-1)?.path ?? '', name, ...pending.reverse()));
        return undefined;
      }
      if (!found.stats.isSymbolicLink() || (pending.length === 0 && !followLast)) {
        above.push(found);
        continue;
      }
      if (++links > MAX_SYMLINKS) return undefined;
      const target = readlinkSync(join(found.layer, found.path));
      if (target.startsWith('/')) above.length = 1;
      pending.push(...components(target).reverse());
    }
    return above.at(-1);
  }

  #root(): Found {
    const layer = this.#layers[0] ?? '/nonexistent';
    this.#top ??= { layer, path: '', stats: lstatSync(layer), layers: this.#layers };
    return this.#top;
  }
}

function components(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

/** One component looked up in a merged directory; nothing is found in what is no directory. */
function lookup(parent: Found | undefined, name: string): Found | undefined {
  const candidates = parent?.layers ?? [];
  const path = `${parent?.path ?? ''}/${name}`;
  const layers: string[] = [];
  let top: { layer: string; stats: Stats } | undefined;
  for (const layer of candidates) {
    // Put together as they are: an app has dozens of paths looked up, and join takes longer than the kernel.
    const stats = lstatSync(layer + path, { throwIfNoEntry: false });
    if (stats === undefined) continue;
    if (isWhiteout(stats)) break;
    top ??= { layer, stats };
    if (!stats.isDirectory()) break;
    layers.push(layer);
    if (candidates.length > 1 && isOpaque(layer + path)) break;
  }
  return top === undefined ? undefined : { ...top, path, layers };
}

function isWhiteout(stats: Stats): boolean {
  return stats.isCharacterDevice() && stats.rdev === 0;
}

function isOpaque(path: string): boolean {
  return system.getXattr(path, OPAQUE_ATTRIBUTE)?.toString() === 'y';
}

/** Opens a file found before: should a link have come into its path since, it is not followed. */
function openInLayer(found: Found): number {
  const root = system.openat2(-100, found.layer, constants.O_RDONLY | constants.O_DIRECTORY, 0, 0);
  try {
    const flags = constants.O_RDONLY | constants.O_NONBLOCK;
    const resolve = RESOLVE.beneath | RESOLVE.noSymlinks;
    return system.openat2(root, found.path.replace(/^\/+/, ''), flags, 0, resolve);
  } catch (error) {
    const why = errnoOf(error) ?? 'unreadable';
    throw new GantryError('store', `cannot read ${found.path} of the image: ${why}`, {
      cause: error,
    });
  } finally {
    closeSync(root);
  }
}
