import { GantryError } from '../error.ts';
import type { ResponseHead } from './exchange.ts';
import { shownTarget, shownUrl } from './location.ts';

/** Failures of a connection that may be gone a moment later. A refused certificate never is. */
const transientCodes: ReadonlySet<string> = new Set([
  'EAI_AGAIN',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETUNREACH',
  'EPIPE',
  'ETIMEDOUT',
  'UND_ERR_BODY_TIMEOUT',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'UND_ERR_SOCKET',
]);

/** Plain words for what the operator would otherwise have to look up. */
const words: Readonly<Record<string, string>> = {
  EAI_AGAIN: 'the name server does not answer',
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'the connection was reset',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'the network is unreachable',
  ENOTFOUND: 'no such host',
  ETIMEDOUT: 'the connection timed out',
  UND_ERR_BODY_TIMEOUT: 'the server stopped sending',
  UND_ERR_CONNECT_TIMEOUT: 'the connection timed out',
  UND_ERR_HEADERS_TIMEOUT: 'the server did not answer in time',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'the body is shorter than announced',
  UND_ERR_SOCKET: 'the connection was closed before the whole body came',
};

/** The request that failed. */
export interface FailedRequest {
  readonly url: URL;
  readonly proxy: URL | undefined;
  readonly signal: AbortSignal | undefined;
}

/**
 * What went wrong between us and a server as an error for the operator. One that already is for the
 * operator, such as what a full store says of the bytes written to it, passes through.
 */
export function transferFailure(request: FailedRequest, error: unknown): GantryError {
  if (error instanceof GantryError) return error;
  const { url, proxy, signal } = request;
  if (signal?.aborted) {
    return new GantryError('interrupted', `${shownUrl(url)}: interrupted`, { cause: error });
  }
  const code = codeOf(error);
  if (code === undefined) {
    // Whatever a connection throws has a code; what has none is our own mistake.
    return new GantryError('internal', `${shownUrl(url)}: ${messageOf(error)}`, { cause: error });
  }
  const why = words[code] ?? proxyFault(error) ?? certificateFault(code, error) ?? messageOf(error);
  const via = proxy === undefined ? '' : `through the proxy ${proxy.host}: `;
  return new GantryError('network', `${shownUrl(url)}: ${via}${why}`, { cause: error });
}

/** Whether the connection, not the answer, failed, so that the same request may succeed later. */
export function isTransientFailure(error: unknown): boolean {
  if (!(error instanceof GantryError) || error.code !== 'network') return false;
  const code = codeOf(error.cause);
  return code !== undefined && transientCodes.has(code);
}

/** Whether what answered to https speaks something else. */
export function isPlainHttpFailure(error: unknown): boolean {
  if (!(error instanceof GantryError) || error.code !== 'network') return false;
  const code = codeOf(error.cause);
  if (code === undefined) return false;
  return code === 'EPROTO' || /^ERR_SSL_(WRONG_VERSION|PACKET_LENGTH)/.test(code);
}

/** Whether nothing listens there. */
export function isRefusedConnection(error: unknown): boolean {
  return error instanceof GantryError && codeOf(error.cause) === 'ECONNREFUSED';
}

/** Whether no server was reached at all: another path on the same host will fare no better. */
export function isConnectionFailure(error: unknown): boolean {
  return error instanceof GantryError && error.code === 'network' && error.cause !== undefined;
}

/** A status that is not the one hoped for. */
export function statusFailure(asked: URL, head: ResponseHead): GantryError {
  const { status, url } = head;
  const via = url.href === asked.href ? '' : ` (from ${shownTarget(url)})`;
  return new GantryError(
    'network',
    `${shownUrl(asked)}: bad HTTP status code: ${status}${via}${adviceFor(status, url)}`,
  );
}

function adviceFor(status: number, url: URL): string {
  if (status === 401) return `: put credentials for ${url.host} into auth.d`;
  if (status === 403) return `: ${url.host} refuses these credentials, or none`;
  return '';
}

/** undici tells a proxy's refusal by words only. */
function proxyFault(error: unknown): string | undefined {
  const [, status] = /^Proxy .*\((\d{3})\)/.exec(messageOf(error)) ?? [];
  if (status === '407') return 'it wants a user and password: put them into the URL of HTTPS_PROXY';
  return status === undefined ? undefined : `it refuses, with status ${status}`;
}

function certificateFault(code: string, error: unknown): string | undefined {
  const how = 'or leave the check out with --insecure-options=tls';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return `the server's certificate is for another host: ${messageOf(error)}; ${how}`;
  }
  if (code === 'CERT_HAS_EXPIRED') return `the server's certificate has expired; renew it ${how}`;
  if (!/CERT|UNABLE_TO|SELF_SIGNED|ISSUER/.test(code) || code.startsWith('UND_')) return undefined;
  // Node adds, behind a semicolon, advice on options of its own.
  const [why = code] = messageOf(error).split(';', 1);
  return `the server's certificate is not trusted (${why}): name its authority in SSL_CERT_FILE ${how}`;
}

function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return messageOf(error.errors[0]);
  return error instanceof Error ? error.message : String(error);
}

/** The code of a Node or undici error; of several addresses tried, the last one's. */
function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if ('code' in error && typeof error.code === 'string') return error.code;
  return error instanceof AggregateError ? codeOf(error.errors.at(-1)) : undefined;
}
