import { createSecureContext, type SecureContext } from 'node:tls';
import type { Dispatcher } from 'undici';
import { GantryError } from '../error.ts';
import { loadAuthorities } from './authorities.ts';
import { Authorization } from './authorization.ts';
import type { TransportContext } from './context.ts';
import { type BodySink, exchange, headerOf, type ResponseHead } from './exchange.ts';
import { transferFailure } from './failure.ts';
import { bareUrl, shownTarget, shownUrl } from './location.ts';
import { ordinaryPace, type Pace } from './pace.ts';
import { proxyFor } from './proxy.ts';

/** RFC 9110 section 15.4: the ones that name another place for the same GET. */
const redirectStatuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/**
 * GET over HTTPS as the operator allows it: proxies, authorities, credentials, redirects. It knows
 * nothing of what is fetched.
 */
export class Transport {
  readonly pace: Pace;
  readonly signal: AbortSignal | undefined;
  readonly #context: TransportContext;
  readonly #authorization: Authorization;
  readonly #dispatchers = new Map<string, Dispatcher>();
  #secureContext: SecureContext | undefined;

  constructor(context: TransportContext) {
    this.#context = context;
    this.pace = { ...ordinaryPace, ...context.pace };
    this.signal = context.signal;
    this.#authorization = new Authorization(context);
  }

  /**
   * Requests `url` once, following redirects, and answers the last head when the body went where
   * `receive` said. Whatever the status, it is an answer, not an error.
   *
   * @param headers sent to every host on the way: never put credentials here
   * @throws GantryError `network`; `interrupted`; what the sink throws, unchanged
   */
  async get(
    url: URL,
    headers: Readonly<Record<string, string>>,
    receive: (head: ResponseHead) => BodySink | undefined,
  ): Promise<ResponseHead> {
    let from: URL | undefined;
    let at = url;
    for (let hops = 0; hops <= this.pace.redirects; hops++) {
      this.#requireAllowedScheme(at, from);
      const head = await this.#exchange(at, headers, hops === 0, (answer) =>
        redirectTarget(answer) === undefined ? receive(answer) : undefined,
      );
      const target = redirectTarget(head);
      if (target === undefined) return head;
      from = at;
      at = target;
    }
    throw new GantryError(
      'network',
      `${shownUrl(url)}: stopped after ${this.pace.redirects} redirects, the last to ${shownTarget(at)}`,
    );
  }

  /** Closes every connection. */
  async close(): Promise<void> {
    const open = [...this.#dispatchers.values()];
    this.#dispatchers.clear();
    await Promise.all(open.map((dispatcher) => dispatcher.destroy()));
  }

  async #exchange(
    url: URL,
    headers: Readonly<Record<string, string>>,
    first: boolean,
    receive: (head: ResponseHead) => BodySink | undefined,
  ): Promise<ResponseHead> {
    const authorization = this.#authorization.headerFor(url, first);
    const request = {
      url: bareUrl(url),
      headers: {
        'user-agent': 'gantry',
        // What is signed is the file as it lies there; no encoding may come between.
        'accept-encoding': 'identity',
        ...headers,
        ...(authorization === undefined ? {} : { authorization }),
      },
      headersTimeout: this.pace.headersTimeout,
      bodyTimeout: this.pace.bodyTimeout,
      signal: this.signal,
    };
    const proxy = proxyFor(url, this.#context.env);
    const dispatcher = await this.#dispatcherFor(proxy);
    try {
      return await exchange(dispatcher, request, receive);
    } catch (error) {
      throw transferFailure({ url, proxy, signal: this.signal }, error);
    }
  }

  #requireAllowedScheme(url: URL, from: URL | undefined): void {
    const shown = from === undefined ? shownUrl(url) : shownTarget(url);
    const redirected = from === undefined ? '' : `${shownUrl(from)} redirects: `;
    if (url.protocol === 'https:') return;
    if (url.protocol !== 'http:') {
      throw new GantryError(
        'network',
        `${redirected}${shown}: only https:// (and http://) can be fetched`,
      );
    }
    if (from?.protocol === 'https:') {
      // No option allows this one: who asked for https would be served over http unknowingly.
      throw new GantryError('network', `${redirected}${shown}: refusing to go from https to http`);
    }
    if (!this.#context.insecure.http) {
      throw new GantryError(
        'network',
        `${redirected}${shown}: plain http is refused: use https, or allow it with --insecure-options=http`,
      );
    }
  }

  async #dispatcherFor(proxy: URL | undefined): Promise<Dispatcher> {
    const key = proxy?.href ?? '';
    const open = this.#dispatchers.get(key) ?? (await this.#openDispatcher(proxy));
    this.#dispatchers.set(key, open);
    return open;
  }

  /** undici is loaded with the first request: a fetch the store can answer makes none. */
  async #openDispatcher(proxy: URL | undefined): Promise<Dispatcher> {
    // CommonJS: `default` is the module itself, under Node and under every bundler.
    const { default: undici } = await import('undici');
    const tls = {
      secureContext: this.#trustedAuthorities(),
      rejectUnauthorized: !this.#context.insecure.tls,
    };
    // HTTP/2's framing costs CPU and gains nothing for one large body.
    const shared = { allowH2: false, connectTimeout: this.pace.connectTimeout };
    if (proxy === undefined) {
      return new undici.Agent({
        ...shared,
        connect: { ...tls, timeout: this.pace.connectTimeout },
      });
    }
    return new undici.ProxyAgent({ ...shared, uri: proxy.href, requestTls: tls, proxyTls: tls });
  }

  /** Made once: parsing the system's bundle for each connection would take longer than connecting. */
  #trustedAuthorities(): SecureContext {
    if (this.#secureContext === undefined) {
      const ca = this.#context.insecure.tls ? undefined : loadAuthorities(this.#context.env);
      this.#secureContext = createSecureContext(ca === undefined ? {} : { ca });
    }
    return this.#secureContext;
  }
}

/** Where the answer sends us; undefined when it is the answer itself. */
function redirectTarget(head: ResponseHead): URL | undefined {
  const location = headerOf(head, 'location');
  if (!redirectStatuses.has(head.status) || location === undefined) return undefined;
  const target = URL.parse(location, head.url);
  if (target === null) {
    throw new GantryError(
      'network',
      `${shownUrl(head.url)}: redirects to something that is no URL`,
    );
  }
  return target;
}
