import type { ImageId } from '../image/digest.ts';
import type { Dependency } from '../image/image-manifest.ts';
import type { ImageRecord } from '../image/image-record.ts';
import type { Reference } from '../image/reference.ts';
import type { UnpackLimits } from '../image/unpack-limits.ts';
import type { CollectOptions, CollectSummary } from './collect.ts';
import { ImageIndex } from './image-index.ts';
import { StoreLayout } from './layout.ts';
import { type Pin, pinImages } from './locks.ts';
import type { ExportOptions, OutputOptions } from './output.ts';
import type { Ingest } from './staged-image.ts';

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
   * must have come from there; the newest import wins. Paths are never found.
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

  /** Replaces what the record says of where the image came from, and who vouches for it. */
  updateImage(record: ImageRecord): void {
    this.#index.write(record);
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

  /**
   * The absolute directories that, laid over each other, top first, are the image's root file
   * system. Without dependencies and path whitelist that is the image's own tree, answered at once;
   * otherwise one tree rendered on first use (appc spec/ace.md, Filesystem Setup).
   */
  async layerPaths(record: ImageRecord, dependencies: DependencyFinder): Promise<string[]> {
    const { manifest } = record;
    if (manifest.dependencies.length === 0 && manifest.pathWhitelist.length === 0) {
      return [this.layout.layer(record.id)];
    }
    const { renderedLayer } = await import('./rendering.ts');
    return [await renderedLayer(this.layout, record, dependencies)];
  }

  /**
   * Checks the blob against its digests and the unpacked tree, entry by entry, against the blob.
   * Throws `store` naming the first thing that differs.
   */
  async verifyImage(record: ImageRecord): Promise<void> {
    const { verifyImage } = await import('./verification.ts');
    await verifyImage(this.layout, record);
  }

  /** Writes the image to the file `path` as an uncompressed ACI, checking it on the way. */
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
   * names the images of existing pods, whose trees stay until `imageGc` finds them unused.
   */
  async removeImage(id: ImageId, inUse: ReadonlySet<ImageId> = new Set()): Promise<void> {
    const { removeImage } = await import('./collect.ts');
    await removeImage(this.layout, this.#index, id, inUse);
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
