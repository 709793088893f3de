import { type Credentials, loadAuth } from '../config/auth.ts';
import { GantryError } from '../error.ts';
import type { TransportContext } from './context.ts';

/** Which host is shown which credentials: those `auth.d` names for it, and no other. */
export class Authorization {
  readonly #context: TransportContext;
  #credentials: ReadonlyMap<string, Credentials> | undefined;

  constructor(context: TransportContext) {
    this.#context = context;
  }

  /**
   * The Authorization header for exactly this host and port, computed anew for each hop of a
   * redirect so that nothing is carried along. Never over plain http.
   *
   * @param asWritten the operator wrote this URL; only then do a user and password in it count
   * @throws GantryError `unsupported` for AWS credentials
   */
  headerFor(url: URL, asWritten: boolean): string | undefined {
    if (url.protocol !== 'https:') return undefined;
    if (asWritten && url.username !== '') {
      return basic(decodeURIComponent(url.username), decodeURIComponent(url.password));
    }
    this.#credentials ??= this.#load();
    const credentials = this.#credentials.get(url.host);
    return credentials === undefined ? undefined : headerValue(credentials, url.host);
  }

  #load(): ReadonlyMap<string, Credentials> {
    const credentials = loadAuth(this.#context.directories);
    for (const warning of credentials.warnings) this.#context.report.warn(warning);
    return credentials;
  }
}

function headerValue(credentials: Credentials, host: string): string {
  switch (credentials.type) {
    case 'basic':
      return basic(credentials.user, credentials.password);
    case 'oauth':
      return `Bearer ${credentials.token}`;
    case 'aws':
      throw new GantryError(
        'unsupported',
        `${host}: AWS credentials are not supported: configure basic or oauth in auth.d, or fetch a presigned URL`,
      );
  }
}

/** The header that says who one is (RFC 7617). */
export function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}
