import { symlinkSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { GantryError } from '../error.ts';
import { displayName, type ImageRecord } from '../image/image-record.ts';
import { type Flavour, openFlavour } from '../stage1/flavour.ts';
import type { DependencyFinder } from '../store/store.ts';
import { layersOf } from './image-layers.ts';
import { requirePlatform } from './platform.ts';
import type { Pod } from './pod.ts';
import type { RecordedStage1 } from './record.ts';
import type { PrepareContext } from './request.ts';

/** What isolates a pod, found and looked at. */
export interface PodStage1 {
  readonly flavour: Flavour;
  /** The image it comes from, where it is one. */
  readonly image?: ImageRecord;
  /** Absolute: the trees of the store it lies in, for image gc to keep. */
  readonly trees: readonly string[];
}

/**
 * Opens the stage1 of a pod to be. A directory has been found sound when it was chosen; of an image it is what the image's root holds: the tree of its one
 * layer as it lies in the store, or one tree made of several on first use. The caller holds the store's
 * image pin, and has asked about trust.
 * @throws GantryError `launch` for one that cannot be used, `unsupported` for another machine's image
 */
export async function openStage1(
  context: PrepareContext,
  find: DependencyFinder,
): Promise<PodStage1> {
  const { stage1Dir, stage1Image: image, store } = context;
  if (image === undefined) {
    if (stage1Dir === undefined) throw new GantryError('internal', 'no stage1 was chosen');
    const flavour = openFlavour(stage1Dir);
    flavour.entryPoint('run');
    flavour.entryPoint('gc');
    return { flavour, trees: [] };
  }
  requirePlatform(image.manifest);
  const trees = await layersOf(store, image, find);
  const tree = await store.singleTree(image, trees);
  const flavour = openFlavour(tree, `image ${displayName(image)}`);
  flavour.requireSound({ above: false });
  return { flavour, image, trees: [...trees, tree] };
}

/**
 * Links the pod to its stage1, and notes the programs for the front, which reads no JSON
 * (specs/lifecycle.md, `entrypoints`).
 */
export function placeStage1(pod: Pod, { flavour, image }: PodStage1): void {
  // A tree of the store lies as far from every phase.
  const { directory } = flavour;
  const target = image === undefined ? directory : relative(pod.dir, directory);
  symlinkSync(target, join(pod.dir, 'stage1'));
  const lines = [...flavour.programs].map(([entry, program]) => `${entry} ${program}\n`);
  writeFileSync(join(pod.dir, 'entrypoints'), lines.join(''), { mode: 0o640, flag: 'wx' });
}

/** What the pod's record says of its stage1. */
export function recordedStage1({ flavour, image }: PodStage1): RecordedStage1 {
  if (image === undefined) return { name: flavour.name };
  const { id, provenance } = image;
  return { name: flavour.name, imageId: id, imageName: displayName(image), provenance };
}
