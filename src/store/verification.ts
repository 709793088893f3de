import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { GantryError } from '../error.ts';
import type { ImageRecord } from '../image/image-record.ts';
import { storeFailure } from './failure.ts';
import { layerTreeName } from './layer-note.ts';
import type { StoreLayout } from './layout.ts';
import { type FreshLayer, unpackStoredLayers } from './oci-unpacking.ts';
import { Staging } from './staging.ts';
import { unpackStored } from './stored-blob.ts';
import { differenceBetween } from './tree-comparison.ts';

/**
 * Checks a stored image: the blobs against their digests and the image ID, then the trees against what
 * the blobs unpack to. They are unpacked once more for that, so that no list of digests has to be kept
 * and trusted. Throws `store` naming the first difference.
 */
export async function verifyImage(layout: StoreLayout, record: ImageRecord): Promise<void> {
  let staging: Staging | undefined;
  try {
    staging = Staging.open(layout.staging);
    for (const { name, tree } of await unpackAfresh(layout, record, staging.dir)) {
      const stored = layout.layer(name);
      const difference = existsSync(stored)
        ? differenceBetween(tree, stored)
        : `${stored} is missing`;
      if (difference !== undefined) throw altered(record, difference);
    }
  } catch (error) {
    if (error instanceof GantryError && error.code === 'store') distrustLayers(layout, record);
    throw storeFailure(layout.dir, 'verify the image', error);
  } finally {
    staging?.discard();
  }
}

/** The trees the image should have, by the names it has them under. */
async function unpackAfresh(
  layout: StoreLayout,
  record: ImageRecord,
  directory: string,
): Promise<FreshLayer[]> {
  if (record.oci !== undefined) {
    return unpackStoredLayers(layout, record, record.oci, directory);
  }
  const tree = join(directory, 'rootfs');
  await unpackStored(layout, record, tree);
  return [{ name: record.id, tree }];
}

/**
 * Other images may share the layers, so that removing this one would leave them: without their notes
 * they count as absent, and whoever fetches an image of them next puts them right for all.
 */
function distrustLayers(layout: StoreLayout, { oci }: ImageRecord): void {
  for (const { diffId } of oci?.layers ?? []) {
    rmSync(layout.note(layerTreeName(diffId)), { force: true });
  }
}

function altered(record: ImageRecord, difference: string): GantryError {
  const remedy =
    record.oci === undefined ? 'remove the image and fetch it again' : 'fetch it again';
  return new GantryError(
    'store',
    `tree cache verification failed for image ${record.id}: ${difference}; ${remedy}`,
  );
}
