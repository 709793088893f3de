import { GantryError } from '../error.ts';
import { quote } from '../image/quotation.ts';
import { basic } from './authorization.ts';
import type { TransportContext } from './context.ts';
import type { ResponseHead } from './exchange.ts';
import { type Challenge, challengesOf } from './registry-challenge.ts';
import {
  credentialPlaces,
  findCredentials,
  type RegistryCredentials,
} from './registry-credentials.ts';
import { isNear, mayShowSecrets, type RegistryPlace } from './registry-place.ts';
import { requestToken } from './registry-token.ts';
import type { Site } from './site.ts';
import type { Transport } from './transport.ts';

/** What one repository of one registry is shown. It begins as nobody, and learns what is wanted. */
export class RegistryAuthorization {
  readonly #place: RegistryPlace;
  readonly #scope: string;
  readonly #site: (url: URL) => Site;
  readonly #context: TransportContext;
  readonly #transport: Transport;
  #header: string | undefined;
  #expiresAt = Number.POSITIVE_INFINITY;
  /** The last challenge, to be answered again when the token has run out. */
  #renewal: { readonly challenge: Challenge; readonly protocol: string } | undefined;
  #credentials: Promise<RegistryCredentials | undefined> | undefined;
  /** Whether there are any. */
  #known = false;
  /** Requests that are turned away together wait for one answer. */
  #answering: Promise<void> | undefined;

  /** @param actions `pull`, or `pull,push` */
  constructor(
    place: RegistryPlace,
    actions: string,
    site: (url: URL) => Site,
    context: TransportContext,
    transport: Transport,
  ) {
    this.#place = place;
    this.#scope = `repository:${place.path}:${actions}`;
    this.#site = site;
    this.#context = context;
    this.#transport = transport;
  }

  /** What to say on a failure that credentials would mend. */
  get advice(): string {
    return credentialPlaces(this.#place.host, this.#context.env, this.#known);
  }

  /** The header to be shown now: none until somebody asked for one. */
  async header(): Promise<string | undefined> {
    if (this.#renewal !== undefined && Date.now() >= this.#expiresAt) {
      await this.#answerOnce(this.#renewal.challenge, this.#renewal.protocol);
    }
    return this.#header;
  }

  /**
   * Makes ready what a 401 asks for; false where nothing better than what was shown can be had.
   *
   * @param shown the header that was turned away
   * @throws GantryError `network`, `config`, `unsupported`
   */
  async answer(head: ResponseHead, shown: string | undefined): Promise<boolean> {
    await this.#answering;
    // Another request has been turned away before, and has come by something new.
    if (this.#header !== shown) return true;
    const challenge = challengesOf(head).find(({ scheme }) => ['bearer', 'basic'].includes(scheme));
    if (challenge === undefined) return false;
    // What was shown had not run out: the registry does not want it.
    if (shown !== undefined && challenge.scheme === 'basic') return false;
    await this.#answerOnce(challenge, head.url.protocol);
    return this.#header !== shown;
  }

  async #answerOnce(challenge: Challenge, protocol: string): Promise<void> {
    this.#answering ??= this.#answerNow(challenge, protocol).finally(() => {
      this.#answering = undefined;
    });
    await this.#answering;
  }

  async #answerNow(challenge: Challenge, protocol: string): Promise<void> {
    const credentials = await this.#loadCredentials();
    this.#known = credentials !== undefined;
    if (credentials !== undefined && protocol !== 'https:' && !mayShowSecrets(this.#place)) {
      throw new GantryError(
        'network',
        `${this.#place.shown}: it wants credentials over plain http: refused, unless registries.d says "http": true of ${this.#place.host}`,
      );
    }
    if (credentials?.type === 'bearer') {
      this.#header = `Bearer ${credentials.token}`;
    } else if (challenge.scheme === 'bearer') {
      const token = await this.#requestToken(challenge, credentials);
      this.#header = `Bearer ${token.value}`;
      this.#expiresAt = token.expiresAt;
      this.#renewal = { challenge, protocol };
    } else if (credentials?.type === 'password') {
      this.#header = basic(credentials.user, credentials.password);
    }
  }

  #loadCredentials(): Promise<RegistryCredentials | undefined> {
    const { host, path } = this.#place;
    this.#credentials ??= findCredentials(`${host}/${path}`, this.#context);
    return this.#credentials;
  }

  #requestToken(challenge: Challenge, credentials: RegistryCredentials | undefined) {
    const { parameters } = challenge;
    return requestToken(
      {
        shown: this.#place.shown,
        realm: this.#realmOf(parameters.get('realm') ?? ''),
        service: parameters.get('service'),
        scope: this.#scope,
        credentials,
        site: this.#site,
        advice: this.advice,
      },
      this.#transport,
    );
  }

  /**
   * The token server is the registry's to name; whatever it names is shown the registry's credentials
   * and nothing else, by https.
   */
  #realmOf(text: string): URL {
    const { shown } = this.#place;
    const url = URL.parse(text);
    if (url === null || url.username !== '' || !['https:', 'http:'].includes(url.protocol)) {
      throw new GantryError('network', `${shown}: it names ${quote(text)} for a token server`);
    }
    const near = isNear(this.#place, url);
    const http = this.#place.http || this.#context.insecure.http;
    if (url.protocol === 'https:' || (http && near && mayShowSecrets(this.#place))) return url;
    throw new GantryError(
      'network',
      `${shown}: its token server ${url.origin} speaks plain http: refused, as credentials go there`,
    );
  }
}
