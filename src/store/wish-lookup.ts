import { GantryError } from '../error.ts';
import type { ImageRecord } from '../image/image-record.ts';
import {
  completeLabels,
  isGranted,
  referenceOf,
  type Wish,
  wishOfDependency,
} from '../image/wish.ts';
import type { DependencyFinder, Store } from './store.ts';

/**
 * The stored image a wish means: one made for this machine, else one that does not say for which
 * machine it is.
 */
export function findByWish(store: Store, wish: Wish): ImageRecord | undefined {
  if (wish.imageId !== undefined) {
    const record = findById(store, wish.imageId);
    return record !== undefined && isGranted(wish, record.manifest, record.id) ? record : undefined;
  }
  for (const labels of [completeLabels(wish), wish.labels]) {
    const record = store.findImage(referenceOf({ ...wish, labels }));
    if (record !== undefined && isGranted(wish, record.manifest, record.id)) return record;
  }
  return undefined;
}

/** Finds dependencies in the store; undefined for one that is not there. */
export function dependencyFinder(store: Store): DependencyFinder {
  return (dependency) => findByWish(store, wishOfDependency(dependency));
}

function findById(store: Store, prefix: string): ImageRecord | undefined {
  try {
    return store.findImage({ kind: 'id', text: prefix, prefix });
  } catch (error) {
    if (error instanceof GantryError && error.code === 'not-found') return undefined;
    throw error;
  }
}
