import { readFileSync, renameSync, rmSync, statSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, GantryError } from '../error.ts';
import type { ImageId } from '../image/digest.ts';
import { displayName, type ImageNaming, type ImageRecord } from '../image/image-record.ts';
import { syncDirectory } from './durable.ts';
import { messageOf, storeFailure } from './failure.ts';
import type { ImageIndex } from './image-index.ts';
import { isLayerTree, layerTreeName } from './layer-note.ts';
import type { StoreLayout } from './layout.ts';
import { lockExclusively } from './locks.ts';
import { isSameName, namingsOf, withoutName } from './naming.ts';
import { blobsOf } from './record-blobs.ts';
import type { RenderingNote } from './rendering.ts';
import { collectLeftovers, namesIn, Staging } from './staging.ts';
import { replacedTreeOf } from './tree-replacement.ts';

/**
 * Images of existing pods, and the names of the trees below `layers/` that pods are made of: never removed,
 * nor what was rendered for them. A function is asked with the images' lock held, when no pod can come to
 * be that has not been counted.
 */
export type InUse = ReadonlySet<ImageId | string> | (() => ReadonlySet<ImageId | string>);

/** What `imageGc` may remove. */
export interface CollectOptions {
  readonly inUse: InUse;
  /** Images used within this many seconds stay. */
  readonly graceSeconds: number;
  /** Only say what would be removed. */
  readonly dryRun?: boolean;
}

/** What `imageGc` removed. */
export interface CollectSummary {
  readonly images: readonly { readonly id: ImageId; readonly name: string }[];
  /** Names of trees below layers/ that nothing needed. */
  readonly layers: readonly string[];
  /** Blobs no record names, and directories of broken-off work: paths relative to the store. */
  readonly leftovers: readonly string[];
  /** Images that could not be removed, and why. */
  readonly failures: readonly { readonly id: ImageId; readonly error: Error }[];
}

interface NameRemoval {
  readonly id: ImageId;
  readonly name: ImageNaming;
  readonly inUse: InUse;
}

/** A file of an interrupted write is left alone this long: its writer may still be at it. */
const writeSeconds = 3600;

/** Removes one image; see `Store.removeImage`. Throws `not-found` and `store`. */
export async function removeImage(
  layout: StoreLayout,
  index: ImageIndex,
  id: ImageId,
  inUse: InUse,
): Promise<void> {
  const options = { inUse, graceSeconds: Number.MAX_SAFE_INTEGER };
  await collecting(layout, index, options, `remove image ${id}`, (collector) => {
    collector.drop(id);
    collector.trees();
    collector.blobs();
  });
}

/** Removes one name of an image; see `Store.removeName`. Throws `not-found` and `store`. */
export async function removeName(
  layout: StoreLayout,
  index: ImageIndex,
  { id, name, inUse }: NameRemoval,
): Promise<boolean> {
  const options = { inUse, graceSeconds: Number.MAX_SAFE_INTEGER };
  const doing = `remove the name ${displayName(name)}`;
  let isLast = false;
  await collecting(layout, index, options, doing, (collector) => {
    isLast = collector.dropName(id, name);
    if (isLast) collector.trees();
    collector.blobs();
  });
  return isLast;
}

/** Removes what nothing needs any more; see `Store.imageGc`. */
export async function collectImages(
  layout: StoreLayout,
  index: ImageIndex,
  options: CollectOptions,
): Promise<CollectSummary> {
  const collector = await collecting(layout, index, options, 'collect unused images', (found) => {
    found.images();
    found.trees();
    found.blobs();
    found.brokenOff();
  });
  return collector.summary();
}

async function collecting(
  layout: StoreLayout,
  index: ImageIndex,
  options: CollectOptions,
  doing: string,
  work: (collector: Collector) => void,
): Promise<Collector> {
  const lock = await lockExclusively(layout, 'images');
  let collector: Collector | undefined;
  try {
    collector = new Collector(layout, index, options);
    work(collector);
    return collector;
  } catch (error) {
    throw storeFailure(layout.dir, doing, error);
  } finally {
    lock.release();
    // Deleting takes its time, and pods that start meanwhile need not wait for it.
    collector?.emptyTrash();
  }
}

/** One collection; whoever makes it holds the images' lock exclusively. */
class Collector {
  readonly #layout: StoreLayout;
  readonly #index: ImageIndex;
  readonly #options: CollectOptions;
  readonly #inUse: ReadonlySet<ImageId | string>;
  readonly #kept = new Map<ImageId, ImageRecord | undefined>();
  readonly #images: { id: ImageId; name: string }[] = [];
  readonly #layers: string[] = [];
  readonly #leftovers: string[] = [];
  readonly #failures: { id: ImageId; error: Error }[] = [];
  #trash: Staging | undefined;
  #layerTrees: Set<string> | undefined;

  constructor(layout: StoreLayout, index: ImageIndex, options: CollectOptions) {
    this.#layout = layout;
    this.#index = index;
    this.#options = options;
    this.#inUse = typeof options.inUse === 'function' ? options.inUse() : options.inUse;
    for (const id of index.ids()) this.#kept.set(id, this.#readable(id));
  }

  summary(): CollectSummary {
    return {
      images: this.#images,
      layers: this.#layers,
      leftovers: this.#leftovers,
      failures: this.#failures,
    };
  }

  /** Deletes the trees that were removed. */
  emptyTrash(): void {
    this.#trash?.discard();
  }

  /** The record of one image, readable or not. Throws `not-found`. */
  drop(id: ImageId): void {
    if (!this.#kept.delete(id)) throw new GantryError('not-found', 'no image IDs found');
    dropRecord(this.#layout, id);
  }

  /** One name of an image, and with the last one the record; answers whether that was so. */
  dropName(id: ImageId, name: ImageNaming): boolean {
    const record = this.#index.get(id);
    const hasName = record !== undefined && namingsOf(record).some((own) => isSameName(own, name));
    if (!hasName) throw new GantryError('not-found', `no image is called ${displayName(name)}`);
    const left = withoutName(record, name);
    if (left === undefined) {
      this.drop(id);
      return true;
    }
    const lastUsed = this.#index.lastUsed(id);
    this.#index.write(left);
    this.#index.touch(id, lastUsed);
    this.#kept.set(id, left);
    return false;
  }

  /** Records no pod uses and nobody used lately. */
  images(): void {
    for (const [id, record] of this.#kept) {
      if (record === undefined || this.#inUse.has(id)) continue;
      if (!this.#isOld(this.#layout.record(id))) continue;
      if (this.#removing) dropRecord(this.#layout, id);
      this.#kept.delete(id);
      this.#images.push({ id, name: record.name });
    }
  }

  /** Trees of images that are gone, and rendered ones nobody used lately. */
  trees(): void {
    const names = namesIn(this.#layout.layers);
    for (const name of names) {
      if (name.startsWith('.') || name.endsWith('.json')) continue;
      if (this.#needsTree(name)) continue;
      if (this.#removing) this.#dropTree(name);
      this.#layers.push(name);
    }
    for (const name of names) {
      const note = /^((?:deps|diff)-.*)\.json$/.exec(name)?.[1];
      if (note === undefined || names.includes(note) || !this.#removing) continue;
      rmSync(this.#layout.note(note), { force: true });
    }
  }

  /** Blobs no record names. What a damaged record names cannot be known, so all stay then. */
  blobs(): void {
    const records = [...this.#kept.values()];
    if (records.includes(undefined)) return;
    const needed = new Set(
      records.flatMap((record) =>
        (record === undefined ? [] : blobsOf(record)).map((digest) => this.#layout.blob(digest)),
      ),
    );
    for (const algorithm of namesIn(this.#layout.blobs)) {
      for (const hex of namesIn(join(this.#layout.blobs, algorithm))) {
        const path = join(this.#layout.blobs, algorithm, hex);
        if (needed.has(path)) continue;
        if (this.#removing) unlinkSync(path);
        this.#leftovers.push(`blobs/${algorithm}/${hex}`);
      }
    }
  }

  /** What work left behind whose process is gone. */
  brokenOff(): void {
    for (const name of collectLeftovers(this.#layout.staging, this.#removing)) {
      this.#leftovers.push(`staging/${name}`);
    }
    for (const folder of ['images', 'layers'] as const) {
      for (const name of namesIn(this.#layout[folder])) {
        const path = join(this.#layout[folder], name);
        if (!name.startsWith('.new-') || ageOf(path) < writeSeconds) continue;
        if (this.#removing) rmSync(path, { force: true });
        this.#leftovers.push(`${folder}/${name}`);
      }
    }
  }

  get #removing(): boolean {
    return this.#options.dryRun !== true;
  }

  #readable(id: ImageId): ImageRecord | undefined {
    try {
      return this.#index.get(id);
    } catch (error) {
      this.#failures.push({
        id,
        error: error instanceof Error ? error : new Error(messageOf(error)),
      });
      return undefined;
    }
  }

  #isOld(path: string): boolean {
    return ageOf(path) >= this.#options.graceSeconds;
  }

  #needsTree(name: string): boolean {
    const replaced = replacedTreeOf(name);
    if (replaced !== undefined) return this.#inUse.has(replaced);
    if (isLayerTree(name)) return this.#needsLayer(name);
    return name.startsWith('deps-') ? this.#needsRendering(name) : this.#needs(name);
  }

  #needsLayer(name: string): boolean {
    this.#layerTrees ??= layerTreesOf([...this.#kept.values()]);
    return this.#inUse.has(name) || (this.#layerTrees?.has(name) ?? true);
  }

  #needs(id: ImageId): boolean {
    return this.#kept.has(id) || this.#inUse.has(id);
  }

  #needsRendering(name: string): boolean {
    const images = readNote(this.#layout.note(name))?.images;
    const top = images?.at(-1);
    if (images === undefined || top === undefined) return false;
    if (this.#inUse.has(top)) return true;
    return images.every((id) => this.#kept.has(id)) && !this.#isOld(this.#layout.note(name));
  }

  /** A tree disappears at once; its files go when the lock is free again. */
  #dropTree(name: string): void {
    this.#trash ??= Staging.open(this.#layout.staging);
    renameSync(this.#layout.layer(name), this.#trash.path(name));
    syncDirectory(this.#layout.layers);
    if (!name.startsWith('deps-') && !isLayerTree(name)) return;
    rmSync(this.#layout.note(name), { force: true });
    rmSync(join(this.#layout.locks, name), { force: true });
  }
}

/**
 * The trees the records' layers need: those they are made of, and of a variant the layer's own, which
 * an image that shares the layer starts from. What a damaged record names cannot be known: undefined.
 */
function layerTreesOf(records: readonly (ImageRecord | undefined)[]): Set<string> | undefined {
  const trees = new Set<string>();
  for (const record of records) {
    if (record === undefined) return undefined;
    for (const { tree, diffId } of record.oci?.layers ?? []) {
      trees.add(tree);
      trees.add(layerTreeName(diffId));
    }
  }
  return trees;
}

function dropRecord(layout: StoreLayout, id: ImageId): void {
  rmSync(layout.record(id), { force: true });
  syncDirectory(layout.images);
}

function ageOf(path: string): number {
  return (Date.now() - statSync(path).mtimeMs) / 1000;
}

function readNote(path: string): RenderingNote | undefined {
  try {
    const note = JSON.parse(readFileSync(path, 'utf8')) as Partial<RenderingNote>;
    return note.version === 1 && Array.isArray(note.images) ? (note as RenderingNote) : undefined;
  } catch (error) {
    // A damaged or missing note: the tree is rendered again when it is wanted.
    if (error instanceof SyntaxError || errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}
