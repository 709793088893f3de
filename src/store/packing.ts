import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { GantryError } from '../error.ts';
import { type ImageId, imageIdOf } from '../image/digest.ts';
import { parseImageManifest } from '../image/image-manifest.ts';
import { writeOutputFile } from './export.ts';
import { reasonOf } from './failure.ts';
import { compress, digested, type PackingCompression } from './packing-compression.ts';
import { imagePacking, walkSource } from './packing-source.ts';
import { encodeMember, endOfArchive, paddingAfter, plainMember } from './tar-encoding.ts';
import { encodeTree } from './tree-encoding.ts';

/** What to make an App Container Image of. */
export interface PackOptions {
  /** Path of the manifest (JSON). */
  readonly manifest: string;
  /** Path of the directory that becomes the root file system. */
  readonly rootfs: string;
  /** Path of the image to write. */
  readonly output: string;
  readonly compression: PackingCompression;
  readonly overwrite?: boolean;
}

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
    const archive = digested(archiveOf(manifest, rootfs), hash);
    await compress(archive, compression, write);
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
  yield encodeMember(plainMember('manifest', manifest.length));
  yield manifest;
  yield paddingAfter(manifest.length);
  yield* encodeTree(walkSource(rootfs, imagePacking));
  yield endOfArchive;
}
