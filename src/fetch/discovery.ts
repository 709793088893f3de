import { GantryError } from '../error.ts';
import type { TransportContext } from './context.ts';
import { type DiscoveryPage, parseDiscoveryPage, speaksFor } from './discovery-page.ts';
import { type Endpoint, renderEndpoint, simpleTemplate } from './discovery-template.ts';
import { fetchDocument } from './document.ts';
import { isConnectionFailure, statusFailure } from './failure.ts';
import { shownUrl } from './location.ts';
import type { Transport } from './transport.ts';

/** A page has a head full of tags, not a megabyte of them. */
const PAGE_LIMIT = 1 << 20;

/** The version looked for where none is asked for, as with rkt. */
const DEFAULT_VERSION = 'latest';

/** Finds out where things called by a name lie (appc spec/discovery.md). */
export class Discovery {
  readonly #context: TransportContext;
  readonly #transport: Transport;

  constructor(context: TransportContext, transport: Transport) {
    this.#context = context;
    this.#transport = transport;
  }

  /**
   * Where an image may lie, the best place first: what the nearest page with usable `ac-discovery`
   * tags says, else the simple template. Simple discovery comes last and not first, because hosts
   * with a page are the rule and each would answer a needless request for every fetch.
   *
   * @throws GantryError `discovery`
   */
  async findEndpoints(name: string, labels: ReadonlyMap<string, string>): Promise<Endpoint[]> {
    const values = new Map([['version', DEFAULT_VERSION], ...labels]);
    const attempts: string[] = [];
    for await (const page of this.#pages(name, 'ac-discovery', attempts)) {
      const templates = page.images.filter((tag) => speaksFor(tag, name));
      const endpoints = templates
        .map((tag) => renderEndpoint(tag.value, name, values))
        .filter((endpoint) => endpoint !== undefined);
      if (endpoints.length > 0) return this.#allowed(name, endpoints);
      if (templates.length > 0) {
        const unfilled = templates.map((tag) => tag.value).join(', ');
        this.#note(attempts, `no label for a variable of ${unfilled}`);
      }
    }
    const simple = renderEndpoint(simpleTemplate, name, values);
    if (simple === undefined) throw failure(name, attempts);
    this.#context.report.debug(`image: no page speaks for ${name}, trying ${simple.image.href}`);
    return [simple];
  }

  /**
   * Where the public keys for names under a prefix lie.
   *
   * @throws GantryError `discovery`
   */
  async findKeys(prefix: string): Promise<URL[]> {
    const attempts: string[] = [];
    for await (const page of this.#pages(prefix, 'ac-discovery-pubkeys', attempts)) {
      const urls = page.keys
        .filter((tag) => speaksFor(tag, prefix))
        .map((tag) => URL.parse(tag.value))
        .filter((url) => url !== null);
      if (urls.length > 0) return urls;
    }
    throw failure(prefix, attempts);
  }

  /** The pages of the name and of its parents, nearest first; those that are no use are noted. */
  async *#pages(name: string, tag: string, attempts: string[]): AsyncGenerator<DiscoveryPage> {
    const components = name.split('/');
    for (let length = components.length; length > 0; length--) {
      const path = components.slice(0, length).join('/');
      try {
        yield await this.#fetchPage(path);
        this.#note(attempts, `meta tag '${tag}' not found on ${path}`);
      } catch (error) {
        if (!(error instanceof GantryError) || error.code !== 'network') throw error;
        this.#note(attempts, error.message);
        // Every page is on the same host, so one that cannot be reached ends the walk.
        if (isConnectionFailure(error)) throw failure(name, attempts, error);
      }
    }
  }

  #note(attempts: string[], attempt: string): void {
    attempts.push(attempt);
    this.#context.report.debug(`image: ${attempt}`);
  }

  /** The page over https; over http only where that is allowed and https gave none. */
  async #fetchPage(path: string): Promise<DiscoveryPage> {
    try {
      return await this.#fetchPageFrom(pageUrl('https', path));
    } catch (error) {
      const fallback = error instanceof GantryError && error.code === 'network';
      if (!fallback || !this.#context.insecure.http) throw error;
      return await this.#fetchPageFrom(pageUrl('http', path));
    }
  }

  async #fetchPageFrom(url: URL): Promise<DiscoveryPage> {
    const { head, bytes } = await fetchDocument(this.#transport, url, PAGE_LIMIT);
    if (head.status !== 200) throw statusFailure(url, head);
    return parseDiscoveryPage(bytes.toString('utf8'));
  }

  #allowed(name: string, endpoints: readonly Endpoint[]): Endpoint[] {
    const schemes = this.#context.insecure.http ? ['https:', 'http:'] : ['https:'];
    // An encrypted place is preferred whatever the order they are listed in.
    const allowed = schemes.flatMap((scheme) =>
      endpoints.filter(({ image, signature }) => {
        return image.protocol === scheme && signature.protocol === scheme;
      }),
    );
    if (allowed.length > 0) return allowed;
    const shown = endpoints.map(({ image }) => shownUrl(image)).join(', ');
    throw new GantryError(
      'discovery',
      `discovery failed for ${JSON.stringify(name)}: only ${shown} is offered, and plain http is refused without --insecure-options=http`,
    );
  }
}

function pageUrl(scheme: string, path: string): URL {
  const url = URL.parse(`${scheme}://${path}?ac-discovery=1`);
  if (url !== null) return url;
  // An image name need not begin with a host: `app-1.2` would be an IPv4 address, and is none.
  const host = path.replace(/\/.*/, '');
  throw failure(path, [`${JSON.stringify(host)} is not the name of a host`]);
}

function failure(name: string, attempts: readonly string[], cause?: unknown): GantryError {
  return new GantryError(
    'discovery',
    `discovery failed for ${JSON.stringify(name)}: ${attempts.join('; ')}`,
    { cause },
  );
}
