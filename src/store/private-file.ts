import { closeSync, constants, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { newUuid } from '../system/uuid.ts';
import { storeFailure } from './failure.ts';

const readSize = 256 * 1024;

/**
 * A file that only this process can reach: its name is gone as soon as it is open, so that it ends with
 * the process however that ends.
 */
export class PrivateFile {
  readonly #fd: number;
  readonly #directory: string;
  #size = 0;
  #closed = false;

  private constructor(fd: number, directory: string) {
    this.#fd = fd;
    this.#directory = directory;
  }

  /** Makes one below `$TMPDIR`, or `/var/tmp`, which is a disk where `/tmp` often is memory. */
  static create(directory: string = process.env['TMPDIR'] || '/var/tmp'): PrivateFile {
    const path = join(directory, `.gantry-${newUuid()}`);
    try {
      const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
      const fd = openSync(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
      rmSync(path);
      return new PrivateFile(fd, directory);
    } catch (error) {
      throw storeFailure(directory, 'make a temporary file', error);
    }
  }

  /** In bytes. */
  get size(): number {
    return this.#size;
  }

  /** Adds bytes at the end. Throws `store` where they find no room. */
  append(piece: Uint8Array): void {
    try {
      for (let at = 0; at < piece.length; ) {
        const written = writeSync(this.#fd, piece, at, piece.length - at, this.#size);
        at += written;
        this.#size += written;
      }
    } catch (error) {
      throw storeFailure(this.#directory, 'write a temporary file', error);
    }
  }

  /** All of it, in order, each piece a buffer of its own; as often as wanted. */
  async *pieces(): AsyncIterable<Buffer> {
    for (let at = 0; at < this.#size; ) {
      const buffer = Buffer.allocUnsafeSlow(Math.min(readSize, this.#size - at));
      const length = readSync(this.#fd, buffer, 0, buffer.length, at);
      if (length === 0) return;
      at += length;
      yield buffer.subarray(0, length);
    }
  }

  /** So many bytes from an offset on, or as many as there are, in a buffer of their own. */
  read(offset: number, length: number): Buffer {
    const buffer = Buffer.allocUnsafeSlow(Math.max(0, Math.min(length, this.#size - offset)));
    return buffer.subarray(0, readSync(this.#fd, buffer, 0, buffer.length, offset));
  }

  /** Gives its space back. Harmless when repeated. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.#fd);
  }
}
