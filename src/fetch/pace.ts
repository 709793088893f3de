import { setTimeout as sleep } from 'node:timers/promises';

/** How long to wait, how often to try again, and how far to follow; times in milliseconds. */
export interface Pace {
  /** For a connection, its TLS handshake included. */
  readonly connectTimeout: number;
  /** From the request to the last response header. */
  readonly headersTimeout: number;
  /** Between two pieces of a response body. */
  readonly bodyTimeout: number;
  /** For the whole body of something small. */
  readonly documentTimeout: number;
  /** Tries of one request that bring no progress, the first included. */
  readonly attempts: number;
  /** How often one download may be taken up again, whatever progress each time brings. */
  readonly resumptions: number;
  /** The wait before the second try; it doubles each time. */
  readonly firstDelay: number;
  /** No wait is longer, whatever a server asks for in Retry-After. */
  readonly longestDelay: number;
  /** Redirects followed for one request. */
  readonly redirects: number;
}

/** What holds unless a test says otherwise (specs/fetch.md). */
export const ordinaryPace: Pace = {
  connectTimeout: 20_000,
  headersTimeout: 60_000,
  bodyTimeout: 60_000,
  documentTimeout: 120_000,
  attempts: 4,
  resumptions: 32,
  firstDelay: 500,
  longestDelay: 30_000,
  redirects: 10,
};

/** Statuses that say "later", not "no" (RFC 9110 section 15, RFC 6585 section 4). */
const transientStatuses: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);

/** Whether the same request may well be answered otherwise a moment later. */
export function isTransientStatus(status: number): boolean {
  return transientStatuses.has(status);
}

/**
 * The wait before trying again: doubling, with jitter between half and the whole so that clients a
 * server turned away together do not return together; at least what Retry-After asks for.
 *
 * @param failures how many tries failed so far, 1 or more
 * @param retryAfter the header as it came: seconds or a date (RFC 9110 section 10.2.3)
 */
export function delayBeforeRetry(
  pace: Pace,
  failures: number,
  retryAfter: string | undefined,
  now: number = Date.now(),
): number {
  const whole = pace.firstDelay * 2 ** (failures - 1);
  const delay = whole * (0.5 + Math.random() / 2);
  return Math.min(pace.longestDelay, Math.max(delay, parseRetryAfter(retryAfter, now)));
}

/** Milliseconds from now; 0 for an absent, past or unreadable value. */
function parseRetryAfter(value: string | undefined, now: number): number {
  if (value === undefined) return 0;
  if (/^\s*\d+\s*$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? 0 : Math.max(0, date - now);
}

/** Waits, unless the signal ends it sooner; then it throws the signal's reason. */
export async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(milliseconds, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}
