import { readFileSync } from 'node:fs';
import { errnoOf, GantryError } from '../error.ts';
import { type Digest, formatDigest } from '../image/digest.ts';
import type { StoreLayout } from './layout.ts';
import type { LayerOrder } from './staged-oci-image.ts';

/** What lies beside a layer's tree: `layers/<tree>.json`. */
export interface LayerNote {
  readonly version: 1;
  /** Bytes of the uncompressed layer. */
  readonly size: number;
  /** Entries of its archive, and what was made besides. */
  readonly entries: number;
  /** See `UnpackedLayer`. */
  readonly unmentioned: readonly string[];
  /** The blobs known to unpack to this very tree, as OCI writes digests. */
  readonly blobs: readonly string[];
}

export const noteMode = 0o640;

/** The name of the tree below `layers/` that a layer of this diff id unpacks to. */
export function layerTreeName({ algorithm, hex }: Digest): string {
  return `diff-${algorithm}-${hex}`;
}

/** Whether a tree below `layers/` is a layer's, or a variant of one. */
export function isLayerTree(name: string): boolean {
  return name.startsWith('diff-');
}

/** The note beside a layer's tree; undefined where there is none that can be used. */
export function readLayerNote(layout: StoreLayout, tree: string): LayerNote | undefined {
  try {
    const note = JSON.parse(readFileSync(layout.note(tree), 'utf8')) as Partial<LayerNote>;
    const whole =
      note.version === 1 && Array.isArray(note.unmentioned) && Array.isArray(note.blobs);
    return whole ? (note as LayerNote) : undefined;
  } catch (error) {
    // Without its note a layer counts as absent, and is fetched again.
    if (error instanceof SyntaxError || errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** A note that also says that `blob` unpacks to the tree. */
export function withBlob(note: LayerNote, blob: Digest): LayerNote {
  const text = formatDigest(blob);
  return note.blobs.includes(text) ? note : { ...note, blobs: [...note.blobs, text] };
}

/** Whether the blob of the order is known to unpack to the tree beside the note. */
export function vouchesFor(note: LayerNote, { descriptor }: LayerOrder): boolean {
  return note.blobs.includes(formatDigest(descriptor.digest));
}

/** A note as it is stored. */
export function noteText(note: object): string {
  return `${JSON.stringify(note)}\n`;
}

/** What is said of a layer that does not do; the layer is named by its digest. */
export function refusedLayer(
  { descriptor }: LayerOrder,
  why: string,
  cause?: unknown,
): GantryError {
  const options = cause === undefined ? {} : { cause };
  return new GantryError(
    'invalid-archive',
    `layer ${formatDigest(descriptor.digest)}: ${why}`,
    options,
  );
}
