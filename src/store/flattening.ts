import type { ImageRecord } from '../image/image-record.ts';
import type { StoreLayout } from './layout.ts';
import { treeName } from './render-order.ts';
import { keptTree } from './rendering.ts';
import { flattenLayers } from './tree-copy.ts';

/**
 * One tree that shows what several show laid over each other, made when it is not there yet. It is kept
 * as rendered trees are: while a pod uses the image, and until nobody has used it for a while.
 * @param trees absolute, top first
 */
export async function flattenedTree(
  layout: StoreLayout,
  record: ImageRecord,
  trees: readonly string[],
): Promise<string> {
  const id = treeName([
    'flat',
    record.id,
    ...trees.map((tree) => tree.slice(layout.layers.length)),
  ]);
  return await keptTree(layout, { id, images: [record.id] }, (to) => flattenLayers(trees, to));
}
