import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { GantryError } from '../error.ts';
import { type Digest, formatDigest, sameDigest } from '../image/digest.ts';
import type { UnpackLimits } from '../image/unpack-limits.ts';
import { ArchiveIntake } from './archive-intake.ts';
import { storeFailure } from './failure.ts';
import { type LayerNote, refusedLayer } from './layer-note.ts';
import type { UnpackedLayer } from './layer-unpacking.ts';
import type { LayerIntake, LayerOrder } from './staged-oci-image.ts';
import type { UnpackThread } from './unpack-thread.ts';
import type { ThreadPool } from './unpack-threads.ts';
import type { WindowBudget, WindowTurn } from './window-budget.ts';

/** A layer that was received, checked and unpacked, and is not in its place yet. */
export interface ReceivedLayer {
  readonly order: LayerOrder;
  /** Absolute: the bytes as they came. */
  readonly blob: string;
  /** Absolute: the unpacked tree. */
  readonly tree: string;
  readonly note: LayerNote;
}

/** What the layers of one image share while they are received. */
export interface LayerWorkshop {
  /** The store's directory, for messages. */
  readonly dir: string;
  readonly threads: ThreadPool;
  readonly limits: UnpackLimits;
  /** See `UnpackBudget`. */
  readonly budget: SharedArrayBuffer;
  readonly windows: WindowBudget;
  /** A path for a new directory, each time another. */
  place(): string;
  received(layer: ReceivedLayer): void;
}

/** One layer being received into a directory of its own. */
export class StagedLayer implements LayerIntake {
  readonly #order: LayerOrder;
  readonly #workshop: LayerWorkshop;
  #attempt: Attempt | undefined;

  constructor(order: LayerOrder, workshop: LayerWorkshop) {
    this.#order = order;
    this.#workshop = workshop;
    this.#attempt = new Attempt(order, workshop);
  }

  write(chunk: Uint8Array): void | Promise<void> {
    const attempt = this.#open();
    try {
      return attempt.write(chunk)?.catch((error) => {
        throw this.#failure(error);
      });
    } catch (error) {
      throw this.#failure(error);
    }
  }

  async restart(): Promise<void> {
    await this.abort();
    this.#attempt = new Attempt(this.#order, this.#workshop);
  }

  async finish(): Promise<void> {
    const attempt = this.#open();
    try {
      this.#workshop.received(await attempt.finish());
      this.#attempt = undefined;
    } catch (error) {
      await this.abort();
      throw this.#failure(error);
    }
  }

  async abort(): Promise<void> {
    const attempt = this.#attempt;
    this.#attempt = undefined;
    await attempt?.abort();
  }

  #open(): Attempt {
    if (this.#attempt === undefined) {
      throw new GantryError('internal', 'the layer was given up or finished already');
    }
    return this.#attempt;
  }

  /** What is wrong with an archive is said of the layer, for an image has many. */
  #failure(error: unknown): GantryError {
    if (error instanceof GantryError && error.code === 'invalid-archive') {
      const digest = formatDigest(this.#order.descriptor.digest);
      if (error.message.startsWith(`layer ${digest}`)) return error;
      return refusedLayer(this.#order, error.message.replace(/^image archive: /, ''), error);
    }
    return storeFailure(this.#workshop.dir, 'store a layer', error);
  }
}

/** One go at receiving a layer, from its first byte on. */
class Attempt {
  readonly directory: string;
  readonly #order: LayerOrder;
  readonly #threads: ThreadPool;
  readonly #thread: UnpackThread;
  readonly #intake: ArchiveIntake<UnpackedLayer>;
  readonly #windows: WindowBudget;
  #turn: WindowTurn | undefined;
  #size = 0;

  constructor(order: LayerOrder, { threads, limits, budget, windows, place }: LayerWorkshop) {
    this.#order = order;
    this.#windows = windows;
    this.directory = place();
    mkdirSync(this.directory, { mode: 0o700 });
    this.#threads = threads;
    const thread = threads.take();
    this.#thread = thread;
    const { algorithm } = order.descriptor.digest;
    this.#intake = new ArchiveIntake(join(this.directory, 'blob'), algorithm, () => {
      const directory = join(this.directory, 'tree');
      const unpacking = { kind: 'layer', directory, limits, budget } as const;
      return thread.begin(unpacking, order.diffId.algorithm);
    });
  }

  write(chunk: Uint8Array): Promise<void> | undefined {
    this.#size += chunk.length;
    const { size } = this.#order.descriptor;
    if (this.#size > size) {
      throw refusedLayer(this.#order, `more bytes come than the ${size} the manifest says`);
    }
    this.#turn ??= this.#windows.ask(chunk);
    const { ready } = this.#turn;
    return ready === undefined
      ? this.#intake.write(chunk)
      : ready.then(() => this.#intake.write(chunk));
  }

  async finish(): Promise<ReceivedLayer> {
    const { descriptor } = this.#order;
    if (this.#size < descriptor.size) {
      throw refusedLayer(
        this.#order,
        `it has ${this.#size} bytes, not the ${descriptor.size} the manifest says`,
      );
    }
    const { unpacked } = await this.#intake.finish((blob) => this.#checkBlob(blob));
    this.#checkContent(unpacked.content);
    this.#threads.giveBack(this.#thread);
    this.#turn?.release();
    const { size, entries, unmentioned } = unpacked;
    return {
      order: this.#order,
      blob: join(this.directory, 'blob'),
      tree: join(this.directory, 'tree'),
      note: { version: 1, size, entries, unmentioned, blobs: [formatDigest(descriptor.digest)] },
    };
  }

  async abort(): Promise<void> {
    this.#intake.close();
    await this.#threads.drop(this.#thread);
    this.#turn?.release();
    rmSync(this.directory, { recursive: true, force: true });
  }

  #checkBlob(blob: Digest): void {
    if (sameDigest(blob, this.#order.descriptor.digest)) return;
    throw refusedLayer(this.#order, `what came has the digest ${formatDigest(blob)}`);
  }

  #checkContent(content: Digest): void {
    const { diffId } = this.#order;
    if (sameDigest(content, diffId)) return;
    throw refusedLayer(
      this.#order,
      `it unpacks to ${formatDigest(content)}, but the image configuration says ${formatDigest(diffId)}`,
    );
  }
}
