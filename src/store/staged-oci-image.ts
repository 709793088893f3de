import type { Digest } from '../image/digest.ts';
import type { ImageManifest } from '../image/image-manifest.ts';
import type { ImageNaming, ImageRecord } from '../image/image-record.ts';
import type { Descriptor } from '../image/oci-manifest.ts';

/** A layer that is to be received. */
export interface LayerOrder {
  readonly descriptor: Descriptor;
  /** What its uncompressed bytes must hash to (image-spec config.md, "Layer DiffID"). */
  readonly diffId: Digest;
}

/** One layer being received: its bytes go in as they come, in order. Fits fetch's `DownloadTarget`. */
export interface LayerIntake {
  /** As `Ingest.write`: await what it answers before the next call. */
  write(chunk: Uint8Array): void | Promise<void>;
  /** The first byte comes again: forget what came so far. */
  restart(): Promise<void>;
  /**
   * Says that all bytes came. Everything is on disk when this answers, but not in the store yet.
   * Throws `invalid-archive` when size, digest or diff id differ from the order, or for what cannot be
   * unpacked.
   */
  finish(): Promise<void>;
  /** Gives up; nothing of the layer is kept. Harmless when repeated, or after `finish`. */
  abort(): Promise<void>;
}

/** What the committer knows of an OCI image. */
export interface OciFacts {
  readonly manifest: Descriptor;
  readonly index?: Descriptor | undefined;
  readonly config: Descriptor;
  /** Lowest first; each was received, or was stored already. */
  readonly layers: readonly LayerOrder[];
  /** The configuration in appc's terms. */
  readonly appc: ImageManifest;
  readonly naming: Omit<ImageNaming, 'importedAt'>;
}

/**
 * An OCI image being received: its documents and layers in any order, several layers at once. Nothing
 * can be seen before `commit`, and nothing stays after `abort`.
 */
export interface OciIngest {
  /**
   * Takes a manifest, index, configuration or signature whole.
   * Throws `invalid-archive` where size or digest differ.
   */
  addDocument(descriptor: Pick<Descriptor, 'digest' | 'size'>, bytes: Uint8Array): void;
  /** Starts what unpacks so many layers at once, ahead of their first bytes. */
  makeReady(layers: number): void;
  /** Whether the layer is in the store already, blob and tree, and need not be received. */
  hasLayer(order: LayerOrder): boolean;
  /** Starts to receive a layer. */
  openLayer(order: LayerOrder): LayerIntake;
  /**
   * Makes the image part of the store: layers that nobody has yet, documents, the record. An image
   * that is there already gets the name beside those it has.
   * Throws `invalid-archive` where the layers cannot lie over each other in this order; `busy` when a
   * stored layer was removed meanwhile (then fetch again); `store`.
   */
  commit(facts: OciFacts): Promise<ImageRecord>;
  /** Gives up: nothing is kept. Harmless after `commit`, or twice. */
  abort(): Promise<void>;
}
