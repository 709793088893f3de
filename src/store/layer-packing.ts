import { createHash, type Hash } from 'node:crypto';
import { createReadStream, realpathSync, type Stats, statSync } from 'node:fs';
import { isatty } from 'node:tty';
import { errnoOf, GantryError } from '../error.ts';
import type { Digest } from '../image/digest.ts';
import { MEDIA_TYPES } from '../image/oci-manifest.ts';
import type { UnpackLimits } from '../image/unpack-limits.ts';
import { type Compression, compressionOf, decompress } from './compression.ts';
import { reasonOf } from './failure.ts';
import { LayerCheck } from './layer-check.ts';
import { compress, digested, type PackingCompression } from './packing-compression.ts';
import { layerPacking, walkSource } from './packing-source.ts';
import { PrivateFile } from './private-file.ts';
import type { LayerOrder } from './staged-oci-image.ts';
import { endOfArchive } from './tar-encoding.ts';
import { TarReader } from './tar-reader.ts';
import { encodeTree } from './tree-encoding.ts';
import { UnpackBudget, UnpackMeter } from './unpack-meter.ts';

/** What to make a layer of. */
export interface LayerWish {
  /** A directory, a tar archive, or `-` for an archive on standard input. */
  readonly source: string;
  /** Without it an archive that is compressed with gzip or zstd stays as it is; gzip for others. */
  readonly compression?: PackingCompression | undefined;
  /** How far an archive may unpack. */
  readonly limits: UnpackLimits;
}

/** A layer that was made, and lies in a file of its own until closed. */
export interface PackedLayer extends LayerOrder {
  content(): AsyncIterable<Buffer>;
  close(): void;
}

const suffixes: Readonly<Record<PackingCompression, string>> = {
  gzip: '+gzip',
  zstd: '+zstd',
  none: '',
};

/**
 * Makes a layer of a root file system (image-spec layer.md): the same tree gives the same bytes, and an
 * archive keeps the bytes of its content. An archive is read through to its end before it is believed.
 * Throws `usage` for what a layer cannot hold or cannot be read, `invalid-archive`, and `store` where
 * there is no room.
 */
export async function packLayer(wish: LayerWish): Promise<PackedLayer> {
  if (wish.source !== '-' && statOf(wish.source).isDirectory()) return await packTree(wish);
  return await packArchive(wish);
}

async function packTree({ source, compression = 'gzip' }: LayerWish): Promise<PackedLayer> {
  const content = createHash('sha256');
  function* archive(): Iterable<Buffer> {
    // A link to the directory is as good as the directory, which `walkSource` would not follow.
    yield* encodeTree(walkSource(realpathSync(source), layerPacking));
    yield endOfArchive;
  }
  const layer = new LayerFile();
  try {
    await compress(digested(archive(), content), compression, (piece) => layer.append(piece));
    return layer.finish(compression, content);
  } catch (error) {
    layer.close();
    throw error;
  }
}

async function packArchive(wish: LayerWish): Promise<PackedLayer> {
  const received = new LayerFile();
  try {
    const content = await receive(wish, received);
    const found = await received.compression();
    const wanted = wish.compression ?? (found === 'zstd' ? 'zstd' : 'gzip');
    if (found === wanted) return received.finish(wanted, content);
    const packed = await repack(received.file, found, wanted, content);
    received.close();
    return packed;
  } catch (error) {
    received.close();
    throw namingSource(wish.source, error);
  }
}

/** Reads an archive to its end, keeping its bytes and checking its members; answers the content's hash. */
async function receive(wish: LayerWish, into: LayerFile): Promise<Hash> {
  const meter = new UnpackMeter(wish.limits, new UnpackBudget());
  const reader = new TarReader(new LayerCheck(meter));
  const content = createHash('sha256');
  await decompress(meter.counted(kept(bytesOf(wish.source), into)), (piece) => {
    meter.unpacked(piece.length);
    content.update(piece);
    reader.push(piece);
  });
  reader.endUnmarked();
  if (meter.entries === 0) {
    throw new GantryError('invalid-archive', `${shown(wish.source)}: the archive holds nothing`);
  }
  return content;
}

/** Compresses a received archive anew, and gives up what was received. */
async function repack(
  received: PrivateFile,
  found: Compression,
  wanted: PackingCompression,
  content: Hash,
): Promise<PackedLayer> {
  const plain = found === 'none' ? received : await expand(received);
  const layer = new LayerFile();
  try {
    await compress(plain.pieces(), wanted, (piece) => layer.append(piece));
    return layer.finish(wanted, content);
  } catch (error) {
    layer.close();
    throw error;
  } finally {
    plain.close();
  }
}

/** Decompressing pushes and compressing pulls: a file between them keeps memory flat. */
async function expand(packed: PrivateFile): Promise<PrivateFile> {
  const plain = PrivateFile.create();
  try {
    await decompress(packed.pieces(), (piece) => plain.append(piece));
    return plain;
  } catch (error) {
    plain.close();
    throw error;
  }
}

/** A layer's bytes as they are made, and their digest. */
class LayerFile {
  readonly file = PrivateFile.create();
  readonly #hash = createHash('sha256');

  append(piece: Uint8Array): void {
    this.#hash.update(piece);
    this.file.append(piece);
  }

  async compression(): Promise<Compression> {
    for await (const piece of this.file.pieces()) return compressionOf(piece);
    return 'none';
  }

  close(): void {
    this.file.close();
  }

  finish(compression: PackingCompression, content: Hash): PackedLayer {
    const mediaType = MEDIA_TYPES.layer + suffixes[compression];
    return {
      descriptor: { mediaType, digest: digestOf(this.#hash), size: this.file.size },
      diffId: digestOf(content),
      content: () => this.file.pieces(),
      close: () => this.file.close(),
    };
  }
}

function digestOf(hash: Hash): Digest {
  return { algorithm: 'sha256', hex: hash.digest('hex') };
}

async function* kept(source: AsyncIterable<Buffer>, into: LayerFile): AsyncIterable<Buffer> {
  for await (const piece of source) {
    into.append(piece);
    yield piece;
  }
}

async function* bytesOf(source: string): AsyncIterable<Buffer> {
  if (source === '-' && isatty(0)) {
    throw new GantryError('usage', 'standard input is a terminal: pipe a tar archive into it');
  }
  const stream = source === '-' ? process.stdin : createReadStream(source);
  try {
    yield* stream as AsyncIterable<Buffer>;
  } catch (cause) {
    if (errnoOf(cause) === undefined) throw cause;
    throw unreadable(source, cause);
  }
}

function statOf(path: string): Stats {
  try {
    return statSync(path);
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

function unreadable(source: string, cause: unknown): GantryError {
  return new GantryError('usage', `cannot read ${shown(source)}: ${reasonOf(cause)}`, { cause });
}

/** What is wrong with an archive is told by who reads it, who knows no name for it. */
function namingSource(source: string, error: unknown): unknown {
  if (!(error instanceof GantryError) || error.code !== 'invalid-archive') return error;
  if (error.message.startsWith(`${shown(source)}: `)) return error;
  return new GantryError(error.code, `${shown(source)}: ${error.message}`, { cause: error.cause });
}

function shown(source: string): string {
  return source === '-' ? 'standard input' : source;
}
