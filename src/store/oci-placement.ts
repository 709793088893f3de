import { chmodSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Digest } from '../image/digest.ts';
import type { ImageRecord } from '../image/image-record.ts';
import { makeDirectory, syncDirectory } from './durable.ts';
import {
  baseOfVariant,
  type ComposedLayer,
  type VariantNote,
  writeVariant,
} from './layer-composition.ts';
import type { ReceivedLayer } from './layer-intake.ts';
import { layerTreeName, noteMode, noteText, readLayerNote, withBlob } from './layer-note.ts';
import type { StoreLayout } from './layout.ts';
import { namesIn } from './staging.ts';
import { placeTree } from './tree-replacement.ts';

/** An image whole in staging, about to be seen. */
export interface Placement {
  readonly layers: readonly ReceivedLayer[];
  /** Every layer as it is used; those with a variant were written for this image. */
  readonly variants: readonly ComposedLayer[];
  readonly documents: readonly { readonly digest: Digest; readonly path: string }[];
  readonly record: ImageRecord;
  /** Where the record lies. */
  readonly recordPath: string;
  /** A path for something new in staging. */
  newPlace(): string;
  /** Puts everything in staging on disk. */
  sync(): void;
}

/** A note in staging. */
interface WrittenNote {
  /** Of the tree it will lie beside. */
  readonly name: string;
  readonly path: string;
}

/**
 * Moves an image into place: trees, then blobs, the record last, so that what a crash leaves without
 * a record is collected. The caller holds the images' lock.
 */
export function placeOciImage(layout: StoreLayout, placement: Placement): void {
  const blobs = [
    ...placement.layers.map(({ order, blob }) => ({ digest: order.descriptor.digest, path: blob })),
    ...placement.documents,
  ];
  // What needs space is written before anything can be seen: then a full disk leaves nothing.
  for (const directory of [layout.images, layout.layers]) makeDirectory(directory);
  for (const { digest } of blobs) makeDirectory(dirname(layout.blob(digest)));
  const notes = new Map(
    [...layerNotes(layout, placement), ...variantNotes(placement)].map(({ name, path }) => [
      name,
      path,
    ]),
  );
  // Once for all: a syncfs for each layer would wait for the others' half-written files too.
  placement.sync();
  for (const { order, tree } of placement.layers) {
    placeLayer(layout, layerTreeName(order.diffId), tree, placement.newPlace);
  }
  for (const { name, tree, variant } of placement.variants) {
    if (variant !== undefined) placeTree(layout, name, tree);
  }
  // A layer without a note counts as absent, so that a crash before has it received, and what is there
  // already compared with it, once more.
  for (const [name, path] of notes) renameSync(path, layout.note(name));
  syncDirectory(layout.layers);
  placeBlobs(layout, blobs);
  renameSync(placement.recordPath, layout.record(placement.record.id));
  syncDirectory(layout.images);
}

function layerNotes(layout: StoreLayout, { layers, newPlace }: Placement): WrittenNote[] {
  return layers.map(({ order, note }) => {
    const name = layerTreeName(order.diffId);
    const known = readLayerNote(layout, name) ?? note;
    return writeNote(name, withBlob(known, order.descriptor.digest), newPlace());
  });
}

function variantNotes({ variants, newPlace }: Placement): WrittenNote[] {
  return variants.flatMap(({ name, variant }) =>
    variant === undefined ? [] : writeNote(name, variant, newPlace()),
  );
}

function writeNote(name: string, note: object, path: string): WrittenNote {
  writeFileSync(path, noteText(note), { flag: 'wx', mode: noteMode });
  return { name, path };
}

function placeLayer(
  layout: StoreLayout,
  name: string,
  tree: string,
  replacement: () => string,
): void {
  const stood = existsSync(layout.layer(name));
  placeTree(layout, name, tree);
  if (stood) renewVariants(layout, name, replacement);
}

/** Where somebody changed a tree that stood, what was made of it shares the changed files. */
function renewVariants(layout: StoreLayout, base: string, replacement: () => string): void {
  for (const file of namesIn(layout.layers)) {
    const name = /^(diff-.*)\.json$/.exec(file)?.[1];
    if (name === undefined || name === base || baseOfVariant(name) !== base) continue;
    const note = JSON.parse(readFileSync(layout.note(name), 'utf8')) as VariantNote;
    const fresh = replacement();
    writeVariant(layout.layer(base), note, fresh);
    placeTree(layout, name, fresh);
  }
}

function placeBlobs(
  layout: StoreLayout,
  blobs: readonly { readonly digest: Digest; readonly path: string }[],
): void {
  const directories = new Set<string>();
  for (const { digest, path } of blobs) {
    const to = layout.blob(digest);
    directories.add(dirname(to));
    chmodSync(path, 0o440);
    renameSync(path, to);
  }
  for (const directory of directories) syncDirectory(directory);
}
