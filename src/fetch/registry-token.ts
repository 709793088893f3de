import { GantryError } from '../error.ts';
import { parseDocument } from '../image/document.ts';
import { basic } from './authorization.ts';
import { fetchDocument } from './document.ts';
import { shownTarget } from './location.ts';
import type { RegistryCredentials } from './registry-credentials.ts';
import { explanationOf } from './registry-failure.ts';
import type { Site } from './site.ts';
import type { Getter, Transport } from './transport.ts';

/** A registry's leave to do something, for a while. */
export interface RegistryToken {
  readonly value: string;
  /** Milliseconds since 1970, some time before it really ends. */
  readonly expiresAt: number;
}

/** What a token is asked for. */
export interface TokenRequest {
  /** The registry's, for messages. */
  readonly shown: string;
  readonly realm: URL;
  readonly service: string | undefined;
  /** `repository:team/app:pull`. */
  readonly scope: string;
  readonly credentials: RegistryCredentials | undefined;
  readonly site: (url: URL) => Site;
  /** What to tell somebody who is refused. */
  readonly advice: string;
}

/** Large groups make large tokens; nothing makes one like this. */
const ANSWER_LIMIT = 64 * 1024;
/** Where the answer does not say (distribution, docs/spec/auth/token.md). */
const DEFAULT_LIFETIME = 60;
const LONGEST_LIFETIME = 24 * 3600;

/**
 * Asks a token server for a token: by GET, with a password as Basic or as nobody; or by POST, where there
 * is an identity token (distribution, docs/spec/auth/token.md and oauth.md). It is not followed where it
 * redirects to another host: whoever answers there would be shown the password next.
 *
 * @throws GantryError `network`; no message holds a token or password
 */
export async function requestToken(
  request: TokenRequest,
  transport: Transport,
): Promise<RegistryToken> {
  const getter =
    request.credentials?.type === 'identity-token'
      ? posting(request, request.credentials.token, transport)
      : getting(request, transport);
  const { head, bytes } = await fetchDocument(getter, urlOf(request), ANSWER_LIMIT, {
    explained: () => true,
  });
  if (head.status >= 300 && head.status < 400) throw redirected(request, undefined);
  if (head.status !== 200) throw refused(request, head.status, bytes);
  return readToken(bytes, request);
}

function urlOf({ realm, service, scope, credentials }: TokenRequest): URL {
  if (credentials?.type === 'identity-token') return realm;
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set('service', service);
  url.searchParams.append('scope', scope);
  if (credentials?.type === 'password') url.searchParams.set('account', credentials.user);
  return url;
}

function getting(request: TokenRequest, transport: Transport): Getter {
  const { credentials, site } = request;
  const header =
    credentials?.type === 'password' ? basic(credentials.user, credentials.password) : undefined;
  return {
    pace: transport.pace,
    signal: transport.signal,
    get: (url, headers, receive) =>
      transport.send(
        {
          url,
          headers,
          authorization: { header },
          site,
          checkRedirect: (from, to) => {
            if (from.origin !== to.origin) throw redirected(request, to);
          },
        },
        receive,
      ),
  };
}

function posting(request: TokenRequest, identity: string, transport: Transport): Getter {
  const { service, scope, site } = request;
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    client_id: 'gantry',
    refresh_token: identity,
    scope,
    ...(service === undefined ? {} : { service }),
  });
  const type = { 'content-type': 'application/x-www-form-urlencoded' };
  return {
    pace: transport.pace,
    signal: transport.signal,
    get: (url, headers, receive) =>
      transport.send(
        {
          method: 'POST',
          url,
          headers: { ...headers, ...type },
          body: Buffer.from(form.toString()),
          authorization: { header: undefined },
          site,
        },
        receive,
      ),
  };
}

function readToken(bytes: Uint8Array, request: TokenRequest): RegistryToken {
  const root = parseDocument(bytes, {
    what: `${request.shown}: the answer of the token server ${shownTarget(request.realm)}`,
    code: 'network',
    confidential: true,
    maxBytes: ANSWER_LIMIT,
  });
  const field = ['token', 'access_token'].map((name) => root.member(name)).find((one) => one.given);
  const value = (field ?? root.member('token')).filledString();
  // It goes into a header as it is: a line break in it would be a second header.
  if (!/^[\x21-\x7e]+$/.test(value)) throw root.member('token').refuse('is no token');
  const given = root.member('expires_in').value;
  const said = typeof given === 'number' && given > 0 ? given : DEFAULT_LIFETIME;
  const lifetime = Math.min(said, LONGEST_LIFETIME);
  return { value, expiresAt: Date.now() + lifetime * 900 };
}

function redirected({ shown, realm }: TokenRequest, to: URL | undefined): GantryError {
  const where = to === undefined ? 'elsewhere' : `to ${to.origin}`;
  return new GantryError(
    'network',
    `${shown}: the token server redirects ${where}, and credentials go nowhere but to ${realm.origin}: refused`,
  );
}

function refused(
  { shown, realm, credentials, advice }: TokenRequest,
  status: number,
  body: Uint8Array,
): GantryError {
  const said = explanationOf(body);
  const what = credentials === undefined ? 'wants credentials' : 'refuses the credentials';
  const denied = status === 401 || status === 403;
  return new GantryError(
    'network',
    `${shown}: the token server ${shownTarget(realm)} ${denied ? what : 'fails'}: status ${status}${said === '' ? '' : `: ${said}`}${denied ? `: ${advice}` : ''}`,
  );
}
