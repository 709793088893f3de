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
import { type RenderStep, renderingId, renderSteps } from './render-order.ts';
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
 * there yet. Two processes rendering the same one wait for each other.
 */
export async function renderedLayer(
  layout: StoreLayout,
  record: ImageRecord,
  dependencies: (dependency: Dependency) => ImageRecord | undefined,
): Promise<string> {
  const steps = renderSteps(record, dependencies);
  const id = renderingId(steps);
  const tree = layout.layer(id);
  if (!existsSync(tree)) {
    using _lock = await lockExclusively(layout, id);
    if (!existsSync(tree)) render(layout, steps, id);
  }
  markUsed(layout.note(id));
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

function render(layout: StoreLayout, steps: readonly RenderStep[], id: string): void {
  let staging: Staging | undefined;
  try {
    makeDirectory(layout.layers);
    staging = Staging.open(layout.staging);
    const layers = steps.map(({ record, whitelists }) => ({
      tree: layout.layer(record.id),
      whitelists,
    }));
    mergeTrees(layers, staging.path('rootfs'));
    staging.sync();
    const note: RenderingNote = { version: 1, images: steps.map(({ record }) => record.id) };
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
