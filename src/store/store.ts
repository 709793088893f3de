import { existsSync } from 'node:fs';
import type { Digest, ImageId } from '../image/digest.ts';
import type { Dependency } from '../image/image-manifest.ts';
import type { ImageNaming, ImageRecord } from '../image/image-record.ts';
import type { Reference } from '../image/reference.ts';
import type { UnpackLimits } from '../image/unpack-limits.ts';
import type { CollectOptions, CollectSummary, InUse } from './collect.ts';
import { ImageIndex } from './image-index.ts';
import { StoreLayout } from './layout.ts';
import { lockExclusively, type Pin, pinImages } from './locks.ts';
import { namingOf, renamed } from './naming.ts';
import type { ExportOptions, OutputOptions } from './output.ts';
import { showingTrees } from './overlay-marks.ts';
import type { Ingest } from './staged-image.ts';
import type { OciIngest } from './staged-oci-image.ts';

/** Finds the stored image a dependency means (appc spec/aci.md, Dependency Matching). */
export type DependencyFinder = (dependency: Dependency) => ImageRecord | undefined;

/**
 * The image store: blobs, records and layer trees below one directory (specs/store.md). Everything
 * that reads records is synchronous and loads nothing else; what unpacks, renders, checks or removes
 * is loaded when first asked for.
 */
export class Store {
  readonly dir: string;
  readonly layout: StoreLayout;
  readonly #index: ImageIndex;

  private constructor(dir: string) {
    this.dir = dir;
    this.layout = new StoreLayout(dir);
    this.#index = new ImageIndex(this.layout);
  }

  /** The store below `dir` (absolute). Nothing is read or made before it is needed. */
  static open(dir: string): Store {
    return new Store(dir);
  }

  /**
   * The stored image a reference means: by name every label asked for must be the image's, by URL it
   * must have come from there, in a registry the tag and the digest must be its own; the newest import
   * wins, and the record says the name it was found by. Paths and layouts are never found.
   * Throws `not-found` and `ambiguous` for an id prefix that means no image or several.
   */
  findImage(reference: Reference): ImageRecord | undefined {
    return this.#index.find(reference);
  }

  /** The record of exactly this image. */
  getImage(id: ImageId): ImageRecord | undefined {
    return this.#index.get(id);
  }

  /** Every record, oldest import first. */
  listImages(): ImageRecord[] {
    return this.#index.list();
  }

  /** When the image was last used (prepared, run, or fetched again). */
  lastUsed(record: ImageRecord): Date {
    return this.#index.lastUsed(record.id);
  }

  /** Marks the image as used now. */
  touch(record: ImageRecord): void {
    this.#index.touch(record.id);
  }

  /**
   * Replaces what the record says of where the image came from under its name, and who vouches for it;
   * other names stay as they are by now. False where the image was removed meanwhile.
   */
  async updateImage(record: ImageRecord): Promise<boolean> {
    using _turn = await lockExclusively(this.layout, 'records');
    using _pin = pinImages(this.layout);
    const current = this.#index.get(record.id);
    if (current === undefined) return false;
    this.#index.write(current.oci === undefined ? record : renamed(current, namingOf(record)));
    return true;
  }

  /**
   * Whether everything of an OCI image is there: its documents by their digests, its layers by what
   * receiving and `verifyImage` found of them.
   */
  async isWhole(record: ImageRecord): Promise<boolean> {
    const { isWhole } = await import('./wholeness.ts');
    return isWhole(this.layout, record);
  }

  /**
   * Keeps every image from being removed until disposed; held from finding an image until a pod
   * whose directory names it exists. A shared flock: cheap, and gone with the process.
   */
  pinImages(): Pin {
    return pinImages(this.layout);
  }

  /** Starts to receive an image. */
  async beginIngest(limits: UnpackLimits): Promise<Ingest> {
    const { beginIngest } = await import('./ingest.ts');
    return beginIngest(this.layout, limits);
  }

  /** Starts to receive an OCI image; `limits` are those of all its layers together. */
  async beginOciIngest(limits: UnpackLimits): Promise<OciIngest> {
    const { beginOciIngest } = await import('./oci-ingest.ts');
    return beginOciIngest(this.layout, limits);
  }

  /** Absolute: where the blob of this digest is, or would be. */
  blobPath(digest: Digest): string {
    return this.layout.blob(digest);
  }

  /** Whether the store has a blob of this digest. */
  hasBlob(digest: Digest): boolean {
    return existsSync(this.layout.blob(digest));
  }

  /**
   * The bytes of a blob, checked: what came is worthless if it throws in the end. A piece is only
   * valid until the next one is asked for. Throws `not-found`, and `store` for an altered blob.
   */
  async *openBlob(digest: Digest): AsyncIterable<Uint8Array> {
    const { readBlob } = await import('./blob-reading.ts');
    yield* readBlob(this.layout, digest);
  }

  /** Puts bytes among the blobs; what no record names, `imageGc` removes. */
  async addBlob(bytes: Uint8Array): Promise<Digest> {
    const { addBlob } = await import('./blob-reading.ts');
    return addBlob(this.layout, bytes);
  }

  /**
   * The absolute directories that, laid over each other, top first, are the image's root file
   * system. Of an OCI image those are its layers. Of an App Container image without dependencies and
   * path whitelist it is the image's own tree, answered at once; otherwise one tree rendered on first
   * use (appc spec/ace.md, Filesystem Setup).
   */
  async layerPaths(record: ImageRecord, dependencies: DependencyFinder): Promise<string[]> {
    const { manifest, oci } = record;
    if (oci !== undefined) {
      return showingTrees(oci.layers.map(({ tree }) => this.layout.layer(tree)).reverse());
    }
    if (manifest.dependencies.length === 0 && manifest.pathWhitelist.length === 0) {
      return [this.layout.layer(record.id)];
    }
    const { renderedLayer } = await import('./rendering.ts');
    return [await renderedLayer(this.layout, record, dependencies)];
  }

  /**
   * One absolute directory that shows what the image's trees (`layerPaths`) show laid over each other:
   * the one there is, or a tree made of several on first use. For what is executed from where it lies.
   */
  async singleTree(record: ImageRecord, trees: readonly string[]): Promise<string> {
    const [only, ...others] = trees;
    if (only !== undefined && others.length === 0) return only;
    const { flattenedTree } = await import('./flattening.ts');
    return await flattenedTree(this.layout, record, trees);
  }

  /**
   * Checks the blobs against their digests and the unpacked trees, entry by entry, against the blobs.
   * Throws `store` naming the first thing that differs; the layers of an OCI image that was altered count
   * as absent from then on, so that fetching it again brings them anew.
   */
  async verifyImage(record: ImageRecord): Promise<void> {
    const { verifyImage } = await import('./verification.ts');
    await verifyImage(this.layout, record);
  }

  /**
   * Writes the image to the file `path`, checking it on the way: an App Container image as an
   * uncompressed ACI, an OCI image as an archive of an OCI layout.
   */
  async exportImage(record: ImageRecord, path: string, options: ExportOptions): Promise<void> {
    const { exportImage } = await import('./export.ts');
    await exportImage(this.layout, record, path, options);
  }

  /** Unpacks the image alone, manifest and rootfs, into the directory `dir`. */
  async extractImage(record: ImageRecord, dir: string, options: OutputOptions): Promise<void> {
    const { extractImage } = await import('./extraction.ts');
    await extractImage(this.layout, record, dir, options);
  }

  /** Writes the image as a pod would see it, dependencies applied, into the directory `dir`. */
  async renderImage(
    record: ImageRecord,
    dir: string,
    options: OutputOptions & { readonly dependencies: DependencyFinder },
  ): Promise<void> {
    const { renderImage } = await import('./extraction.ts');
    await renderImage(this.layout, record, dir, options);
  }

  /**
   * Removes the image's record, and its blob and tree unless something else needs them: `inUse`
   * names the images of existing pods, and their trees, which stay until `imageGc` finds them unused.
   */
  async removeImage(id: ImageId, inUse: InUse = new Set()): Promise<void> {
    const { removeImage } = await import('./collect.ts');
    await removeImage(this.layout, this.#index, id, inUse);
  }

  /**
   * Removes one name of an image, and with the last one the image, as `removeImage` does. Answers
   * whether that was so. Throws `not-found` where the image has no such name.
   */
  async removeName(id: ImageId, name: ImageNaming, inUse: InUse = new Set()): Promise<boolean> {
    const { removeName } = await import('./collect.ts');
    return removeName(this.layout, this.#index, { id, name, inUse });
  }

  /**
   * Removes images no pod uses and nobody used for the grace period, trees and blobs no record
   * names, and what broken-off work left behind.
   */
  async imageGc(options: CollectOptions): Promise<CollectSummary> {
    const { collectImages } = await import('./collect.ts');
    return collectImages(this.layout, this.#index, options);
  }
}
