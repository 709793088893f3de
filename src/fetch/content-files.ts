import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, GantryError, reasonOf } from '../error.ts';

/** Files by the paths an OCI layout gives them, wherever they are. */
export interface ContentFiles {
  /** For messages: `oci:DIR`. */
  readonly shown: string;
  /** The file's size in bytes; undefined where there is no such regular file. */
  size(path: string): number | undefined;
  /** Its content, in pieces that are the reader's until the next is asked for. */
  pieces(path: string): AsyncIterable<Buffer>;
  close(): void;
}

const PIECE = 256 * 1024;

/** A layout's directory. */
export class DirectoryFiles implements ContentFiles {
  readonly shown: string;
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
    this.shown = `oci:${directory}`;
  }

  size(path: string): number | undefined {
    const fd = this.#open(path);
    if (fd === undefined) return undefined;
    try {
      return fstatSync(fd).size;
    } finally {
      closeSync(fd);
    }
  }

  async *pieces(path: string): AsyncIterable<Buffer> {
    const fd = this.#open(path);
    if (fd === undefined) throw missing(this.shown, path);
    try {
      for (;;) {
        const buffer = Buffer.allocUnsafeSlow(PIECE);
        const length = readSync(fd, buffer);
        if (length === 0) return;
        yield buffer.subarray(0, length);
      }
    } finally {
      closeSync(fd);
    }
  }

  close(): void {}

  /** Without waiting: a layout somebody else made may have a named pipe for a blob. */
  #open(path: string): number | undefined {
    const absolute = join(this.#directory, path);
    let fd: number;
    try {
      fd = openSync(absolute, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (cause) {
      if (errnoOf(cause) === 'ENOENT' || errnoOf(cause) === 'ENOTDIR') return undefined;
      throw new GantryError('invalid-archive', `${absolute}: ${reasonOf(cause)}`, { cause });
    }
    if (fstatSync(fd).isFile()) return fd;
    closeSync(fd);
    throw new GantryError('invalid-archive', `${absolute} is not a regular file`);
  }
}

/** Bytes at any place of an archive; a `PrivateFile`, or an open file. */
export interface ArchiveBytes {
  readonly size: number;
  /** As many of the bytes as there are. */
  read(offset: number, length: number): Buffer;
  close(): void;
}

/** An archive's file as it lies there. Somebody may write to it meanwhile: every blob is checked anyway. */
export class OpenArchive implements ArchiveBytes {
  readonly size: number;
  readonly #fd: number;

  /** Throws `not-found` for what is not a regular file. */
  constructor(path: string) {
    try {
      this.#fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (cause) {
      throw new GantryError('not-found', `image archive ${path}: ${reasonOf(cause)}`, { cause });
    }
    const stats = fstatSync(this.#fd);
    this.size = stats.size;
    if (stats.isFile()) return;
    closeSync(this.#fd);
    throw new GantryError('not-found', `image archive ${path}: not a regular file`);
  }

  read(offset: number, length: number): Buffer {
    const buffer = Buffer.allocUnsafeSlow(Math.max(0, Math.min(length, this.size - offset)));
    return buffer.subarray(0, readSync(this.#fd, buffer, 0, buffer.length, offset));
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** The bytes from `offset` on, `size` of them; fewer where the archive ends before. */
export async function* piecesOf(
  archive: ArchiveBytes,
  offset: number,
  size: number,
): AsyncIterable<Buffer> {
  for (let at = 0; at < size; ) {
    const piece = archive.read(offset + at, Math.min(PIECE, size - at));
    if (piece.length === 0) return;
    at += piece.length;
    yield piece;
  }
}

/** What is asked for and is not there. */
export function missing(shown: string, path: string): GantryError {
  return new GantryError('invalid-archive', `${shown}: it has no ${path}`);
}
