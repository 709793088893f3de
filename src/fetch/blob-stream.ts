import { GantryError } from '../error.ts';
import type { DownloadTarget } from './download.ts';

/**
 * Turns a download, which pushes, into content that is pulled, one piece at a time: a piece is the
 * reader's until it asks for the next one, and the download waits for that.
 */
export class BlobStream implements DownloadTarget, AsyncIterable<Buffer> {
  #piece: Buffer | undefined;
  #begun = false;
  #isAbandoned = false;
  #end: { readonly failure?: unknown } | undefined;
  /** The download waits for this: its piece was used up. */
  #taken: (() => void) | undefined;
  /** The reader waits for this: there is a piece, or an end. */
  #given: (() => void) | undefined;

  write(chunk: Buffer): Promise<void> | undefined {
    if (this.#end !== undefined) throw this.#refusal();
    if (chunk.length === 0) return undefined;
    this.#begun = true;
    this.#piece = chunk;
    this.#given?.();
    return new Promise((resolve) => {
      this.#taken = resolve;
    });
  }

  /** What a reader took cannot be taken back: it has to begin with another stream. */
  async restart(): Promise<void> {
    if (this.#begun) throw new RestartedDownload();
  }

  /** Says that the last piece was written. */
  finish(): void {
    this.#close({});
  }

  /** Nobody reads on: the download, if it is still under way, fails of that. */
  abandon(): void {
    this.#isAbandoned ||= this.#end === undefined;
    this.fail(new GantryError('internal', 'nobody reads the rest of the blob'));
  }

  /** Whether the reader stopped before the download did. */
  get isAbandoned(): boolean {
    return this.#isAbandoned;
  }

  /** Ends reading and writing with an error. */
  fail(failure: unknown): void {
    this.#close({ failure });
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Buffer> {
    try {
      for (;;) {
        const piece = this.#piece;
        if (piece !== undefined) {
          yield piece;
          this.#piece = undefined;
          this.#taken?.();
        } else if (this.#end !== undefined) {
          break;
        } else {
          await new Promise<void>((resolve) => {
            this.#given = resolve;
          });
        }
      }
      if ('failure' in this.#end) throw this.#end.failure;
    } finally {
      // A reader that stops early would leave the download waiting for ever.
      this.abandon();
    }
  }

  #close(end: { readonly failure?: unknown }): void {
    this.#end ??= end;
    this.#given?.();
    this.#taken?.();
  }

  #refusal(): unknown {
    return this.#end?.failure ?? new GantryError('internal', 'a blob goes on after its end');
  }
}

/** The download began again after some of it had been passed on. */
export class RestartedDownload extends Error {}
