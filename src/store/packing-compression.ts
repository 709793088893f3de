import { pipeline } from 'node:stream/promises';
import { createGzip, createZstdCompress, constants as zlib } from 'node:zlib';

/** How an archive that is written here may be compressed. */
export type PackingCompression = 'gzip' | 'zstd' | 'none';

const chunkSize = 256 * 1024;

/**
 * Compresses an archive as hard as is sensible for what is packed once and fetched often, and hands the
 * bytes on in order; the same bytes for the same input, as neither format is given a time or a name.
 */
export async function compress(
  source: Iterable<Buffer> | AsyncIterable<Buffer>,
  compression: PackingCompression,
  write: (piece: Uint8Array) => void,
): Promise<void> {
  if (compression === 'none') {
    for await (const piece of source) write(piece);
    return;
  }
  const params = { [zlib.ZSTD_c_compressionLevel]: 12, [zlib.ZSTD_c_checksumFlag]: 1 };
  const engine =
    compression === 'gzip'
      ? createGzip({ chunkSize, level: 9 })
      : createZstdCompress({ chunkSize, params });
  await pipeline(source, engine, async (pieces: AsyncIterable<Uint8Array>) => {
    for await (const piece of pieces) write(piece);
  });
}

/** The same pieces, each of them hashed on its way. */
export function* digested(
  pieces: Iterable<Buffer>,
  hash: { update(piece: Buffer): unknown },
): Iterable<Buffer> {
  for (const piece of pieces) {
    hash.update(piece);
    if (piece.length > 0) yield piece;
  }
}
