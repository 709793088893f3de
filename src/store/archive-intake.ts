import { createHash, type Hash } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';
import { GantryError } from '../error.ts';
import type { Digest, DigestAlgorithm } from '../image/digest.ts';
import { pieceSize, type Unpacking } from './unpack-thread.ts';

/** An archive taken in whole: the bytes as they came, and what they unpacked to. */
export interface TakenArchive<T> {
  readonly blob: Digest & { readonly size: number };
  /** `content`: the digest of the uncompressed bytes. */
  readonly unpacked: T & { readonly content: Digest };
}

/**
 * Takes the bytes of an archive as they come: each goes to the blob's file, its digest and the
 * unpacking thread, so that what is digested is what is kept and unpacked.
 */
export class ArchiveIntake<T> {
  readonly #blob: BlobFile;
  readonly #unpacking: Unpacking<T>;
  #piece: Uint8Array<ArrayBuffer>;
  #filled = 0;

  /**
   * `path`: where the blob is written; it must not be there. `algorithm`: what it is named by. `begin`
   * is asked when the file is there: a thread started before would outlive a full disk.
   */
  constructor(path: string, algorithm: DigestAlgorithm, begin: () => Unpacking<T>) {
    this.#blob = new BlobFile(path, algorithm);
    this.#unpacking = begin();
    this.#piece = this.#unpacking.allocate();
  }

  /** See `Ingest.write`; errno errors come as they are. */
  write(chunk: Uint8Array): Promise<void> | undefined {
    let at = 0;
    const waits: Promise<void>[] = [];
    while (at < chunk.length) {
      const taken = Math.min(pieceSize - this.#filled, chunk.length - at);
      this.#piece.set(chunk.subarray(at, at + taken), this.#filled);
      this.#filled += taken;
      at += taken;
      if (this.#filled === pieceSize) {
        const wait = this.#passOn();
        if (wait !== undefined) waits.push(wait);
      }
    }
    return waits.length === 0 ? undefined : Promise.all(waits).then(() => {});
  }

  /**
   * Says that all bytes came; answers when everything is written. `check` may refuse the blob first:
   * a wrong digest explains an archive that is damaged, and not the other way round.
   */
  async finish(check: (blob: Digest) => void = () => {}): Promise<TakenArchive<T>> {
    if (this.#filled > 0) await this.#passOn();
    const blob = this.#blob.finish();
    check(blob);
    return { blob, unpacked: await this.#unpacking.finish() };
  }

  /** Closes the blob's file. Harmless when repeated. */
  close(): void {
    this.#blob.close();
  }

  /** One piece to the blob, its digest, and the unpacking thread. */
  #passOn(): Promise<void> | undefined {
    const piece = this.#piece.subarray(0, this.#filled);
    this.#filled = 0;
    this.#blob.write(piece);
    const wait = this.#unpacking.give(piece);
    this.#piece = this.#unpacking.allocate();
    return wait;
  }
}

/** The archive as fetched: written and digested from the very same bytes. */
class BlobFile {
  readonly #algorithm: DigestAlgorithm;
  readonly #hash: Hash;
  #fd: number | undefined;
  #size = 0;

  constructor(path: string, algorithm: DigestAlgorithm) {
    this.#algorithm = algorithm;
    this.#hash = createHash(algorithm);
    this.#fd = openSync(path, 'wx', 0o600);
  }

  write(piece: Uint8Array): void {
    if (this.#fd === undefined) throw new GantryError('internal', 'the image was given up already');
    for (let at = 0; at < piece.length; ) at += writeSync(this.#fd, piece, at);
    this.#hash.update(piece);
    this.#size += piece.length;
  }

  finish(): Digest & { size: number } {
    this.close();
    return { algorithm: this.#algorithm, hex: this.#hash.digest('hex'), size: this.#size };
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}
