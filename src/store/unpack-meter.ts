import { GantryError } from '../error.ts';
import { ratioFloorBytes, type UnpackLimits } from '../image/unpack-limits.ts';

/**
 * What all archives of one image have unpacked to so far, counted together by the threads that unpack
 * them: a hundred layers just within the limits are one image far beyond.
 */
export class UnpackBudget {
  /** Handed to another thread, it makes the same budget there. */
  readonly memory: SharedArrayBuffer;
  readonly #used: BigInt64Array;

  constructor(
    memory: SharedArrayBuffer = new SharedArrayBuffer(2 * BigInt64Array.BYTES_PER_ELEMENT),
  ) {
    this.memory = memory;
    this.#used = new BigInt64Array(memory);
  }

  /** Counts bytes, and answers how many there are by now. */
  addBytes(count: number): number {
    return this.#add(0, count);
  }

  /** Counts archive entries, and answers how many there are by now. */
  addEntries(count: number): number {
    return this.#add(1, count);
  }

  #add(index: number, count: number): number {
    return Number(Atomics.add(this.#used, index, BigInt(count))) + count;
  }
}

/** Counts what goes in and comes out of one archive, and stops at a decompression bomb. */
export class UnpackMeter {
  size = 0;
  entries = 0;
  readonly #limits: UnpackLimits;
  readonly #budget: UnpackBudget;
  #packed = 0;

  constructor(limits: UnpackLimits, budget: UnpackBudget) {
    this.#limits = limits;
    this.#budget = budget;
  }

  /** The archive's bytes as fetched, counted as they pass. */
  async *counted(source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    for await (const piece of source) {
      this.#packed += piece.length;
      // Empty streams one after the other unpack to nothing, and yet fill the disk as they come.
      const { maxUnpackedBytes } = this.#limits;
      if (this.#packed > maxUnpackedBytes) {
        throw bomb(`it is larger than ${maxUnpackedBytes} bytes`, 'maxUnpackedBytes');
      }
      yield piece;
    }
  }

  /** Counts bytes that came out of the decompression. Throws `invalid-archive` beyond the limits. */
  unpacked(bytes: number): void {
    this.size += bytes;
    const { maxUnpackedBytes, maxCompressionRatio } = this.#limits;
    if (this.#budget.addBytes(bytes) > maxUnpackedBytes) {
      throw bomb(`it unpacks to more than ${maxUnpackedBytes} bytes`, 'maxUnpackedBytes');
    }
    if (this.size > ratioFloorBytes && this.size > this.#packed * maxCompressionRatio) {
      throw bomb(
        `it unpacks to more than ${maxCompressionRatio} times its size`,
        'maxCompressionRatio',
      );
    }
  }

  /** Counts what was made in the tree. Throws `invalid-archive` beyond the limits. */
  made(entries: number): void {
    this.entries += entries;
    const { maxEntries } = this.#limits;
    if (this.#budget.addEntries(entries) > maxEntries) {
      throw bomb(`it has more than ${maxEntries} entries`, 'maxEntries');
    }
  }

  /** The archive was given up: it counts for nothing. */
  giveBack(): void {
    this.#budget.addBytes(-this.size);
    this.#budget.addEntries(-this.entries);
    this.size = 0;
    this.entries = 0;
  }
}

function bomb(what: string, limit: string): GantryError {
  return new GantryError(
    'invalid-archive',
    `image archive: ${what}; if it is trusted, raise ${limit} in a "limits" configuration file`,
  );
}
