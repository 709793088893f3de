import type { RegistryRules } from '../config/registries.ts';
import { GantryError } from '../error.ts';
import { type Digest, formatDigest } from '../image/digest.ts';
import { quote } from '../image/quotation.ts';
import { isTag } from '../image/repository.ts';
import type { TransportContext } from './context.ts';
import type { BodySink, Method, RequestBody, ResponseHead } from './exchange.ts';
import { isPlainHttpFailure, isRefusedConnection } from './failure.ts';
import type { Pace } from './pace.ts';
import { RegistryAuthorization } from './registry-authorization.ts';
import { type RegistryPlace, serverOf, sitesOf } from './registry-place.ts';
import type { Site } from './site.ts';
import type { Getter, Transport } from './transport.ts';

/** A request to a registry. */
export interface RegistryRequest {
  readonly method?: Method;
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: RequestBody;
}

type Receive = (head: ResponseHead) => BodySink | undefined;

/**
 * Requests to one place's repository, with whatever it wants to be shown. It knows nothing of what is
 * asked for.
 */
export class RegistrySession implements Getter {
  readonly place: RegistryPlace;
  readonly pace: Pace;
  readonly signal: AbortSignal | undefined;
  readonly #transport: Transport;
  readonly #site: (url: URL) => Site;
  readonly #authorization: RegistryAuthorization;
  readonly #httpAllowed: boolean;
  #origin: string;
  /** By https; whoever cuts that off from then on is not spoken to in the clear, and shown what it was. */
  #hasAnswered = false;

  /** @param actions what the repository is for: `pull`, or `pull,push` */
  constructor(
    place: RegistryPlace,
    actions: 'pull' | 'pull,push',
    rules: RegistryRules,
    context: TransportContext,
    transport: Transport,
    pace: Partial<Pace> = {},
  ) {
    this.place = place;
    this.pace = { ...transport.pace, ...pace };
    this.signal = transport.signal;
    this.#transport = transport;
    this.#site = sitesOf(place, rules, context);
    this.#authorization = new RegistryAuthorization(place, actions, this.#site, context, transport);
    this.#httpAllowed = place.http || context.insecure.http;
    this.#origin = `https://${serverOf(place)}`;
  }

  /** What to say on a failure that credentials would mend. */
  get advice(): string {
    return this.#authorization.advice;
  }

  /** A resource of the repository, such as `manifests/latest`. */
  url(resource: string): URL {
    return new URL(`${this.#origin}/v2/${this.place.path}/${resource}`);
  }

  /**
   * Where a manifest lies.
   * @throws GantryError `invalid-reference` for what is no tag: it would be another path
   */
  manifestUrl(reference: string | Digest): URL {
    if (typeof reference !== 'string') return this.url(`manifests/${formatDigest(reference)}`);
    if (isTag(reference)) return this.url(`manifests/${reference}`);
    throw new GantryError(
      'invalid-reference',
      `${this.place.shown}: ${quote(reference)} is not a tag`,
    );
  }

  get(
    url: URL,
    headers: Readonly<Record<string, string>>,
    receive: Receive,
  ): Promise<ResponseHead> {
    return this.send({ url, headers }, receive);
  }

  /**
   * Sends a request once, and a second time where the first is turned away for want of credentials. A 401
   * is an answer like any other where there is nothing better to show.
   *
   * @throws GantryError `network`, `config`, `unsupported`, `interrupted`; what the sink throws
   */
  async send(request: RegistryRequest, receive: Receive): Promise<ResponseHead> {
    const repeatable = request.body === undefined || request.body instanceof Uint8Array;
    for (let round = 1; ; round++) {
      const url = this.#current(request.url);
      // Where an upload goes on is the registry's to say, but not who is shown its credentials.
      const own = url.origin === this.#origin;
      const header = own ? await this.#authorization.header() : undefined;
      const again = repeatable && own && round === 1;
      const turnedAway = (head: ResponseHead) =>
        again && head.status === 401 && head.url.origin === url.origin;
      try {
        const head = await this.#transport.send(
          { ...request, url, authorization: { header }, site: this.#site },
          (answer) => (turnedAway(answer) ? undefined : receive(answer)),
        );
        this.#hasAnswered ||= own && url.protocol === 'https:';
        if (!turnedAway(head)) return head;
        if (await this.#authorization.answer(head, header)) continue;
        // Asked once more, for what it says of it.
      } catch (error) {
        if (!own || url.protocol !== 'https:' || !this.#speaksHttp(error)) throw error;
        this.#resortToHttp(error);
        round--;
      }
    }
  }

  /** A URL that was made before the registry turned out to speak plain HTTP. */
  #current(url: URL): URL {
    const origin = new URL(this.#origin);
    if (url.origin === origin.origin || url.host !== origin.host) return url;
    return new URL(`${url.pathname}${url.search}`, origin);
  }

  /** Where plain HTTP is allowed, a closed port 443 suggests it, too. */
  #speaksHttp(error: unknown): boolean {
    if (this.#hasAnswered) return false;
    return isPlainHttpFailure(error) || (this.#httpAllowed && isRefusedConnection(error));
  }

  #resortToHttp(cause: unknown): void {
    const { shown, host } = this.place;
    if (!this.#httpAllowed) {
      throw new GantryError(
        'network',
        `${shown}: it does not speak https: allow plain http for ${host} in registries.d ("http": true), or with --insecure-options=http`,
        { cause },
      );
    }
    this.#origin = this.#origin.replace(/^https:/, 'http:');
  }
}
