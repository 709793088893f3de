import { existsSync } from 'node:fs';
import { GantryError } from '../error.ts';
import type { ImageRecord } from '../image/image-record.ts';
import { storeFailure } from './failure.ts';
import type { StoreLayout } from './layout.ts';
import { Staging } from './staging.ts';
import { unpackStored } from './stored-blob.ts';
import { differenceBetween } from './tree-comparison.ts';

/**
 * Checks a stored image: the blob against its digest and the image ID, then the tree against what
 * the blob unpacks to. It is unpacked once more for that, so that no list of digests has to be kept
 * and trusted. Throws `store` naming the first difference.
 */
export async function verifyImage(layout: StoreLayout, record: ImageRecord): Promise<void> {
  const tree = layout.layer(record.id);
  let staging: Staging | undefined;
  try {
    staging = Staging.open(layout.staging);
    const fresh = staging.path('rootfs');
    await unpackStored(layout, record, fresh);
    const difference = existsSync(tree) ? differenceBetween(fresh, tree) : `${tree} is missing`;
    if (difference !== undefined) {
      throw new GantryError(
        'store',
        `tree cache verification failed for image ${record.id}: ${difference}; remove the image and fetch it again`,
      );
    }
  } catch (error) {
    throw storeFailure(layout.dir, 'verify the image', error);
  } finally {
    staging?.discard();
  }
}
