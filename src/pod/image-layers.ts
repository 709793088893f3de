import { statSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { GantryError } from '../error.ts';
import type { ImageId } from '../image/digest.ts';
import type { ImageRecord } from '../image/image-record.ts';
import type { DependencyFinder, Store } from '../store/store.ts';
import { dependencyFinder } from '../store/wish-lookup.ts';

/**
 * Finds each dependency once and keeps to it: the images asked about trust must be those the pod is
 * made of, though another of the same name may be stored meanwhile.
 */
export function settledFinder(store: Store): DependencyFinder {
  const find = dependencyFinder(store);
  const settled = new Map<string, ImageRecord | undefined>();
  return (dependency) => {
    const key = JSON.stringify(dependency);
    if (!settled.has(key)) settled.set(key, find(dependency));
    return settled.get(key);
  };
}

/**
 * An image and every image it depends on, however indirectly.
 * @throws GantryError `not-found` for a dependency that is not stored
 */
export function imagesOf(record: ImageRecord, find: DependencyFinder): ImageRecord[] {
  const images = new Map<ImageId, ImageRecord>();
  const pending = [record];
  for (let image = pending.pop(); image !== undefined; image = pending.pop()) {
    if (images.has(image.id)) continue;
    images.set(image.id, image);
    for (const dependency of image.manifest.dependencies) {
      const found = find(dependency);
      if (found === undefined) {
        throw new GantryError(
          'not-found',
          `image ${image.name}: its dependency ${dependency.imageName} is not in the store: fetch ${image.name} again`,
        );
      }
      pending.push(found);
    }
  }
  return [...images.values()];
}

/**
 * The absolute directories an image's root file system is made of, top first.
 * @throws GantryError `not-found` for an image that was removed meanwhile, `launch` for one of no layers
 */
export async function layersOf(
  store: Store,
  record: ImageRecord,
  find: DependencyFinder,
): Promise<string[]> {
  const layers = await store.layerPaths(record, find);
  if (layers.length === 0) {
    throw new GantryError('launch', `image ${record.name} has no layers: there is nothing to run`);
  }
  for (const layer of layers) {
    if (statSync(layer, { throwIfNoEntry: false }) === undefined) {
      throw new GantryError(
        'not-found',
        `image ${record.name} has been removed from the store meanwhile: fetch it again`,
      );
    }
  }
  return layers;
}

/** The names of those layers that are trees of the store, for image gc to keep. */
export function treesOf(store: Store, layers: readonly string[]): string[] {
  const trees = layers.filter((layer) => dirname(layer) === store.layout.layers);
  return [...new Set(trees.map((layer) => basename(layer)))];
}
