import { createHash, type Hash } from 'node:crypto';
import type { Digest, DigestAlgorithm } from '../image/digest.ts';

/**
 * Takes decompressed bytes in order. `owned`: the memory is the taker's to keep or hand on; else it
 * is only lent for the call.
 */
export type ContentSink = (piece: Buffer, owned: boolean) => void;

/** Bytes on their way to be digested at most; decompressing waits for the digest beyond it. */
const maxOutstanding = 4 * 1024 * 1024;

/**
 * Digests content in this thread that another one produces: unpacking keeps one core busy, and the
 * digest of 200 MB would take another fifth of a second there.
 */
export class ContentDigest {
  /** Shared with the sender: bytes sent and not digested yet. */
  readonly outstanding = new SharedArrayBuffer(4);
  readonly #count = new Int32Array(this.outstanding);
  readonly #algorithm: DigestAlgorithm;
  readonly #hash: Hash;

  constructor(algorithm: DigestAlgorithm) {
    this.#algorithm = algorithm;
    this.#hash = createHash(algorithm);
  }

  /** Takes the next piece, and gives its memory back at once. */
  update(piece: Uint8Array): void {
    const { length, buffer } = piece;
    this.#hash.update(piece);
    if (buffer instanceof ArrayBuffer) buffer.transfer(0);
    Atomics.sub(this.#count, 0, length);
    Atomics.notify(this.#count, 0);
  }

  /** The digest of everything taken. */
  digest(): Digest {
    return { algorithm: this.#algorithm, hex: this.#hash.digest('hex') };
  }
}

/** The sending side: `post` moves a piece, memory and all, to the thread that digests. */
export function contentSender(
  outstanding: SharedArrayBuffer,
  post: (piece: Uint8Array, memory: ArrayBuffer) => void,
): ContentSink {
  const count = new Int32Array(outstanding);
  return (piece, owned) => {
    const { buffer, length } = piece;
    if (owned && buffer instanceof ArrayBuffer) {
      post(piece, buffer);
    } else {
      const copy = new Uint8Array(piece);
      post(copy, copy.buffer);
    }
    let ahead = Atomics.add(count, 0, length) + length;
    while (ahead > maxOutstanding) {
      Atomics.wait(count, 0, ahead);
      ahead = Atomics.load(count, 0);
    }
  };
}
