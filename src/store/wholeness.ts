import { existsSync } from 'node:fs';
import { GantryError } from '../error.ts';
import type { ImageRecord } from '../image/image-record.ts';
import { readWholeBlob } from './blob-reading.ts';
import type { StoreLayout } from './layout.ts';
import { documentsOf } from './record-blobs.ts';
import { isLayerStored } from './stored-layer.ts';

/** See `Store.isWhole`. Documents are read, layers only looked up: those `verifyImage` unpacks anew. */
export async function isWhole(layout: StoreLayout, record: ImageRecord): Promise<boolean> {
  const layers = record.oci?.layers ?? [];
  const present = layers.every(
    (layer) => isLayerStored(layout, layer) && existsSync(layout.layer(layer.tree)),
  );
  if (!present) return false;
  try {
    for (const digest of documentsOf(record)) await readWholeBlob(layout, digest);
    return true;
  } catch (error) {
    if (error instanceof GantryError && (error.code === 'store' || error.code === 'not-found')) {
      return false;
    }
    throw error;
  }
}
