import { Worker } from 'node:worker_threads';
import { type ErrorCode, GantryError } from '../error.ts';
import type { Digest, DigestAlgorithm } from '../image/digest.ts';
import type { UnpackedArchive } from './archive-unpacking.ts';
import { ContentDigest } from './content-digest.ts';
import type { UnpackedLayer } from './layer-unpacking.ts';
import type { FromUnpacker, ToUnpacker, UnpackOrder } from './unpack-messages.ts';

/** Network chunks are joined to pieces of this size: one write, digest and message for each. */
export const pieceSize = 256 * 1024;

/** Pieces under way at once: 4 MB. */
const window = 16;

/**
 * A decoder stuck on crafted input (bzip2 run lengths that overflow) would hold the fetch for ever.
 * Between two pieces taken lie at most a few hundred megabytes to unpack.
 */
const stallMilliseconds = 120_000;

/** What an archive of either kind unpacks to. */
interface UnpackedOf {
  image: UnpackedArchive;
  layer: UnpackedLayer;
}

/** A thread that unpacks archives, one after the other. */
export class UnpackThread {
  readonly #worker: Worker;
  /** Memory of pieces the thread is done with: used again, not left to the collector. */
  readonly #free: ArrayBuffer[] = [];
  #current: Listener | undefined;
  #exited = false;

  constructor() {
    // Its directory handles come from the binding, of which Node's bookkeeping knows nothing.
    this.#worker = new Worker(workerFile(), { trackUnmanagedFds: false });
    this.#worker.on('message', (message: FromUnpacker) => {
      if (message.kind === 'taken') this.#free.push(message.buffer);
      this.#current?.receive(message);
    });
    this.#worker.on('error', (error: Error) => this.#current?.fail(error));
    this.#worker.on('exit', () => {
      this.#exited = true;
      this.#current?.fail(
        new GantryError('internal', 'the unpacking thread ended without an answer'),
      );
    });
  }

  /** Starts to unpack an image's archive or a layer; the one before must have been finished. */
  begin<K extends UnpackOrder['kind']>(
    order: UnpackOrder & { kind: K },
    algorithm: DigestAlgorithm,
  ): Unpacking<UnpackedOf[K]> {
    const unpacking = new Unpacking<UnpackedOf[K]>(algorithm, {
      post: (message, transfer) => this.#worker.postMessage(message, transfer),
      memory: () => this.#free.pop(),
    });
    this.#current = unpacking;
    unpacking.start(order);
    return unpacking;
  }

  /** Lets a thread end by itself that has finished what it unpacked: it writes nothing any more. */
  dismiss(): void {
    this.#worker.unref();
    this.#worker.postMessage({ kind: 'quit' } satisfies ToUnpacker);
  }

  /** Ends the thread, whatever it is doing; nothing is written any more when this answers. */
  async stop(): Promise<void> {
    this.#current?.unwatch();
    if (this.#exited) return;
    this.#worker.postMessage({ kind: 'quit' } satisfies ToUnpacker);
    // Asked first, so that it closes its files; a decoder stuck in a loop has to be killed.
    const impatience = setTimeout(() => void this.#worker.terminate(), 2_000);
    await new Promise((resolve) => this.#worker.once('exit', resolve));
    clearTimeout(impatience);
  }
}

/** What the thread tells its news to. */
type Listener = Pick<Unpacking<unknown>, 'receive' | 'fail' | 'unwatch'>;

/** What an unpacking needs of its thread. */
interface ThreadAccess {
  post(message: ToUnpacker, transfer: ArrayBuffer[]): void;
  /** Memory of a piece to be used again. */
  memory(): ArrayBuffer | undefined;
}

/** One archive being unpacked, fed piece by piece. */
export class Unpacking<T> {
  readonly #thread: ThreadAccess;
  readonly #content: ContentDigest;
  readonly #outcome = Promise.withResolvers<T & { readonly content: Digest }>();
  #underWay = 0;
  #failure: Error | undefined;
  /** One for all who wait: a large write gives several pieces before it waits for any. */
  #room: PromiseWithResolvers<void> | undefined;
  #watchdog: NodeJS.Timeout | undefined;

  constructor(algorithm: DigestAlgorithm, thread: ThreadAccess) {
    this.#thread = thread;
    this.#content = new ContentDigest(algorithm);
    // Whoever feeds the thread hears of a failure from `give` or `finish`.
    this.#outcome.promise.catch(() => {});
  }

  start(order: UnpackOrder): void {
    this.#thread.post({ kind: 'start', order, outstanding: this.#content.outstanding }, []);
  }

  /** Memory for the next piece, `pieceSize` bytes. */
  allocate(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#thread.memory() ?? new ArrayBuffer(pieceSize));
  }

  /**
   * Hands over a piece from `allocate`; its memory goes to the thread. Await the answer, if any: there is room again.
   * Throws what went wrong so far.
   */
  give(piece: Uint8Array<ArrayBuffer>): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    this.#underWay += 1;
    this.#watch();
    this.#thread.post({ kind: 'piece', piece }, [piece.buffer]);
    return this.#underWay < window ? undefined : this.#waitForRoom();
  }

  /**
   * Says that there are no more pieces; answers when everything is written, with the digest of the
   * uncompressed bytes.
   */
  async finish(): Promise<T & { readonly content: Digest }> {
    if (this.#failure === undefined) this.#thread.post({ kind: 'end' }, []);
    this.#watch();
    return this.#outcome.promise;
  }

  /** What the thread says. */
  receive(message: FromUnpacker): void {
    this.#watch();
    if (message.kind === 'content') this.#content.update(message.piece);
    else if (message.kind === 'taken') this.#taken();
    else if (message.kind === 'failed') this.fail(failureOf(message));
    else this.#succeed(message.unpacked as T);
  }

  /** Ends it; only the first failure counts. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.unwatch();
    this.#outcome.reject(this.#failure);
    this.#settle();
  }

  /** Nobody waits for progress any more. */
  unwatch(): void {
    clearTimeout(this.#watchdog);
  }

  #succeed(unpacked: T): void {
    this.unwatch();
    this.#outcome.resolve({ ...unpacked, content: this.#content.digest() });
  }

  async #waitForRoom(): Promise<void> {
    this.#room ??= Promise.withResolvers();
    await this.#room.promise;
    if (this.#failure !== undefined) throw this.#failure;
  }

  #taken(): void {
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

  #stalled(): void {
    this.fail(new GantryError('invalid-archive', 'image archive: decompression does not progress'));
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
