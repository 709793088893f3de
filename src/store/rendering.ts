import { existsSync, utimesSync } from 'node:fs';
import { errnoOf } from '../error.ts';
import type { ImageId } from '../image/digest.ts';
import type { Dependency } from '../image/image-manifest.ts';
import type { ImageRecord } from '../image/image-record.ts';
import {
  makeDirectory,
  renameUnlessPresent,
  syncDirectory,
  writeFileAtomically,
} from './durable.ts';
import { storeFailure } from './failure.ts';
import type { StoreLayout } from './layout.ts';
import { lockExclusively } from './locks.ts';
import { renderingId, renderSteps } from './render-order.ts';
import { Staging } from './staging.ts';
import { mergeTrees } from './tree-merging.ts';

/** What lies beside a rendered tree; the time of its last change is when the tree was last used. */
export interface RenderingNote {
  readonly version: 1;
  /** Lowest first; the last is the image the tree was rendered for. */
  readonly images: readonly ImageId[];
}

/**
 * The tree of an image with its dependencies and path whitelist applied, rendered when it is not
 * there yet.
 */
export async function renderedLayer(
  layout: StoreLayout,
  record: ImageRecord,
  dependencies: (dependency: Dependency) => ImageRecord | undefined,
): Promise<string> {
  const steps = renderSteps(record, dependencies);
  const layers = steps.map(({ record: image, whitelists }) => ({
    tree: layout.layer(image.id),
    whitelists,
  }));
  const images = steps.map(({ record: image }) => image.id);
  const kept = { id: renderingId(steps), images };
  return await keptTree(layout, kept, (to) => mergeTrees(layers, to));
}

/** A tree that is made of images, of which collecting knows by its note. */
interface KeptTree {
  /** Begins with `deps-`. */
  readonly id: string;
  /** Lowest first; the last is the image the tree is for. */
  readonly images: readonly ImageId[];
}

/**
 * The absolute path of a tree, made by `make` when it is not there yet. Two processes making the same one
 * wait for each other; broken off, it leaves nothing but what collecting removes.
 * @param make writes the tree to a path that does not exist
 */
export async function keptTree(
  layout: StoreLayout,
  kept: KeptTree,
  make: (to: string) => void,
): Promise<string> {
  const tree = layout.layer(kept.id);
  if (!existsSync(tree)) {
    using _lock = await lockExclusively(layout, kept.id);
    if (!existsSync(tree)) render(layout, kept, make);
  }
  markUsed(layout.note(kept.id));
  return tree;
}

function markUsed(note: string): void {
  const now = new Date();
  try {
    utimesSync(note, now, now);
  } catch (error) {
    // Without its note the tree is collected once no pod uses it, and rendered again when wanted.
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}

function render(layout: StoreLayout, { id, images }: KeptTree, make: (to: string) => void): void {
  let staging: Staging | undefined;
  try {
    makeDirectory(layout.layers);
    staging = Staging.open(layout.staging);
    make(staging.path('rootfs'));
    staging.sync();
    const note: RenderingNote = { version: 1, images };
    // The note first: a tree is never there without it, and a note alone is collected.
    writeFileAtomically(layout.note(id), `${JSON.stringify(note)}\n`, 0o640);
    renameUnlessPresent(staging.path('rootfs'), layout.layer(id));
    syncDirectory(layout.layers);
  } catch (error) {
    throw storeFailure(layout.dir, 'render the image', error);
  } finally {
    staging?.discard();
  }
}
