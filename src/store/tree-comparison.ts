import { type BigIntStats, closeSync, lstatSync, openSync, readlinkSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { system } from '../system/binding.ts';
import { namesIn } from './staging.ts';

const blockSize = 256 * 1024;

/**
 * Compares two trees: names, types, content, owners, modes, times of last change, extended
 * attributes, devices and which names are one file. Answers the first difference as text that
 * names the path, seen from `actual`; undefined when there is none.
 */
export function differenceBetween(expected: string, actual: string): string | undefined {
  return new Comparison(expected, actual).directory('');
}

class Comparison {
  readonly #expected: string;
  readonly #actual: string;
  /** Which inode of `actual` stands for an inode of `expected` that has several names. */
  readonly #links = new Map<bigint, bigint>();
  readonly #left = Buffer.alloc(blockSize);
  readonly #right = Buffer.alloc(blockSize);

  constructor(expected: string, actual: string) {
    this.#expected = expected;
    this.#actual = actual;
  }

  directory(path: string): string | undefined {
    const wanted = namesIn(join(this.#expected, path));
    const found = new Set(namesIn(join(this.#actual, path)));
    for (const name of wanted) {
      const below = path === '' ? name : `${path}/${name}`;
      if (!found.delete(name)) return `/${below} is missing`;
      const difference = this.#entry(below);
      if (difference !== undefined) return difference;
    }
    const [extra] = found;
    if (extra !== undefined) return `${join('/', path, extra)} is not part of the image`;
    return this.#metadata(path, this.#stat(this.#expected, path), this.#stat(this.#actual, path));
  }

  #entry(path: string): string | undefined {
    const wanted = this.#stat(this.#expected, path);
    const found = this.#stat(this.#actual, path);
    if ((wanted.mode ^ found.mode) & 0o170000n) return `/${path} is of another type`;
    if (wanted.isDirectory()) return this.directory(path);
    return this.#metadata(path, wanted, found) ?? this.#content(path, wanted, found);
  }

  #metadata(path: string, wanted: BigIntStats, found: BigIntStats): string | undefined {
    if (wanted.mode !== found.mode) {
      return `/${path} has mode ${octal(found.mode)}, not ${octal(wanted.mode)}`;
    }
    if (wanted.uid !== found.uid || wanted.gid !== found.gid) {
      return `/${path} belongs to ${found.uid}:${found.gid}, not ${wanted.uid}:${wanted.gid}`;
    }
    if (wanted.mtimeNs !== found.mtimeNs) return `/${path} was changed at another time`;
    return this.#xattrs(path);
  }

  #xattrs(path: string): string | undefined {
    const [from, to] = [join(this.#expected, path), join(this.#actual, path)];
    const wanted = system.listXattr(from);
    const found = new Set(system.listXattr(to));
    for (const name of wanted) {
      const value = found.delete(name) ? system.getXattr(to, name) : undefined;
      if (value === undefined || system.getXattr(from, name)?.equals(value) !== true) {
        return `/${path} has another attribute ${name}`;
      }
    }
    const [extra] = found;
    return extra === undefined ? undefined : `/${path} has another attribute ${extra}`;
  }

  #content(path: string, wanted: BigIntStats, found: BigIntStats): string | undefined {
    if (wanted.rdev !== found.rdev) return `/${path} is another device`;
    if (wanted.isSymbolicLink()) {
      const same =
        readlinkSync(join(this.#expected, path)) === readlinkSync(join(this.#actual, path));
      return same ? undefined : `/${path} points elsewhere`;
    }
    if (wanted.nlink > 1n) {
      const known = this.#links.get(wanted.ino);
      if (known === found.ino) return undefined;
      if (known !== undefined) return `/${path} is no longer linked to its other names`;
      this.#links.set(wanted.ino, found.ino);
    }
    // Trees made of each other share their files.
    const isSame = wanted.ino === found.ino && wanted.dev === found.dev;
    if (!wanted.isFile() || isSame) return undefined;
    if (wanted.size !== found.size || !this.#sameBytes(path)) return `/${path} has other content`;
    return undefined;
  }

  #sameBytes(path: string): boolean {
    const left = openSync(join(this.#expected, path), 'r');
    const right = openSync(join(this.#actual, path), 'r');
    try {
      for (;;) {
        const length = readSync(left, this.#left);
        if (length !== readSync(right, this.#right)) return false;
        if (length === 0) return true;
        if (this.#left.compare(this.#right, 0, length, 0, length) !== 0) return false;
      }
    } finally {
      closeSync(left);
      closeSync(right);
    }
  }

  #stat(root: string, path: string): BigIntStats {
    return lstatSync(join(root, path), { bigint: true });
  }
}

function octal(mode: bigint): string {
  return (mode & 0o7777n).toString(8).padStart(4, '0');
}
