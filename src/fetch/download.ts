import { GantryError } from '../error.ts';
import { type BodySink, headerOf, type ResponseHead } from './exchange.ts';
import { isTransientFailure, statusFailure } from './failure.ts';
import { shownUrl } from './location.ts';
import { delayBeforeRetry, isTransientStatus, pause } from './pace.ts';
import type { Reporter, Transfer } from './reporter.ts';
import type { Getter } from './transport.ts';

/** Where a download's bytes go. */
export interface DownloadTarget {
  /** The next bytes, in order; a promise holds the next ones back. What it throws ends the download. */
  write(chunk: Buffer): void | Promise<void>;
  /** What came so far was of another version: forget it, the first byte comes again. */
  restart(): Promise<void>;
}

/** What the client already has, to be fetched only if it changed. */
export interface Validators {
  readonly etag?: string | undefined;
  readonly lastModified?: string | undefined;
}

/** What is downloaded, where more is known of it than its URL. */
export interface DownloadSubject {
  /** For the progress bar. */
  readonly label: string;
  /** Its size in bytes: an answer that announces or sends anything else is refused at once. */
  readonly size?: number;
  /** Its name is its digest, so every answer is of the one version there is. */
  readonly immutable?: boolean;
}

const archive: DownloadSubject = { label: 'Downloading ACI' };

/** How a download ended. */
export interface DownloadOutcome {
  /** The copy the validators name is still the current one; nothing was written. */
  readonly notModified: boolean;
  readonly head: ResponseHead;
}

/**
 * Downloads something large. A broken connection is taken up where it broke, with the validator of
 * the first answer as condition (RFC 9110 section 13.1.5), so that the bytes written are always of
 * one version; when the version changed meanwhile, the target starts over. What is named by its
 * digest needs no condition.
 *
 * @throws GantryError `network`; `interrupted`; what the target throws, unchanged
 */
export async function download(
  getter: Getter,
  url: URL,
  known: Validators,
  target: DownloadTarget,
  report: Reporter,
  subject: DownloadSubject = archive,
): Promise<DownloadOutcome> {
  const session = new DownloadSession(getter, url, known, target, report, subject);
  try {
    return await session.run();
  } finally {
    session.transfer?.done();
  }
}

class DownloadSession {
  transfer: Transfer | undefined;
  readonly #getter: Getter;
  readonly #url: URL;
  readonly #known: Validators;
  readonly #target: DownloadTarget;
  readonly #report: Reporter;
  readonly #subject: DownloadSubject;
  #received = 0;
  /** Of the whole thing, once a server said it. */
  #total: number | undefined;
  /** What If-Range takes; undefined when the server gave nothing to hold on to. */
  #validator: string | undefined;

  constructor(
    getter: Getter,
    url: URL,
    known: Validators,
    target: DownloadTarget,
    report: Reporter,
    subject: DownloadSubject,
  ) {
    this.#getter = getter;
    this.#subject = subject;
    this.#url = url;
    this.#known = known;
    this.#target = target;
    this.#report = report;
  }

  async run(): Promise<DownloadOutcome> {
    const { pace, signal } = this.#getter;
    let failures = 0;
    for (let tries = 1; ; tries++) {
      const before = this.#received;
      const attempt = await this.#attempt();
      if (attempt.outcome !== undefined) return attempt.outcome;
      failures = this.#received > before ? 1 : failures + 1;
      if (failures >= pace.attempts || tries > pace.resumptions) throw attempt.failure;
      const delay = delayBeforeRetry(pace, failures, attempt.retryAfter);
      this.#report.debug(
        `image: ${attempt.failure.message}; trying again in ${Math.round(delay)} ms from byte ${this.#received}`,
      );
      await pause(delay, signal);
    }
  }

  async #attempt(): Promise<Attempt> {
    let begun: Promise<void> | undefined;
    try {
      if (this.#received > 0 && !this.#isResumable) await this.#forget();
      const head = await this.#getter.get(this.#url, this.#requestHeaders(), (answer) => {
        const accepted = this.#accept(answer);
        begun = accepted?.begun;
        return accepted?.sink;
      });
      await begun;
      return await this.#conclude(head);
    } catch (error) {
      if (!(error instanceof GantryError) || !isTransientFailure(error)) throw error;
      await begun;
      return { failure: error };
    }
  }

  get #isResumable(): boolean {
    return this.#subject.immutable === true || this.#validator !== undefined;
  }

  #requestHeaders(): Record<string, string> {
    if (this.#received > 0 && this.#subject.immutable === true) {
      return { range: `bytes=${this.#received}-` };
    }
    if (this.#received > 0 && this.#validator !== undefined) {
      return { range: `bytes=${this.#received}-`, 'if-range': this.#validator };
    }
    const { etag, lastModified } = this.#known;
    // RFC 9110 section 13.1.3: with an entity tag the date would be ignored.
    if (etag !== undefined) return { 'if-none-match': etag };
    return lastModified === undefined ? {} : { 'if-modified-since': lastModified };
  }

  /** Decides from the head where the body goes; undefined when it is not the thing itself. */
  #accept(head: ResponseHead): Accepted | undefined {
    if (head.status === 206) {
      return this.#continues(head) ? { sink: this.#write } : undefined;
    }
    if (head.status !== 200) return undefined;
    const begun = this.#received > 0 ? this.#forget() : undefined;
    this.#begin(head);
    if (begun === undefined) return { sink: this.#write };
    // The sink or #attempt tells what goes wrong with it, unless the connection failed before.
    begun.catch(() => {});
    let ready: Promise<void> | undefined = begun;
    const sink: BodySink = (chunk) => {
      if (ready === undefined) return this.#write(chunk);
      const written = ready.then(() => this.#write(chunk));
      ready = undefined;
      return written;
    };
    return { sink, begun };
  }

  readonly #write: BodySink = (chunk) => {
    this.#received += chunk.length;
    if (this.#total !== undefined && this.#received > this.#total) {
      throw this.#broken(`more bytes than the ${this.#total} announced`);
    }
    this.transfer?.advance(chunk.length);
    return this.#target.write(chunk);
  };

  #begin(head: ResponseHead): void {
    const length = headerOf(head, 'content-length');
    const { label, size } = this.#subject;
    if (size !== undefined && length !== undefined && Number(length) !== size) {
      throw this.#broken(`the server announces ${Number(length)} bytes of what has ${size}`);
    }
    this.#total = size ?? (length === undefined ? undefined : Number(length));
    this.#validator =
      headerOf(head, 'accept-ranges') === 'none' ? undefined : strongValidator(head);
    this.transfer ??= this.#report.transfer(label, this.#total);
  }

  async #forget(): Promise<void> {
    this.transfer?.advance(-this.#received);
    this.#received = 0;
    this.#total = undefined;
    this.#validator = undefined;
    await this.#target.restart();
  }

  /** Whether a 206 is the very rest that was asked for (RFC 9110 section 15.3.7). */
  #continues(head: ResponseHead): boolean {
    const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(headerOf(head, 'content-range') ?? '');
    if (range === null || this.#received === 0 || Number(range[1]) !== this.#received) return false;
    const etag = headerOf(head, 'etag');
    if (etag !== undefined && this.#validator?.startsWith('"') && etag !== this.#validator) {
      return false;
    }
    if (range[3] === '*') return this.#total === undefined || Number(range[2]) + 1 === this.#total;
    const total = Number(range[3]);
    if (Number(range[2]) + 1 !== total || (this.#total ?? total) !== total) return false;
    this.#total = total;
    return true;
  }

  async #conclude(head: ResponseHead): Promise<Attempt> {
    const { status } = head;
    const wholeBody = status === 200 || (status === 206 && this.#continued(head));
    if (wholeBody) {
      if (this.#total !== undefined && this.#received !== this.#total) {
        throw this.#broken(`${this.#received} bytes came of the ${this.#total} announced`);
      }
      return { outcome: { notModified: false, head } };
    }
    const conditional = this.#known.etag !== undefined || this.#known.lastModified !== undefined;
    if (status === 304 && conditional && this.#received === 0) {
      return { outcome: { notModified: true, head } };
    }
    const failure = statusFailure(this.#url, head);
    if (status === 206 || status === 416) {
      if (this.#received === 0) throw failure;
      await this.#forget();
      return { failure };
    }
    if (!isTransientStatus(status)) throw failure;
    return { failure, retryAfter: headerOf(head, 'retry-after') };
  }

  /** A 206 whose body was taken has brought the count up to its end. */
  #continued(head: ResponseHead): boolean {
    const range = /^bytes \d+-(\d+)\//.exec(headerOf(head, 'content-range') ?? '');
    return range !== null && this.#received === Number(range[1]) + 1;
  }

  #broken(why: string): GantryError {
    return new GantryError('network', `${shownUrl(this.#url)}: ${why}`);
  }
}

interface Accepted {
  readonly sink: BodySink;
  /** Settles when the target is ready for the first byte again. */
  readonly begun?: Promise<void>;
}

type Attempt =
  | { readonly outcome: DownloadOutcome; readonly failure?: undefined }
  | {
      readonly outcome?: undefined;
      readonly failure: GantryError;
      readonly retryAfter?: string | undefined;
    };

/**
 * What proves two answers to be of one version, byte for byte: a strong entity tag, or a date of
 * last change that lies before the answer's own by more than its one second (RFC 9110 8.8.2.2).
 */
function strongValidator(head: ResponseHead): string | undefined {
  const etag = headerOf(head, 'etag');
  if (etag?.startsWith('"')) return etag;
  const modified = headerOf(head, 'last-modified');
  const date = headerOf(head, 'date');
  if (modified === undefined || date === undefined) return undefined;
  return Date.parse(date) - Date.parse(modified) >= 1000 ? modified : undefined;
}
