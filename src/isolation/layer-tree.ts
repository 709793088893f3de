import type { Stats } from 'node:fs';
import { closeSync, constants, fstatSync, lstatSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, GantryError } from '../error.ts';
import { RESOLVE, system } from '../system/binding.ts';

/** As the kernel has it (path_resolution(7)). */
const MAX_SYMLINKS = 40;
/** passwd, group: more than this is no such file. */
const MAX_FILE_BYTES = 16 * 1024 * 1024;

/** A directory met on the way: its name, and the layers whose directory of that path takes part. */
interface Level {
  readonly name: string;
  readonly layers: readonly string[];
}

/** A file of the tree: the layer it comes from, and its path there, free of symbolic links. */
interface Found {
  readonly layer: string;
  readonly path: string;
  readonly stats: Stats;
}

/**
 * Read access to an image's root file system before it is mounted: directories laid over each other
 * as overlayfs would (Documentation/filesystems/overlayfs.rst), top first. Symbolic links are the
 * image's, so they are followed here, inside the tree, and never by the host's kernel.
 */
export class LayerTree {
  readonly #layers: readonly string[];

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

  #resolve(path: string, followLast: boolean): Found | undefined {
    const pending = components(path).reverse();
    const levels: Level[] = [{ name: '', layers: this.#layers }];
    let links = 0;
    let last = this.#root();
    while (pending.length > 0) {
      const name = pending.pop() ?? '';
      if (name === '..') {
        if (levels.length > 1) levels.pop();
        last = undefined;
        continue;
      }
      const entry = lookup(levels, name);
      if (entry === undefined) return undefined;
      if (entry.found.stats.isSymbolicLink() && (pending.length > 0 || followLast)) {
        if (++links > MAX_SYMLINKS) return undefined;
        const target = readlinkSync(join(entry.found.layer, entry.found.path));
        if (target.startsWith('/')) levels.length = 1;
        pending.push(...components(target).reverse());
        last = undefined;
        continue;
      }
      if (pending.length > 0 && entry.directories.length === 0) return undefined;
      if (entry.directories.length > 0) levels.push({ name, layers: entry.directories });
      last = entry.found;
    }
    return last ?? this.#directory(levels);
  }

  #root(): Found | undefined {
    return this.#directory([{ name: '', layers: this.#layers }]);
  }

  #directory(levels: readonly Level[]): Found | undefined {
    const layer = levels.at(-1)?.layers[0];
    if (layer === undefined) return undefined;
    const path = levels.map((level) => level.name).join('/');
    return { layer, path, stats: lstatSync(join(layer, path)) };
  }
}

function components(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

/** One component looked up in a merged directory. */
function lookup(
  levels: readonly Level[],
  name: string,
): { found: Found; directories: string[] } | undefined {
  const path = [...levels.map((level) => level.name), name].join('/');
  let found: Found | undefined;
  const directories: string[] = [];
  for (const layer of levels.at(-1)?.layers ?? []) {
    const stats = lstatSync(join(layer, path), { throwIfNoEntry: false });
    if (stats === undefined) continue;
    if (isWhiteout(stats)) break;
    if (!stats.isDirectory()) {
      found ??= { layer, path, stats };
      break;
    }
    found ??= { layer, path, stats };
    directories.push(layer);
    if (levels.at(-1)?.layers.length !== 1 && isOpaque(join(layer, path))) break;
  }
  return found === undefined ? undefined : { found, directories };
}

function isWhiteout(stats: Stats): boolean {
  return stats.isCharacterDevice() && stats.rdev === 0;
}

function isOpaque(path: string): boolean {
  return system.getXattr(path, 'trusted.overlay.opaque')?.toString() === 'y';
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
