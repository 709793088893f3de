import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGzip, createZstdCompress, constants as zlib } from 'node:zlib';
import { GantryError } from '../error.ts';
import { type ImageId, imageIdOf } from '../image/digest.ts';
import { parseImageManifest } from '../image/image-manifest.ts';
import { writeOutputFile } from './export.ts';
import { reasonOf } from './failure.ts';
import { type SourceEntry, walkSource } from './packing-source.ts';
import { encodeMember, endOfArchive, paddingAfter, type TarMember } from './tar-encoding.ts';

/** What to make an App Container Image of. */
export interface PackOptions {
  /** Path of the manifest (JSON). */
  readonly manifest: string;
  /** Path of the directory that becomes the root file system. */
  readonly rootfs: string;
  /** Path of the image to write. */
  readonly output: string;
  readonly compression: 'gzip' | 'zstd' | 'none';
  readonly overwrite?: boolean;
}

const chunkSize = 256 * 1024;

/**
 * Makes an App Container Image (appc spec/aci.md, Image Archives) and answers its ID. The same
 * manifest and tree give the same bytes: entries are sorted, and nothing of this machine or moment
 * goes in; owners, modes, times, extended attributes, hard links and devices are the tree's.
 * Throws `invalid-manifest`, `usage` for what an image cannot hold, `store` when it cannot be written.
 */
export async function packImage(options: PackOptions): Promise<ImageId> {
  const { rootfs, output, compression, overwrite = false } = options;
  const manifest = readManifest(options.manifest);
  const hash = createHash('sha512');
  await writeOutputFile(output, { overwrite }, async (write) => {
    await compressed(digested(archiveOf(manifest, rootfs), hash), compression, write);
  });
  return imageIdOf(hash.digest('hex'));
}

function readManifest(path: string): Buffer {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    throw new GantryError('usage', `cannot read the manifest ${path}: ${reasonOf(cause)}`, {
      cause,
    });
  }
  parseImageManifest(bytes);
  return bytes;
}

function* archiveOf(manifest: Buffer, rootfs: string): Iterable<Buffer> {
  yield encodeMember({ ...manifestMember, size: manifest.length });
  yield manifest;
  yield paddingAfter(manifest.length);
  for (const entry of walkSource(rootfs)) {
    yield encodeMember(entry);
    yield* contentOf(entry);
    yield paddingAfter(entry.size);
  }
  yield endOfArchive;
}

const manifestMember: TarMember = {
  typeflag: '0',
  name: 'manifest',
  linkName: '',
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 0,
  seconds: 0,
  nanoseconds: 0,
  deviceMajor: 0,
  deviceMinor: 0,
  xattrs: new Map(),
};

function* contentOf(entry: SourceEntry): Iterable<Buffer> {
  if (entry.size === 0) return;
  const fd = openSync(entry.path, 'r');
  try {
    for (let rest = entry.size; rest > 0; ) {
      const buffer = Buffer.allocUnsafeSlow(Math.min(rest, chunkSize));
      const length = readSync(fd, buffer);
      if (length === 0) {
        throw new GantryError('usage', `${entry.path} became shorter while it was packed`);
      }
      rest -= length;
      yield buffer.subarray(0, length);
    }
  } finally {
    closeSync(fd);
  }
}

function* digested(
  pieces: Iterable<Buffer>,
  hash: { update(piece: Buffer): unknown },
): Iterable<Buffer> {
  for (const piece of pieces) {
    hash.update(piece);
    if (piece.length > 0) yield piece;
  }
}

async function compressed(
  source: Iterable<Buffer>,
  compression: PackOptions['compression'],
  write: (piece: Uint8Array) => void,
): Promise<void> {
  if (compression === 'none') {
    for (const piece of source) write(piece);
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
