import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ImageRecord, ImageSource } from '../../src/image/image-record.ts';
import type { UnpackLimits } from '../../src/image/unpack-limits.ts';
import type { StagedImage } from '../../src/store/staged-image.ts';
import { Store } from '../../src/store/store.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { aciOf, type Member, wideLimits } from '../unit/store/image-archive.ts';

/** An empty store that goes with the test. */
export function emptyStore(): Store {
  return Store.open(join(temporaryDirectory(), 'store'));
}

/** Receives an image as a fetch would, up to where its signature would be judged. */
export async function stage(
  store: Store,
  bytes: Uint8Array,
  limits: UnpackLimits = wideLimits,
): Promise<StagedImage> {
  const ingest = await store.beginIngest(limits);
  try {
    for (let at = 0; at < bytes.length; at += 50_000) {
      await ingest.write(bytes.subarray(at, at + 50_000));
    }
  } catch (error) {
    await ingest.abort();
    throw error;
  }
  return ingest.finish();
}

/** Receives and commits an image. */
export async function importImage(
  store: Store,
  bytes: Uint8Array,
  source: ImageSource = {},
): Promise<ImageRecord> {
  const staged = await stage(store, bytes);
  return staged.commit({ source, provenance: { kind: 'unverified', reason: 'a test' } });
}

/** Unpacks members into a store and answers the root directory. */
export async function unpack(members: readonly Member[]): Promise<string> {
  const store = emptyStore();
  const record = await importImage(store, aciOf(members));
  return store.layout.layer(record.id);
}

/** Every path below a directory, sorted. */
export function pathsBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true }).map(String).sort();
}

/** What of an image a store holds, staging included; empty folders of the store itself left out. */
export function contentsOf(store: Store): string[] {
  const folders = new Set([
    'images',
    'layers',
    'blobs',
    'blobs/sha512',
    'blobs/sha256',
    'staging',
    'locks',
  ]);
  return pathsBelow(store.dir).filter((path) => !folders.has(path) && !path.startsWith('locks/'));
}
