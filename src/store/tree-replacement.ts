import { readFileSync, renameSync, rmSync } from 'node:fs';
import type { ImageId } from '../image/digest.ts';
import { RENAME, system } from '../system/binding.ts';
import { newUuid } from '../system/uuid.ts';
import { renameUnlessPresent } from './durable.ts';
import type { StoreLayout } from './layout.ts';
import type { RenderingNote } from './rendering.ts';
import { namesIn } from './staging.ts';
import { differenceBetween } from './tree-comparison.ts';

const AT_FDCWD = -100;

/** Between the image a replaced tree belonged to and what makes its name unique. */
const MARK = '.replaced-';

/**
 * Puts a freshly unpacked tree in its place. A tree that is there already stays if it is the same;
 * one that somebody changed gives way, and so does what was rendered from it, or an image would go on
 * running changed however often it is fetched and verified. `id` is the image's, or the name of a
 * layer's tree; the answer says whether something gave way. The caller holds the images' lock.
 */
export function placeTree(layout: StoreLayout, id: ImageId | string, fresh: string): boolean {
  const tree = layout.layer(id);
  if (renameUnlessPresent(fresh, tree)) return false;
  if (differenceBetween(fresh, tree) === undefined) return false;
  system.renameAt(AT_FDCWD, fresh, AT_FDCWD, tree, RENAME.exchange);
  setAside(layout, id, fresh);
  for (const name of namesIn(layout.layers)) {
    const images = name.startsWith('deps-') ? imagesOf(layout, name) : [];
    const top = images.at(-1);
    if (top === undefined || !images.includes(id)) continue;
    setAside(layout, top, layout.layer(name));
    rmSync(layout.note(name), { force: true });
  }
  return true;
}

/** The image whose pods may still have a replaced tree mounted; undefined for any other tree. */
export function replacedTreeOf(name: string): ImageId | undefined {
  const at = name.indexOf(MARK);
  return at < 0 ? undefined : name.slice(0, at);
}

/** Pods that run on a tree keep it: it is collected when no pod of the image is left. */
function setAside(layout: StoreLayout, id: ImageId, tree: string): void {
  renameSync(tree, layout.layer(`${id}${MARK}${newUuid()}`));
}

function imagesOf(layout: StoreLayout, rendered: string): readonly ImageId[] {
  if (rendered.endsWith('.json')) return [];
  try {
    const text = readFileSync(layout.note(rendered), 'utf8');
    return (JSON.parse(text) as RenderingNote).images;
  } catch {
    // A tree without a readable note is rendered again when it is wanted.
    return [];
  }
}
