import { createHash } from 'node:crypto';
import { chmodSync, closeSync, openSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { GantryError } from '../error.ts';
import { imageIdOf } from '../image/digest.ts';
import { type ImageManifest, parseImageManifest } from '../image/image-manifest.ts';
import type { ImageRecord } from '../image/image-record.ts';
import type { UnpackLimits } from '../image/unpack-limits.ts';
import { makeDirectory, renameUnlessPresent, syncDirectory, writeSynced } from './durable.ts';
import { storeFailure } from './failure.ts';
import { recordMode, recordText } from './image-index.ts';
import type { StoreLayout } from './layout.ts';
import { pinImages } from './locks.ts';
import type { Attestation, Ingest, StagedImage } from './staged-image.ts';
import { Staging } from './staging.ts';
import { placeTree } from './tree-replacement.ts';
import { pieceSize, UnpackThread } from './unpack-thread.ts';

type Blob = StagedImage['blob'];

/** Starts to receive an image into a staging directory of the store. */
export function beginIngest(layout: StoreLayout, limits: UnpackLimits): Ingest {
  try {
    return new StagedIngest(layout, limits);
  } catch (error) {
    throw storeFailure(layout.dir, 'store an image', error);
  }
}

class StagedIngest implements Ingest {
  readonly #layout: StoreLayout;
  readonly #staging: Staging;
  readonly #blob: BlobFile;
  readonly #unpacker: UnpackThread;
  #piece: Uint8Array<ArrayBuffer>;
  #filled = 0;

  constructor(layout: StoreLayout, limits: UnpackLimits) {
    this.#layout = layout;
    this.#staging = Staging.open(layout.staging);
    this.#blob = new BlobFile(this.#staging.path('blob'));
    this.#unpacker = new UnpackThread(this.#staging.path('rootfs'), limits);
    this.#piece = this.#unpacker.allocate();
  }

  write(chunk: Uint8Array): void | Promise<void> {
    let at = 0;
    const waits: Promise<void>[] = [];
    while (at < chunk.length) {
      const taken = Math.min(pieceSize - this.#filled, chunk.length - at);
      this.#piece.set(chunk.subarray(at, at + taken), this.#filled);
      this.#filled += taken;
      at += taken;
      if (this.#filled === pieceSize) {
        const wait = this.#passOn();
        if (wait !== undefined) waits.push(wait);
      }
    }
    if (waits.length > 0) return this.#translated(Promise.all(waits).then(() => {}));
  }

  async finish(): Promise<StagedImage> {
    try {
      if (this.#filled > 0) await this.#passOn();
      const blob = this.#blob.finish();
      const unpacked = await this.#unpacker.finish();
      const manifest = parseImageManifest(unpacked.manifest);
      await this.#unpacker.stop();
      const { size, deviceNodes } = unpacked;
      const facts = { id: imageIdOf(unpacked.sha512), manifest, blob, size, deviceNodes };
      return new StagedImageTree(this.#layout, this.#staging, facts);
    } catch (error) {
      await this.abort();
      throw storeFailure(this.#layout.dir, 'store the image', error);
    }
  }

  async abort(): Promise<void> {
    this.#blob.close();
    await this.#unpacker.stop();
    this.#staging.discard();
  }

  /** One piece to the blob, its digest, and the unpacking thread. */
  #passOn(): Promise<void> | undefined {
    const piece = this.#piece.subarray(0, this.#filled);
    this.#filled = 0;
    try {
      this.#blob.write(piece);
      const wait = this.#unpacker.give(piece);
      this.#piece = this.#unpacker.allocate();
      return wait;
    } catch (error) {
      throw storeFailure(this.#layout.dir, 'store the image', error);
    }
  }

  async #translated(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      throw storeFailure(this.#layout.dir, 'store the image', error);
    }
  }
}

/** The image as fetched: written and digested from the very same bytes. */
class BlobFile {
  readonly #hash = createHash('sha512');
  #fd: number | undefined;
  #size = 0;

  constructor(path: string) {
    this.#fd = openSync(path, 'wx', 0o600);
  }

  write(piece: Uint8Array): void {
    if (this.#fd === undefined) throw new GantryError('internal', 'the image was given up already');
    for (let at = 0; at < piece.length; ) at += writeSync(this.#fd, piece, at);
    this.#hash.update(piece);
    this.#size += piece.length;
  }

  finish(): Blob {
    this.close();
    return { algorithm: 'sha512', hex: this.#hash.digest('hex'), size: this.#size };
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

interface Facts {
  readonly id: string;
  readonly manifest: ImageManifest;
  readonly blob: Blob;
  readonly size: number;
  readonly deviceNodes: readonly string[];
}

class StagedImageTree implements StagedImage {
  readonly id: string;
  readonly manifest: ImageManifest;
  readonly blob: Blob;
  readonly blobPath: string;
  readonly size: number;
  readonly deviceNodes: readonly string[];
  readonly #layout: StoreLayout;
  readonly #staging: Staging;

  constructor(layout: StoreLayout, staging: Staging, facts: Facts) {
    this.#layout = layout;
    this.#staging = staging;
    this.id = facts.id;
    this.manifest = facts.manifest;
    this.blob = facts.blob;
    this.blobPath = staging.path('blob');
    this.size = facts.size;
    this.deviceNodes = facts.deviceNodes;
  }

  async commit(attestation: Attestation): Promise<ImageRecord> {
    const record = this.#record(attestation);
    try {
      // What needs space is written before anything can be seen: then a full disk leaves nothing.
      writeSynced(this.#staging.path('record'), recordText(record), recordMode);
      // Nobody may remove the tree or blob found present before the record names them.
      using _pin = pinImages(this.#layout);
      this.#moveIntoPlace();
    } catch (error) {
      throw storeFailure(this.#layout.dir, 'store the image', error);
    } finally {
      this.#staging.discard();
    }
    return record;
  }

  async discard(): Promise<void> {
    this.#staging.discard();
  }

  /** Tree and blob first, the record last: what a crash leaves without a record is collected. */
  #moveIntoPlace(): void {
    const blob = this.#layout.blob(this.blob);
    makeDirectory(this.#layout.images);
    makeDirectory(this.#layout.layers);
    makeDirectory(dirname(blob));
    placeTree(this.#layout, this.id, this.#staging.path('rootfs'));
    chmodSync(this.blobPath, 0o440);
    renameUnlessPresent(this.blobPath, blob);
    syncDirectory(this.#layout.layers);
    syncDirectory(dirname(blob));
    renameSync(this.#staging.path('record'), this.#layout.record(this.id));
    syncDirectory(this.#layout.images);
  }

  #record({ source, provenance }: Attestation): ImageRecord {
    const { id, manifest, blob, size } = this;
    const labels = Object.fromEntries(manifest.labels.map(({ name, value }) => [name, value]));
    const importedAt = new Date().toISOString();
    return {
      version: 1,
      id,
      name: manifest.name,
      labels,
      blob,
      size,
      manifest,
      importedAt,
      source,
      provenance,
    };
  }
}
