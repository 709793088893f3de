import { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';

/** The head of a response. */
export interface ResponseHead {
  readonly status: number;
  readonly headers: ResponseHeaders;
  /** Where the answer came from, redirects followed. */
  readonly url: URL;
}

/** Header fields by lower-case name. */
export type ResponseHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** Takes a response's body, piece by piece. A promise holds the next piece back until it settles. */
export type BodySink = (chunk: Buffer) => void | Promise<void>;

/** What Gantry asks of servers. */
export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH';

/** What a request brings along. One that is a stream needs a Content-Length among the headers. */
export type RequestBody = Uint8Array | AsyncIterable<Uint8Array>;

/** One request, without regard to redirects. */
export interface ExchangeRequest {
  readonly method: Method;
  readonly url: URL;
  readonly body?: RequestBody | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly headersTimeout: number;
  readonly bodyTimeout: number;
  readonly signal: AbortSignal | undefined;
}

/** A body nobody wants is read to its end up to here, to keep the connection; past it, cut off. */
const DISCARDED_BODY_LIMIT = 64 * 1024;

/**
 * Sends one request and answers its head when the whole body went where `receive` said.
 * This speaks undici's dispatch interface rather than its streams: a piece of the body goes from
 * the parser to the sink in one call, with no queue and no promise in between unless the sink asks
 * for one.
 *
 * @param receive answers where the body goes; undefined to throw it away
 */
export function exchange(
  dispatcher: Dispatcher,
  request: ExchangeRequest,
  receive: (head: ResponseHead) => BodySink | undefined,
): Promise<ResponseHead> {
  return new Promise((resolve, reject) => {
    const handler = new ResponseHandler(request, receive, resolve, reject);
    dispatcher.dispatch(
      {
        origin: request.url.origin,
        path: `${request.url.pathname}${request.url.search}`,
        method: request.method,
        headers: { ...request.headers },
        ...(request.body === undefined ? {} : { body: bodyOf(request.body) }),
        headersTimeout: request.headersTimeout,
        bodyTimeout: request.bodyTimeout,
      },
      handler,
    );
  });
}

/** undici takes iterables as well; its types only know Node's own streams. */
function bodyOf(body: RequestBody): Readable | Uint8Array {
  return body instanceof Uint8Array ? body : Readable.from(body, { objectMode: false });
}

/** The header's value; of one sent several times, the first. */
export function headerOf(head: ResponseHead, name: string): string | undefined {
  const value = head.headers[name];
  return typeof value === 'object' ? value[0] : value;
}

class ResponseHandler implements Dispatcher.DispatchHandler {
  readonly #request: ExchangeRequest;
  readonly #receive: (head: ResponseHead) => BodySink | undefined;
  readonly #resolve: (head: ResponseHead) => void;
  readonly #reject: (error: unknown) => void;
  #controller: Dispatcher.DispatchController | undefined;
  #head: ResponseHead | undefined;
  #sink: BodySink | undefined;
  #pending: Promise<void> | undefined;
  #discarded = 0;
  /** What a sink threw, or why the signal was given: more telling than the abort it brings about. */
  #reason: { readonly error: unknown } | undefined;

  constructor(
    request: ExchangeRequest,
    receive: (head: ResponseHead) => BodySink | undefined,
    resolve: (head: ResponseHead) => void,
    reject: (error: unknown) => void,
  ) {
    this.#request = request;
    this.#receive = receive;
    this.#resolve = resolve;
    this.#reject = reject;
    const { signal } = request;
    if (signal?.aborted) this.#onAbort();
    else signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#reason !== undefined) controller.abort(new Error('aborted'));
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: ResponseHeaders,
  ): void {
    if (status < 200) return;
    this.#head = { status, headers, url: this.#request.url };
    try {
      this.#sink = this.#receive(this.#head);
    } catch (error) {
      this.#fail(error);
    }
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    // A parser that goes on after a pause says "nothing" first: to hold that back would pause it again,
    // without end and without a look at the network.
    if (this.#reason !== undefined || chunk.length === 0) return;
    if (this.#sink === undefined) {
      this.#discard(chunk);
      return;
    }
    try {
      const written = this.#sink(chunk);
      if (written instanceof Promise) this.#hold(controller, written);
    } catch (error) {
      this.#fail(error);
    }
  }

  async onResponseEnd(): Promise<void> {
    this.#release();
    await this.#pending;
    if (this.#reason !== undefined) this.#reject(this.#reason.error);
    else if (this.#head !== undefined) this.#resolve(this.#head);
  }

  async onResponseError(
    _controller: Dispatcher.DispatchController | undefined,
    error: Error,
  ): Promise<void> {
    this.#release();
    // What already was handed to the sink settles first, so that nobody writes after this.
    await this.#pending;
    if (this.#discarded > DISCARDED_BODY_LIMIT && this.#head !== undefined) {
      this.#resolve(this.#head);
    } else {
      this.#reject(this.#reason === undefined ? error : this.#reason.error);
    }
  }

  #hold(controller: Dispatcher.DispatchController, written: Promise<void>): void {
    controller.pause();
    this.#pending = written.then(
      () => controller.resume(),
      (error: unknown) => this.#fail(error),
    );
  }

  #discard(chunk: Buffer): void {
    this.#discarded += chunk.length;
    if (this.#discarded > DISCARDED_BODY_LIMIT) this.#controller?.abort(new Error('body unwanted'));
  }

  readonly #onAbort = (): void => this.#fail(this.#request.signal?.reason);

  #fail(error: unknown): void {
    this.#reason ??= { error };
    // Still connecting: undici gives no way to stop that, but nobody has to wait for it.
    if (this.#controller === undefined) this.#reject(error);
    else this.#controller.abort(error instanceof Error ? error : new Error('aborted'));
  }

  #release(): void {
    this.#request.signal?.removeEventListener('abort', this.#onAbort);
  }
}
