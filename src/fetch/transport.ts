import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import type { Dispatcher } from 'undici';
import { GantryError } from '../error.ts';
import { loadAuthorities } from './authorities.ts';
import { Authorization } from './authorization.ts';
import type { TransportContext } from './context.ts';
import {
  type BodySink,
  exchange,
  headerOf,
  type Method,
  type RequestBody,
  type ResponseHead,
} from './exchange.ts';
import { transferFailure } from './failure.ts';
import { bareUrl, shownTarget, shownUrl } from './location.ts';
import { ordinaryPace, type Pace } from './pace.ts';
import { proxyFor } from './proxy.ts';
import type { Site, SiteTls } from './site.ts';

/** Whatever can be asked for a URL: the transport itself, or one that adds what a registry wants. */
export interface Getter {
  readonly pace: Pace;
  readonly signal: AbortSignal | undefined;
  /** Requests `url` once, and answers the last head when the body went where `receive` said. */
  get(
    url: URL,
    headers: Readonly<Record<string, string>>,
    receive: (head: ResponseHead) => BodySink | undefined,
  ): Promise<ResponseHead>;
}

/** One request, redirects included. */
export interface TransportRequest {
  /** GET unless said otherwise. Only a GET or HEAD is carried to where a redirect leads. */
  readonly method?: Method;
  readonly url: URL;
  /** Sent to every host on the way: never put credentials here. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: RequestBody;
  /**
   * In place of what `auth.d` says. It is shown to the first host, scheme and port alone, and then
   * nothing is shown to the others: a registry's storage has signatures in its URLs and chokes on more.
   */
  readonly authorization?: { readonly header: string | undefined };
  /** What holds for a host on the way; without it, what holds for every host. */
  readonly site?: (url: URL) => Site;
  /** Throws where the answer may not lead there. */
  readonly checkRedirect?: (from: URL, to: URL) => void;
}

/** RFC 9110 section 15.4: the ones that name another place for the same GET. */
const redirectStatuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const followedMethods: ReadonlySet<Method> = new Set<Method>(['GET', 'HEAD']);

/**
 * HTTPS as the operator allows it: proxies, authorities, credentials, redirects. It knows nothing of
 * what is fetched.
 */
export class Transport implements Getter {
  readonly pace: Pace;
  readonly signal: AbortSignal | undefined;
  readonly #context: TransportContext;
  readonly #authorization: Authorization;
  readonly #dispatchers = new Map<string, Dispatcher>();
  readonly #secureContexts = new Map<string, SecureContext>();

  constructor(context: TransportContext) {
    this.#context = context;
    this.pace = { ...ordinaryPace, ...context.pace };
    this.signal = context.signal;
    this.#authorization = new Authorization(context);
  }

  /** Gets `url` once; see `send`. */
  get(
    url: URL,
    headers: Readonly<Record<string, string>>,
    receive: (head: ResponseHead) => BodySink | undefined,
  ): Promise<ResponseHead> {
    return this.send({ url, headers }, receive);
  }

  /**
   * Makes a request once, following redirects, and answers the last head when the body went where
   * `receive` said. Whatever the status, it is an answer, not an error.
   *
   * @throws GantryError `network`; `interrupted`; what the sink throws, unchanged
   */
  async send(
    request: TransportRequest,
    receive: (head: ResponseHead) => BodySink | undefined,
  ): Promise<ResponseHead> {
    const followed = followedMethods.has(request.method ?? 'GET');
    const targetOf = (answer: ResponseHead) => (followed ? redirectTarget(answer) : undefined);
    let from: URL | undefined;
    let at = request.url;
    for (let hops = 0; hops <= this.pace.redirects; hops++) {
      this.#requireAllowedScheme(at, from, request.site?.(at));
      const head = await this.#exchange(request, at, hops === 0, (answer) =>
        targetOf(answer) === undefined ? receive(answer) : undefined,
      );
      const target = targetOf(head);
      if (target === undefined) return head;
      request.checkRedirect?.(at, target);
      from = at;
      at = target;
    }
    throw new GantryError(
      'network',
      `${shownUrl(request.url)}: stopped after ${this.pace.redirects} redirects, the last to ${shownTarget(at)}`,
    );
  }

  /** Closes every connection. */
  async close(): Promise<void> {
    const open = [...this.#dispatchers.values()];
    this.#dispatchers.clear();
    await Promise.all(open.map((dispatcher) => dispatcher.destroy()));
  }

  async #exchange(
    request: TransportRequest,
    url: URL,
    first: boolean,
    receive: (head: ResponseHead) => BodySink | undefined,
  ): Promise<ResponseHead> {
    const authorization = this.#authorizationFor(request, url, first);
    const sent = {
      method: request.method ?? 'GET',
      url: bareUrl(url),
      body: request.body,
      headers: {
        'user-agent': 'gantry',
        // What is signed is the file as it lies there; no encoding may come between.
        'accept-encoding': 'identity',
        ...request.headers,
        ...(authorization === undefined ? {} : { authorization }),
      },
      headersTimeout: this.pace.headersTimeout,
      bodyTimeout: this.pace.bodyTimeout,
      signal: this.signal,
    };
    const proxy = proxyFor(url, this.#context.env);
    const dispatcher = await this.#dispatcherFor(proxy, request.site?.(url).tls);
    try {
      return await exchange(dispatcher, sent, receive);
    } catch (error) {
      throw transferFailure({ url, proxy, signal: this.signal }, error);
    }
  }

  #authorizationFor(
    { authorization, url: asked }: TransportRequest,
    url: URL,
    first: boolean,
  ): string | undefined {
    if (authorization === undefined) return this.#authorization.headerFor(url, first);
    return url.origin === asked.origin ? authorization.header : undefined;
  }

  #requireAllowedScheme(url: URL, from: URL | undefined, site: Site | undefined): void {
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
    if (!this.#context.insecure.http && site?.http !== true) {
      throw new GantryError(
        'network',
        `${redirected}${shown}: plain http is refused: use https, or allow it with --insecure-options=http`,
      );
    }
  }

  async #dispatcherFor(proxy: URL | undefined, tls: SiteTls | undefined): Promise<Dispatcher> {
    const key = `${proxy?.href ?? ''} ${tls?.key ?? ''}`;
    const open = this.#dispatchers.get(key) ?? (await this.#openDispatcher(proxy, tls));
    // Another request may have opened one for the same while undici was being loaded.
    const first = this.#dispatchers.get(key) ?? open;
    this.#dispatchers.set(key, first);
    return first;
  }

  /** undici is loaded with the first request: a fetch the store can answer makes none. */
  async #openDispatcher(proxy: URL | undefined, tls: SiteTls | undefined): Promise<Dispatcher> {
    // CommonJS: `default` is the module itself, under Node and under every bundler.
    const { default: undici } = await import('undici');
    const own = this.#tlsOptions(tls);
    // HTTP/2's framing costs CPU and gains nothing for one large body.
    const shared = { allowH2: false, connectTimeout: this.pace.connectTimeout };
    if (proxy === undefined) {
      return new undici.Agent({
        ...shared,
        connect: { ...own, timeout: this.pace.connectTimeout },
      });
    }
    const proxyTls = this.#tlsOptions(undefined);
    return new undici.ProxyAgent({ ...shared, uri: proxy.href, requestTls: own, proxyTls });
  }

  #tlsOptions(tls: SiteTls | undefined) {
    return {
      secureContext: this.#secureContextFor(tls),
      rejectUnauthorized: !this.#context.insecure.tls,
    };
  }

  /** Made once: parsing the system's bundle for each connection would take longer than connecting. */
  #secureContextFor(tls: SiteTls | undefined): SecureContext {
    const key = tls?.key ?? '';
    const known = this.#secureContexts.get(key);
    if (known !== undefined) return known;
    const ca = this.#context.insecure.tls ? undefined : this.#authoritiesFor(tls);
    const own =
      tls?.certificate === undefined ? {} : { cert: tls.certificate, key: tls.privateKey };
    const made = createSecureContext({ ...(ca === undefined ? {} : { ca }), ...own });
    this.#secureContexts.set(key, made);
    return made;
  }

  #authoritiesFor(tls: SiteTls | undefined): string[] | undefined {
    if (tls === undefined || tls.authorities.length === 0) {
      return loadAuthorities(this.#context.env);
    }
    if (tls.exclusive) return [...tls.authorities];
    return [...tls.authorities, ...(loadAuthorities(this.#context.env) ?? rootCertificates)];
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
