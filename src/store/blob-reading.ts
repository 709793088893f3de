import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf, GantryError } from '../error.ts';
import { type Digest, formatDigest } from '../image/digest.ts';
import { digestOf } from './digest-of.ts';
import { makeDirectory, writeFileAtomically } from './durable.ts';
import { storeFailure } from './failure.ts';
import type { StoreLayout } from './layout.ts';

const readSize = 256 * 1024;

/**
 * The bytes of a stored blob, in pieces that are the taker's until the next is asked for. The digest
 * is checked on the way, so what was handed on is worthless if this throws in the end.
 * Throws `not-found` for a blob that is not there, `store` for one that is not what was stored.
 */
export async function* readBlob(layout: StoreLayout, digest: Digest): AsyncIterable<Buffer> {
  const path = layout.blob(digest);
  const hash = createHash(digest.algorithm);
  for await (const piece of piecesOf(openBlobFile(layout, digest))) {
    hash.update(piece);
    yield piece;
  }
  if (hash.digest('hex') === digest.hex) return;
  throw new GantryError(
    'store',
    `the blob ${path} is not what was stored: its digest differs; fetch its image again`,
  );
}

/** The size of a blob's file in bytes; undefined where the store has none. */
export function storedSize(layout: StoreLayout, digest: Digest): number | undefined {
  return statSync(layout.blob(digest), { throwIfNoEntry: false })?.size;
}

/** A small blob whole, such as a manifest; see `readBlob`. */
export async function readWholeBlob(layout: StoreLayout, digest: Digest): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of readBlob(layout, digest)) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

/** Puts bytes among the blobs, and answers what they are called there. Throws `store`. */
export function addBlob(layout: StoreLayout, bytes: Uint8Array): Digest {
  const digest = digestOf(bytes);
  const path = layout.blob(digest);
  try {
    makeDirectory(dirname(path));
    writeFileAtomically(path, bytes, 0o440);
  } catch (error) {
    throw storeFailure(layout.dir, 'store a blob', error);
  }
  return digest;
}

/** The pieces of an open file, which is closed after them. */
export async function* piecesOf(fd: number): AsyncIterable<Buffer> {
  try {
    for (;;) {
      const buffer = Buffer.allocUnsafeSlow(readSize);
      const piece = buffer.subarray(0, readSync(fd, buffer));
      if (piece.length === 0) return;
      yield piece;
    }
  } finally {
    closeSync(fd);
  }
}

function openBlobFile(layout: StoreLayout, digest: Digest): number {
  try {
    return openSync(layout.blob(digest), 'r');
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw storeFailure(layout.dir, 'read a blob', error);
    throw new GantryError('not-found', `the store has no blob ${formatDigest(digest)}`, {
      cause: error,
    });
  }
}
