import { statSync } from 'node:fs';
import { storedSize } from './blob-reading.ts';
import { type LayerNote, layerTreeName, readLayerNote, vouchesFor } from './layer-note.ts';
import type { StoreLayout } from './layout.ts';
import type { LayerOrder } from './staged-oci-image.ts';

/** A layer that is in the store. */
export interface StoredLayerTree {
  readonly order: LayerOrder;
  /** Absolute. */
  readonly tree: string;
  readonly note: LayerNote;
}

/**
 * A layer in the store, blob and tree; undefined where a part is missing, or where it is not known
 * that this blob unpacks to this tree: a manifest may claim any diff id for a layer others brought.
 */
export function storedLayer(layout: StoreLayout, order: LayerOrder): StoredLayerTree | undefined {
  const name = layerTreeName(order.diffId);
  const tree = layout.layer(name);
  const note = readLayerNote(layout, name);
  if (note === undefined || !vouchesFor(note, order) || !isThere(tree)) return undefined;
  const { digest, size } = order.descriptor;
  return storedSize(layout, digest) === size ? { order, tree, note } : undefined;
}

/** Whether a layer is in the store and need not be received. */
export function isLayerStored(layout: StoreLayout, order: LayerOrder): boolean {
  return storedLayer(layout, order) !== undefined;
}

function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}
