import { existsSync, mkdirSync, readFileSync, renameSync, rmdirSync, rmSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { GantryError, reasonOf } from '../error.ts';
import { type Digest, formatDigest } from '../image/digest.ts';
import { type Descriptor, MEDIA_TYPES, parseOciManifest } from '../image/oci-manifest.ts';
import { syncDirectory, writeFileAtomically } from '../store/durable.ts';
import { newUuid } from '../system/uuid.ts';
import { onePiece, verified } from './blob-delivery.ts';
import { LayoutIndex, layoutMark } from './layout-index.ts';
import { blobPath } from './layout-source.ts';
import type { OciDestination } from './oci-source.ts';

/**
 * An OCI layout in a directory, which may be there already and hold other images. What is put lies aside
 * until `finish`: then the blobs move to their places, and the index, which makes them visible, comes last.
 */
export class LayoutDestination implements OciDestination {
  readonly shown: string;
  readonly #directory: string;
  readonly #staging: string;
  readonly #index: LayoutIndex;
  readonly #made: boolean;
  /** Blobs that lie aside, by their digest as OCI writes it. */
  readonly #staged = new Map<string, Digest>();
  #over = false;

  private constructor(directory: string, index: LayoutIndex, made: boolean) {
    this.shown = `oci:${directory}`;
    this.#directory = directory;
    this.#index = index;
    this.#made = made;
    this.#staging = join(directory, `.gantry-${newUuid()}`);
  }

  /**
   * Makes ready to put images into a directory.
   * @throws GantryError `usage` where something else than a layout is there, `store`
   */
  static open(directory: string): LayoutDestination {
    const made = !existsSync(directory);
    const index = made ? new LayoutIndex([]) : presentIndex(directory);
    const destination = new LayoutDestination(directory, index, made);
    destination.#try('make a layout', () => {
      mkdirSync(destination.#staging, { recursive: true });
    });
    return destination;
  }

  async hasBlob(digest: Digest): Promise<boolean> {
    return this.#staged.has(formatDigest(digest)) || existsSync(this.#placeOf(digest));
  }

  async putBlob(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    content: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const path = join(this.#staging, newUuid());
    let file: FileHandle | undefined;
    try {
      file = await open(path, 'wx', 0o644);
      for await (const piece of verified(content, descriptor)) await writeWhole(file, piece);
      await file.sync();
      renameSync(path, this.#stagedPath(descriptor.digest));
    } catch (error) {
      rmSync(path, { force: true });
      throw this.#failure('write a blob', error);
    } finally {
      await file?.close();
    }
    this.#staged.set(formatDigest(descriptor.digest), descriptor.digest);
  }

  async putManifest(
    bytes: Uint8Array,
    mediaType: string,
    reference: string | Digest,
  ): Promise<void> {
    const descriptor = this.#index.add(bytes, mediaType, reference);
    if (await this.hasBlob(descriptor.digest)) return;
    await this.putBlob(descriptor, onePiece(bytes));
  }

  async finish(): Promise<void> {
    this.#try('write the layout', () => {
      for (const digest of this.#staged.values()) {
        const place = this.#placeOf(digest);
        mkdirSync(dirname(place), { recursive: true });
        renameSync(this.#stagedPath(digest), place);
      }
      for (const folder of new Set(
        [...this.#staged.values()].map((one) => dirname(this.#placeOf(one))),
      )) {
        syncDirectory(folder);
      }
      const mark = join(this.#directory, 'oci-layout');
      if (!existsSync(mark)) writeFileAtomically(mark, layoutMark, 0o644);
      writeFileAtomically(join(this.#directory, 'index.json'), this.#index.encode(), 0o644);
      rmSync(this.#staging, { recursive: true, force: true });
    });
    this.#over = true;
  }

  async abort(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    rmSync(this.#staging, { recursive: true, force: true });
    if (!this.#made || existsSync(join(this.#directory, 'index.json'))) return;
    try {
      rmdirSync(this.#directory);
    } catch {
      // Somebody else has put something there meanwhile.
    }
  }

  #placeOf(digest: Digest): string {
    return join(this.#directory, blobPath(digest));
  }

  #stagedPath({ algorithm, hex }: Digest): string {
    return join(this.#staging, `${algorithm}-${hex}`);
  }

  #try(doing: string, act: () => void): void {
    try {
      act();
    } catch (error) {
      throw this.#failure(doing, error);
    }
  }

  #failure(doing: string, cause: unknown): unknown {
    if (cause instanceof GantryError || !(cause instanceof Error && 'code' in cause)) return cause;
    return new GantryError('store', `${this.shown}: cannot ${doing}: ${reasonOf(cause)}`, {
      cause,
    });
  }
}

function presentIndex(directory: string): LayoutIndex {
  const path = join(directory, 'index.json');
  if (!existsSync(join(directory, 'oci-layout')) || !existsSync(path)) {
    throw new GantryError(
      'usage',
      `oci:${directory}: it is there, and is not an OCI layout: name a new directory, or a layout`,
    );
  }
  const index = parseOciManifest(readFileSync(path), MEDIA_TYPES.index);
  if (index.kind === 'index') return new LayoutIndex(index.manifests);
  throw new GantryError('invalid-manifest', `${path} is not an index`);
}

async function writeWhole(file: FileHandle, piece: Uint8Array): Promise<void> {
  for (let at = 0; at < piece.length; ) {
    at += (await file.write(piece, at)).bytesWritten;
  }
}
