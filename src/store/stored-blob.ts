import { createHash, type Hash } from 'node:crypto';
import { openSync } from 'node:fs';
import { errnoOf, GantryError } from '../error.ts';
import { imageIdOf } from '../image/digest.ts';
import type { ImageRecord } from '../image/image-record.ts';
import type { UnpackLimits } from '../image/unpack-limits.ts';
import { type UnpackedArchive, unpackArchive } from './archive-unpacking.ts';
import { piecesOf } from './blob-reading.ts';
import { decompress } from './compression.ts';
import { messageOf } from './failure.ts';
import type { StoreLayout } from './layout.ts';
import { UnpackBudget, UnpackMeter } from './unpack-meter.ts';

/** An image in the store was within bounds when it came. */
const noLimits: UnpackLimits = {
  maxUnpackedBytes: Number.MAX_SAFE_INTEGER,
  maxEntries: Number.MAX_SAFE_INTEGER,
  maxCompressionRatio: Number.MAX_SAFE_INTEGER,
};

/** Counts without bounds. */
export function unboundedMeter(): UnpackMeter {
  return new UnpackMeter(noLimits, new UnpackBudget());
}

/**
 * Unpacks a stored image into the new directory `directory`, checking the blob's digest and the
 * image ID on the way. Throws `store` when the blob is not what was stored.
 */
export async function unpackStored(
  layout: StoreLayout,
  record: ImageRecord,
  directory: string,
): Promise<UnpackedArchive> {
  return checked(layout, record, (source, content) =>
    unpackArchive(source, directory, unboundedMeter(), (piece) => content.update(piece)),
  );
}

/**
 * Hands a stored image's archive on, uncompressed, checking the blob's digest and the image ID; what
 * was handed on is worthless if this throws.
 */
export async function readStored(
  layout: StoreLayout,
  record: ImageRecord,
  sink: (piece: Buffer) => void,
): Promise<void> {
  await checked(layout, record, (source, content) =>
    decompress(source, (piece) => {
      content.update(piece);
      sink(piece);
    }),
  );
}

async function checked<T>(
  layout: StoreLayout,
  record: ImageRecord,
  read: (source: AsyncIterable<Uint8Array>, content: Hash) => Promise<T>,
): Promise<T> {
  const path = layout.blob(record.blob);
  const blob = createHash(record.blob.algorithm);
  const content = createHash('sha512');
  try {
    const result = await read(
      seenPieces(path, (piece) => blob.update(piece)),
      content,
    );
    if (blob.digest('hex') !== record.blob.hex) throw altered(record, path, 'its digest differs');
    if (imageIdOf(content.digest('hex')) !== record.id)
      throw altered(record, path, 'its content differs');
    return result;
  } catch (error) {
    // An alteration usually shows first as data that cannot be decompressed or read as an archive.
    if (error instanceof GantryError && error.code === 'invalid-archive') {
      throw altered(record, path, messageOf(error), error);
    }
    if (errnoOf(error) === 'ENOENT' && messageOf(error).includes(path)) {
      throw altered(record, path, 'it is missing', error);
    }
    throw error;
  }
}

async function* seenPieces(path: string, seen: (piece: Buffer) => void): AsyncIterable<Buffer> {
  for await (const piece of piecesOf(openSync(path, 'r'))) {
    seen(piece);
    yield piece;
  }
}

function altered(record: ImageRecord, path: string, why: string, cause?: unknown): GantryError {
  return new GantryError(
    'store',
    `image ${record.id}: the blob ${path} is not what was stored: ${why}; remove the image and fetch it again`,
    { cause },
  );
}
