import bitIterator from 'unbzip2-stream/lib/bit_iterator.js';
import bzip2 from 'unbzip2-stream/lib/bzip2.js';
import type { ContentSink } from './content-digest.ts';

/** What one block may take at most beyond its content, tables included. */
const blockOverhead = 25_000;
const outputSize = 256 * 1024;

/**
 * Decompresses bzip2, one stream after another, in bounded memory: a block of 900 kB can decode to
 * 46 MB, which unbzip2-stream's own stream would hold as an array of numbers, and every block of
 * its input at once; so only its decoder is used, and the bytes go on while a block is being decoded.
 * Throws the decoder's errors for damaged data, and whatever `sink` throws.
 */
export async function bunzip2(source: AsyncIterable<Uint8Array>, sink: ContentSink): Promise<void> {
  const decoder = new BlockDecoder(sink);
  for await (const piece of source) decoder.push(piece);
  decoder.end();
}

class BlockDecoder {
  readonly #sink: ContentSink;
  readonly #input: Uint8Array[] = [];
  readonly #output = Buffer.alloc(outputSize);
  #written = 0;
  #received = 0;
  #bits: ReturnType<typeof bitIterator> | undefined;
  /** Size of the current stream's blocks in bytes; 0 between streams. */
  #blockSize = 0;
  #work = new Int32Array(0);
  #checksum = 0;

  constructor(sink: ContentSink) {
    this.#sink = sink;
  }

  push(piece: Uint8Array): void {
    if (piece.length === 0) return;
    // The source may use a piece again once the next one is asked for.
    this.#input.push(Buffer.from(piece));
    this.#received += piece.length;
    // The decoder cannot wait for input in the middle of a block: a whole one must be there.
    while (this.#available() > this.#blockSize + blockOverhead) this.#decode();
  }

  end(): void {
    while (this.#available() > 0) this.#decode();
    if (this.#blockSize !== 0) throw new Error('it is truncated');
    this.#flush();
  }

  #available(): number {
    return this.#received - (this.#bits?.bytesRead ?? 0);
  }

  #decode(): void {
    this.#bits ??= bitIterator(() => {
      const piece = this.#input.shift();
      if (piece === undefined) throw new Error('it is truncated');
      return piece;
    });
    if (this.#blockSize === 0) {
      this.#blockSize = bzip2.header(this.#bits) * 100_000;
      this.#checksum = 0;
      if (this.#work.length < this.#blockSize) this.#work = new Int32Array(this.#blockSize);
      return;
    }
    const put = (byte: number): void => this.#put(byte);
    const size = this.#blockSize;
    const checksum = bzip2.decompress(this.#bits, put, this.#work, size, this.#checksum);
    if (checksum === null) this.#blockSize = 0;
    else this.#checksum = checksum;
  }

  #put(byte: number): void {
    this.#output[this.#written++] = byte;
    if (this.#written === outputSize) this.#flush();
  }

  #flush(): void {
    if (this.#written > 0) this.#sink(this.#output.subarray(0, this.#written), false);
    this.#written = 0;
  }
}
