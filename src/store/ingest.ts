import { chmodSync, existsSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';
import type { GantryError } from '../error.ts';
import { type Digest, imageIdOf } from '../image/digest.ts';
import { type ImageManifest, parseImageManifest } from '../image/image-manifest.ts';
import type { ImageRecord } from '../image/image-record.ts';
import type { UnpackLimits } from '../image/unpack-limits.ts';
import { ArchiveIntake } from './archive-intake.ts';
import type { UnpackedArchive } from './archive-unpacking.ts';
import { makeDirectory, renameUnlessPresent, syncDirectory, writeSynced } from './durable.ts';
import { storeFailure } from './failure.ts';
import { recordMode, recordText } from './image-index.ts';
import type { StoreLayout } from './layout.ts';
import { pinImages } from './locks.ts';
import type { Attestation, Ingest, StagedImage } from './staged-image.ts';
import { Staging } from './staging.ts';
import { placeTree } from './tree-replacement.ts';
import { UnpackBudget } from './unpack-meter.ts';
import { UnpackThread } from './unpack-thread.ts';

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
  #thread: UnpackThread | undefined;
  readonly #intake: ArchiveIntake<UnpackedArchive>;

  constructor(layout: StoreLayout, limits: UnpackLimits) {
    this.#layout = layout;
    this.#staging = Staging.open(layout.staging);
    const directory = this.#staging.path('rootfs');
    const budget = new UnpackBudget().memory;
    this.#intake = new ArchiveIntake(this.#staging.path('blob'), 'sha512', () => {
      this.#thread = new UnpackThread();
      return this.#thread.begin({ kind: 'image', directory, limits, budget }, 'sha512');
    });
  }

  write(chunk: Uint8Array): void | Promise<void> {
    try {
      return this.#intake.write(chunk)?.catch((error) => {
        throw this.#failure(error);
      });
    } catch (error) {
      throw this.#failure(error);
    }
  }

  async finish(): Promise<StagedImage> {
    try {
      const { blob, unpacked } = await this.#intake.finish();
      const manifest = parseImageManifest(unpacked.manifest);
      await this.#thread?.stop();
      const { size, deviceNodes, content } = unpacked;
      const facts = { id: imageIdOf(content.hex), manifest, blob, size, deviceNodes };
      return new StagedImageTree(this.#layout, this.#staging, facts);
    } catch (error) {
      await this.abort();
      throw this.#failure(error);
    }
  }

  async abort(): Promise<void> {
    this.#intake.close();
    await this.#thread?.stop();
    this.#staging.discard();
  }

  #failure(error: unknown): GantryError {
    return storeFailure(this.#layout.dir, 'store the image', error);
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
      const { signature } = attestation;
      if (signature !== undefined) writeSynced(this.#staging.path('signature'), signature, 0o440);
      // Nobody may remove the tree or blob found present before the record names them.
      using _pin = pinImages(this.#layout);
      this.#moveIntoPlace(record);
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
  #moveIntoPlace({ provenance }: ImageRecord): void {
    const blob = this.#layout.blob(this.blob);
    makeDirectory(this.#layout.images);
    makeDirectory(this.#layout.layers);
    makeDirectory(dirname(blob));
    placeTree(this.#layout, this.id, this.#staging.path('rootfs'));
    chmodSync(this.blobPath, 0o440);
    renameUnlessPresent(this.blobPath, blob);
    if (provenance.kind !== 'unverified' && provenance.signatureBlob !== undefined) {
      placeSignature(this.#layout, this.#staging.path('signature'), provenance.signatureBlob);
    }
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

/** A verdict of before names a signature that is kept already, and none comes with it. */
function placeSignature(layout: StoreLayout, staged: string, digest: Digest): void {
  if (!existsSync(staged)) return;
  const place = layout.blob(digest);
  makeDirectory(dirname(place));
  renameUnlessPresent(staged, place);
  syncDirectory(dirname(place));
}
