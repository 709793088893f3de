import { existsSync, renameSync, rmSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { GantryError, reasonOf } from '../error.ts';
import { type Digest, formatDigest } from '../image/digest.ts';
import { type Descriptor, type OciManifest, parseOciManifest } from '../image/oci-manifest.ts';
import { syncDirectory } from '../store/durable.ts';
import { encodeMember, endOfArchive, paddingAfter, plainMember } from '../store/tar-encoding.ts';
import { newUuid } from '../system/uuid.ts';
import { onePiece, verified } from './blob-delivery.ts';
import { LayoutIndex, layoutMark } from './layout-index.ts';
import { blobPath } from './layout-source.ts';
import type { OciDestination } from './oci-source.ts';

/** What kind of archive is written, and where. */
export interface ArchivePlace {
  readonly format: 'oci-archive' | 'docker-archive';
  readonly path: string;
  /** Whether a file that is there gives way. */
  readonly overwrite: boolean;
}

/**
 * An OCI layout as a tar archive, written straight on and beside its place, and renamed into it in the end:
 * the same content gives the same bytes. A docker-archive is that with a `manifest.json` that says the same
 * in docker's words, as docker itself writes it since version 25.
 */
export class ArchiveDestination implements OciDestination {
  readonly shown: string;
  readonly #place: ArchivePlace;
  readonly #beside: string;
  readonly #file: FileHandle;
  readonly #index = new LayoutIndex([]);
  readonly #written = new Set<string>();
  /** Image manifests, for docker's list. */
  readonly #images = new Map<string, OciManifest>();
  #size = 0;
  /** Members are written one after the other, whoever brings them. */
  #queue: Promise<void> = Promise.resolve();
  #over = false;

  private constructor(place: ArchivePlace, beside: string, file: FileHandle) {
    this.shown = `${place.format}:${place.path}`;
    this.#place = place;
    this.#beside = beside;
    this.#file = file;
  }

  /** Throws `usage` where a file is there and stays, `store`. */
  static async open(place: ArchivePlace): Promise<ArchiveDestination> {
    const path = resolve(place.path);
    const shown = `${place.format}:${place.path}`;
    if (existsSync(path) && !place.overwrite) {
      throw new GantryError('usage', `${shown}: the file exists (try --overwrite)`);
    }
    const beside = join(dirname(path), `.new-${newUuid()}-${basename(path)}`);
    try {
      return new ArchiveDestination(place, beside, await open(beside, 'wx', 0o644));
    } catch (cause) {
      throw new GantryError('store', `${shown}: cannot be written: ${reasonOf(cause)}`, { cause });
    }
  }

  async hasBlob(digest: Digest): Promise<boolean> {
    return this.#written.has(formatDigest(digest));
  }

  async putBlob(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    content: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    await this.#inTurn(async () => {
      const key = formatDigest(descriptor.digest);
      // Two may have begun to bring the same one; the second goes unread.
      if (this.#written.has(key)) return;
      await this.#member(
        blobPath(descriptor.digest),
        descriptor.size,
        verified(content, descriptor),
      );
      this.#written.add(key);
    });
  }

  async putManifest(
    bytes: Uint8Array,
    mediaType: string,
    reference: string | Digest,
  ): Promise<void> {
    const document = parseOciManifest(bytes, mediaType);
    if (this.#place.format === 'docker-archive') this.#requireDockerImage(document.kind);
    const descriptor = this.#index.add(bytes, mediaType, reference);
    if (document.kind === 'manifest') this.#images.set(formatDigest(descriptor.digest), document);
    await this.putBlob(descriptor, onePiece(bytes));
  }

  async finish(): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#place.format === 'docker-archive') {
        await this.#document('manifest.json', Buffer.from(JSON.stringify(this.#dockerList())));
      }
      await this.#document('index.json', this.#index.encode());
      await this.#document('oci-layout', Buffer.from(layoutMark));
      await this.#write(endOfArchive);
      // Of a member that failed half way more may have been written than came after it.
      await this.#file.truncate(this.#size);
      await this.#file.sync();
    });
    await this.#file.close();
    try {
      renameSync(this.#beside, resolve(this.#place.path));
      syncDirectory(dirname(resolve(this.#place.path)));
    } catch (cause) {
      rmSync(this.#beside, { force: true });
      throw new GantryError('store', `${this.shown}: ${reasonOf(cause)}`, { cause });
    } finally {
      this.#over = true;
    }
  }

  async abort(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    await this.#queue.catch(() => {});
    await this.#file.close();
    rmSync(this.#beside, { force: true });
  }

  /** docker's list (moby, image/spec v1.2): which members are which image's. */
  #dockerList(): object[] {
    return this.#index.entries.flatMap((entry) => {
      const image = this.#images.get(formatDigest(entry.digest));
      if (image === undefined) return [];
      const ref = Object.values(entry.annotations ?? {})[0];
      return {
        Config: blobPath(image.config.digest),
        RepoTags: ref?.includes(':') ? [ref] : [],
        Layers: image.layers.map(({ digest }) => blobPath(digest)),
      };
    });
  }

  #requireDockerImage(kind: 'manifest' | 'index'): void {
    if (kind === 'manifest') return;
    throw new GantryError(
      'unsupported',
      `${this.shown}: it has no place for an index: choose one image of it with --os and --arch`,
    );
  }

  async #inTurn(act: () => Promise<void>): Promise<void> {
    const turn = this.#queue.catch(() => {}).then(act);
    this.#queue = turn;
    try {
      await turn;
    } catch (cause) {
      if (cause instanceof GantryError || !(cause instanceof Error && 'code' in cause)) throw cause;
      throw new GantryError('store', `${this.shown}: ${reasonOf(cause)}`, { cause });
    }
  }

  async #document(name: string, bytes: Uint8Array): Promise<void> {
    await this.#member(name, bytes.length, onePiece(bytes));
  }

  /** A member that fails half way is as if it had never been begun. */
  async #member(name: string, size: number, content: AsyncIterable<Uint8Array>): Promise<void> {
    const begun = this.#size;
    try {
      await this.#write(encodeMember(plainMember(name, size)));
      for await (const piece of content) await this.#write(piece);
      await this.#write(paddingAfter(size));
    } catch (error) {
      this.#size = begun;
      throw error;
    }
  }

  async #write(piece: Uint8Array): Promise<void> {
    for (let at = 0; at < piece.length; ) {
      const { bytesWritten } = await this.#file.write(piece, at, piece.length - at, this.#size);
      at += bytesWritten;
      this.#size += bytesWritten;
    }
  }
}
