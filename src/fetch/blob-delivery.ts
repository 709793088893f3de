import { createHash } from 'node:crypto';
import { GantryError } from '../error.ts';
import { formatDigest } from '../image/digest.ts';
import type { Descriptor } from '../image/oci-manifest.ts';
import type { DownloadTarget } from './download.ts';

/** What a blob has to turn out to be. */
type Expected = Pick<Descriptor, 'digest' | 'size'>;

/** Bytes that are at hand, as content. */
export async function* onePiece(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

/** Hands content that is on this machine to whoever receives it, no faster than that is taken. */
export async function deliver(
  content: AsyncIterable<Uint8Array>,
  expected: Expected,
  target: DownloadTarget,
): Promise<void> {
  for await (const { buffer, byteOffset, length } of verified(content, expected)) {
    await target.write(Buffer.from(buffer, byteOffset, length));
  }
}

/**
 * A small blob, whole and checked.
 * @param limit in bytes
 * @throws GantryError `invalid-archive` for what is larger, or is not what its digest says
 */
export async function requireDocument(
  content: AsyncIterable<Uint8Array>,
  expected: Expected,
  limit: number,
): Promise<Uint8Array> {
  if (expected.size > limit) {
    throw refused(expected, `it has ${expected.size} bytes, and only ${limit} are taken`);
  }
  const pieces: Buffer[] = [];
  for await (const piece of verified(content, expected)) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

/**
 * The same pieces, and an error in place of their end where they were not what the descriptor says
 * (image-spec descriptor.md, "Verification"); more than its size is never handed on.
 * @throws GantryError `invalid-archive`
 */
export async function* verified<Piece extends Uint8Array>(
  content: AsyncIterable<Piece>,
  expected: Expected,
): AsyncIterable<Piece> {
  const hash = createHash(expected.digest.algorithm);
  let size = 0;
  for await (const piece of content) {
    size += piece.length;
    if (size > expected.size) throw refused(expected, `it is longer than ${expected.size} bytes`);
    hash.update(piece);
    yield piece;
  }
  if (size < expected.size) {
    throw refused(expected, `it has ${size} bytes, not ${expected.size}`);
  }
  const hex = hash.digest('hex');
  if (hex !== expected.digest.hex) {
    throw refused(expected, `what came has the digest ${expected.digest.algorithm}:${hex}`);
  }
}

function refused({ digest }: Expected, why: string): GantryError {
  return new GantryError('invalid-archive', `blob ${formatDigest(digest)}: ${why}`);
}
