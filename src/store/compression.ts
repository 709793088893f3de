import type { Transform } from 'node:stream';
import { GantryError } from '../error.ts';
import type { ContentSink } from './content-digest.ts';
import { messageOf } from './failure.ts';

export type Compression = 'gzip' | 'bzip2' | 'xz' | 'zstd' | 'none';

/** A piece belongs to the source again as soon as the next one is asked for. */
type Source = AsyncIterable<Uint8Array>;
/** What it throws ends the decompression. */
type Sink = ContentSink;

/** How far back zstd data may refer, as a power of two: what a stream may take of memory. */
export interface DecompressionBounds {
  readonly zstdWindowLog: number;
}

// The largest window zstd's own command makes without --long=28 and up: 128 MB. Memory stays bounded
// whatever a frame's header demands (RFC 8878, 3.1.1.1.2).
const usualBounds: DecompressionBounds = { zstdWindowLog: 27 };

/** Bytes of output asked for at a time: large enough that calls cost nothing beside the work. */
const chunkSize = 256 * 1024;

const magics: readonly (readonly [Compression, readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
];

const skippableMagic = Buffer.from([0x2a, 0x4d, 0x18]);

/** Bytes that must be there to tell a compression. */
const longestMagic = 6;

/** Tells a compression by the first bytes of the content; anything unknown counts as none. */
export function compressionOf(start: Uint8Array): Compression {
  for (const [compression, magic] of magics) {
    if (magic.every((byte, i) => start[i] === byte)) return compression;
  }
  return isSkippableFrame(start) ? 'zstd' : 'none';
}

/** pzstd begins with one: how long the frame after it is (RFC 8878, 3.1.2). */
function isSkippableFrame(start: Uint8Array): boolean {
  const [first = 0, ...magic] = start.subarray(0, 4);
  return (first & 0xf0) === 0x50 && Buffer.from(magic).equals(skippableMagic);
}

/**
 * Decompresses an archive, telling the compression by content, and hands the bytes on in order.
 * gzip and zstd run on libuv's threads while the sink works on the piece before.
 * Throws `invalid-archive` for damaged data, and whatever `source` and `sink` throw.
 */
export async function decompress(
  source: Source,
  sink: Sink,
  bounds: DecompressionBounds = usualBounds,
): Promise<void> {
  const { start, all } = await peek(source);
  const compression = compressionOf(start);
  if (compression === 'none') {
    for await (const piece of all) sink(asBuffer(piece), false);
    return;
  }
  const ends = new GuardedEnds(all, sink);
  try {
    await engines[compression](ends.source(), ends.sink, bounds);
  } catch (error) {
    if (ends.failure !== undefined) throw ends.failure;
    throw error instanceof GantryError ? error : damaged(compression, error);
  }
}

/** The ends of a decompression, remembering what they throw: that is no fault of the data. */
class GuardedEnds {
  failure: unknown;
  readonly #source: Source;
  readonly #sink: Sink;

  constructor(source: Source, sink: Sink) {
    this.#source = source;
    this.#sink = sink;
  }

  async *source(): Source {
    try {
      yield* this.#source;
    } catch (error) {
      this.failure ??= error;
      throw error;
    }
  }

  readonly sink: Sink = (piece, owned) => {
    try {
      this.#sink(piece, owned);
    } catch (error) {
      this.failure ??= error;
      throw error;
    }
  };
}

const engines: Readonly<
  Record<
    Exclude<Compression, 'none'>,
    (source: Source, sink: Sink, bounds: DecompressionBounds) => Promise<void>
  >
> = {
  gzip: async (source, sink) => {
    const { createGunzip } = await import('node:zlib');
    await throughZlib('gzip', createGunzip({ chunkSize }), source, sink);
  },
  zstd: async (source, sink, { zstdWindowLog }) => {
    const { createZstdDecompress, constants } = await import('node:zlib');
    const params = { [constants.ZSTD_d_windowLogMax]: zstdWindowLog };
    const engine = createZstdDecompress({ chunkSize, params });
    await throughZlib('zstd', engine, source, sink).catch((error) => {
      throw isWindowTooLarge(error) ? tooFarBack(zstdWindowLog, error) : error;
    });
  },
  bzip2: async (source, sink) => {
    const { bunzip2 } = await import('./bunzip2.ts');
    await bunzip2(source, sink);
  },
  xz: unxz,
};

async function throughZlib(
  compression: Compression,
  engine: Transform & { readonly bytesWritten: number },
  source: Source,
  sink: Sink,
): Promise<void> {
  const feeding = feed(engine, source);
  feeding.catch((error) => engine.destroy(error));
  for await (const piece of engine as AsyncIterable<Buffer>) {
    const owned = isFilled(piece);
    sink(piece, owned);
    if (owned) discard(piece);
  }
  // zlib stops without complaint at zeros after the end, and zstd at anything.
  const given = await feeding;
  if (engine.bytesWritten < given) throw damaged(compression, new Error('data after the end'));
}

/** One piece after the other, each taken in whole before the next is asked for. */
async function feed(engine: Transform, source: Source): Promise<number> {
  let given = 0;
  for await (const piece of source) {
    given += piece.length;
    await new Promise<void>((resolve, reject) => {
      engine.write(piece, (error) => (error ? reject(error) : resolve()));
    });
  }
  engine.end();
  return given;
}

/** Whether zlib has filled this output buffer to its end, and so will not touch it again. */
function isFilled({ buffer, byteOffset, length }: Buffer): boolean {
  return buffer.byteLength === chunkSize && byteOffset + length === chunkSize;
}

/** Left to the collector, tens of megabytes of buffers would pile up between two collections. */
function discard({ buffer }: Buffer): void {
  if (buffer instanceof ArrayBuffer && !buffer.detached) buffer.transfer(0);
}

async function unxz(source: Source, sink: Sink): Promise<void> {
  const { default: xz } = await import('xz-decompress');
  const pieces = source[Symbol.asyncIterator]();
  const input = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const next = await pieces.next();
      if (next.done === true) controller.close();
      else controller.enqueue(Buffer.from(next.value));
    },
  });
  try {
    for await (const piece of new xz.XzReadableStream(input)) sink(asBuffer(piece), false);
  } catch (error) {
    throw new Error(xzReason(error), { cause: error });
  }
}

/** xz-decompress reports only the number of its decoder's `enum xz_ret`. */
function xzReason(error: unknown): string {
  const message = messageOf(error);
  const number = /error code (\d+)/.exec(message)?.[1];
  if (number === '4')
    return 'it needs a dictionary of more than 64 MB; pack the image with xz -9 or less';
  if (number === '6')
    return 'it uses a filter or check that is not supported; pack it with plain xz';
  if (number === '8') return 'it is truncated, or there is data after its end';
  return number === undefined ? message : 'it is corrupt';
}

/** The first bytes of a source, and all of it again. */
async function peek(source: Source): Promise<{ start: Buffer; all: Source }> {
  const iterator = source[Symbol.asyncIterator]();
  const held: Uint8Array[] = [];
  let length = 0;
  while (length < longestMagic) {
    const next = await iterator.next();
    if (next.done === true) break;
    held.push(Buffer.from(next.value));
    length += next.value.length;
  }
  async function* all(): Source {
    yield* held;
    for (;;) {
      const next = await iterator.next();
      if (next.done === true) return;
      yield next.value;
    }
  }
  return { start: Buffer.concat(held).subarray(0, longestMagic), all: all() };
}

function asBuffer(piece: Uint8Array): Buffer {
  return Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
}

/** Whether a zstd frame's header demands a larger window than is granted. */
function isWindowTooLarge(error: unknown): boolean {
  const code = 'ZSTD_error_frameParameter_windowTooLarge';
  return error instanceof Error && 'code' in error && error.code === code;
}

function tooFarBack(windowLog: number, cause: unknown): GantryError {
  const limit = 2 ** (windowLog - 20);
  return new GantryError(
    'invalid-archive',
    `image archive: its zstd data refers back more than ${limit} MB, the most that is taken; compress it without --ultra or with --long=${windowLog} at most`,
    { cause },
  );
}

function damaged(compression: Compression, cause: unknown): GantryError {
  return new GantryError(
    'invalid-archive',
    `image archive: damaged ${compression} data: ${messageOf(cause)}`,
    { cause },
  );
}
