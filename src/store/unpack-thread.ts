import { Worker } from 'node:worker_threads';
import { type ErrorCode, GantryError } from '../error.ts';
import type { UnpackLimits } from '../image/unpack-limits.ts';
import type { UnpackedArchive } from './archive-unpacking.ts';
import { ContentDigest } from './content-digest.ts';
import type { FromUnpacker, UnpackOrder } from './unpack-messages.ts';

/** Network chunks are joined to pieces of this size: one write, digest and message for each. */
export const pieceSize = 256 * 1024;

/** Pieces under way at once: 4 MB. */
const window = 16;

/**
 * A decoder stuck on crafted input (bzip2 run lengths that overflow) would hold the fetch for ever.
 * Between two pieces taken lie at most a few hundred megabytes to unpack.
 */
const stallMilliseconds = 120_000;

/** What an archive unpacked to, with the SHA-512 of its uncompressed bytes, hex: the image ID's digits. */
export type DigestedArchive = UnpackedArchive & { readonly sha512: string };

/** A thread unpacking one archive, fed piece by piece. */
export class UnpackThread {
  readonly #worker: Worker;
  readonly #content = new ContentDigest();
  readonly #outcome: Promise<DigestedArchive>;
  #underWay = 0;
  /** Memory of pieces the thread is done with: used again, not left to the collector. */
  readonly #free: ArrayBuffer[] = [];
  #exited = false;
  #failure: Error | undefined;
  /** One for all who wait: a large write gives several pieces before it waits for any. */
  #room: PromiseWithResolvers<void> | undefined;
  #watchdog: NodeJS.Timeout | undefined;
  #stalled: () => void = () => {};

  constructor(directory: string, limits: UnpackLimits) {
    const { outstanding } = this.#content;
    const workerData: UnpackOrder = { directory, limits, outstanding };
    // Its directory handles come from the binding, of which Node's bookkeeping knows nothing.
    this.#worker = new Worker(workerFile(), { workerData, trackUnmanagedFds: false });
    this.#outcome = new Promise((resolve, reject) => {
      const fail = (error: Error): void => {
        this.#failure ??= error;
        reject(this.#failure);
        this.#settle();
      };
      this.#worker.on('message', (message: FromUnpacker) => {
        this.#watch();
        if (message.kind === 'content') this.#content.update(message.piece);
        else if (message.kind === 'taken') this.#taken(message.buffer);
        else if (message.kind === 'failed') fail(failureOf(message));
        else resolve({ ...message, sha512: this.#content.digest() });
      });
      this.#worker.on('error', fail);
      this.#worker.on('exit', () => {
        this.#exited = true;
        clearTimeout(this.#watchdog);
        fail(new GantryError('internal', 'the unpacking thread ended without an answer'));
      });
      this.#stalled = () => {
        fail(new GantryError('invalid-archive', 'image archive: decompression does not progress'));
      };
    });
    // Whoever feeds the thread hears of a failure from `give` or `finish`.
    this.#outcome.catch(() => {});
  }

  /** Memory for the next piece, `pieceSize` bytes. */
  allocate(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#free.pop() ?? new ArrayBuffer(pieceSize));
  }

  /**
   * Hands over a piece from `allocate`; its memory goes to the thread. Await the answer, if any: there is room again.
   * Throws what went wrong so far.
   */
  give(piece: Uint8Array<ArrayBuffer>): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    this.#underWay += 1;
    this.#watch();
    this.#worker.postMessage({ kind: 'piece', piece }, [piece.buffer]);
    return this.#underWay < window ? undefined : this.#waitForRoom();
  }

  /** Says that there are no more pieces; answers when everything is on disk. */
  async finish(): Promise<DigestedArchive> {
    if (this.#failure === undefined) this.#worker.postMessage({ kind: 'end' });
    this.#watch();
    return this.#outcome;
  }

  /** Ends the thread, whatever it is doing; nothing is written any more when this answers. */
  async stop(): Promise<void> {
    clearTimeout(this.#watchdog);
    if (this.#exited) return;
    this.#worker.postMessage({ kind: 'abort' });
    // Asked first, so that it closes its files; a decoder stuck in a loop has to be killed.
    const impatience = setTimeout(() => void this.#worker.terminate(), 2_000);
    await new Promise((resolve) => this.#worker.once('exit', resolve));
    clearTimeout(impatience);
  }

  async #waitForRoom(): Promise<void> {
    this.#room ??= Promise.withResolvers();
    await this.#room.promise;
    if (this.#failure !== undefined) throw this.#failure;
  }

  #taken(buffer: ArrayBuffer): void {
    this.#free.push(buffer);
    this.#underWay -= 1;
    if (this.#underWay < window / 2) this.#settle();
  }

  #settle(): void {
    this.#room?.resolve();
    this.#room = undefined;
  }

  #watch(): void {
    this.#watchdog ??= setTimeout(() => this.#stalled(), stallMilliseconds).unref();
    this.#watchdog.refresh();
  }
}

/** Beside this module: the bundle's in dist/, or the source, which Node strips of its types. */
function workerFile(): URL {
  const name = import.meta.url.endsWith('.ts') ? './unpack-worker.ts' : './unpack-worker.js';
  return new URL(name, import.meta.url);
}

/** Errors lose their class on the way between threads. */
function failureOf(message: Extract<FromUnpacker, { kind: 'failed' }>): Error {
  if (message.code !== undefined)
    return new GantryError(message.code as ErrorCode, message.message);
  const error = new Error(message.message);
  return message.errno === undefined ? error : Object.assign(error, { code: message.errno });
}
