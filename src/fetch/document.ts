import { GantryError } from '../error.ts';
import { headerOf, type ResponseHead } from './exchange.ts';
import { isTransientFailure } from './failure.ts';
import { shownUrl } from './location.ts';
import { delayBeforeRetry, isTransientStatus, pause } from './pace.ts';
import type { Getter } from './transport.ts';

/** Something small, fetched whole: a page, a signature, a key. */
export interface Document {
  readonly head: ResponseHead;
  readonly bytes: Buffer;
}

/** How something small is asked for, beyond its URL. */
export interface DocumentRequest {
  readonly headers?: Readonly<Record<string, string>>;
  /** Whose body is kept beside that of a 200; their first 64 KiB are. */
  readonly explained?: (status: number) => boolean;
}

/** What is read of an answer that only explains why there is no other. */
const EXPLANATION_LIMIT = 64 * 1024;

/**
 * Fetches something small into memory, trying again on transient failures. Any status is answered
 * to the caller once the tries are used up; the body is kept only of a 200, unless asked for.
 *
 * @param limit the most bytes it may have
 * @throws GantryError `network`, also for a body beyond the limit
 */
export async function fetchDocument(
  getter: Getter,
  url: URL,
  limit: number,
  request: DocumentRequest = {},
): Promise<Document> {
  for (let failures = 1; ; failures++) {
    const last = failures >= getter.pace.attempts;
    let retryAfter: string | undefined;
    try {
      const document = await fetchOnce(getter, url, limit, request);
      if (last || !isTransientStatus(document.head.status)) return document;
      retryAfter = headerOf(document.head, 'retry-after');
    } catch (error) {
      if (last || !isTransientFailure(error)) throw error;
    }
    await pause(delayBeforeRetry(getter.pace, failures, retryAfter), getter.signal);
  }
}

async function fetchOnce(
  getter: Getter,
  url: URL,
  limit: number,
  { headers = {}, explained }: DocumentRequest,
): Promise<Document> {
  const chunks: Buffer[] = [];
  const began = Date.now();
  let size = 0;
  const head = await getter.get(url, headers, ({ status }) => {
    if (status !== 200 && explained?.(status) !== true) return undefined;
    return (chunk) => {
      size += chunk.length;
      if (status !== 200 && size > EXPLANATION_LIMIT) return;
      if (size > limit && status === 200) throw tooLarge(url, limit);
      // A server that sends a byte now and then never runs into the idle limit.
      if (Date.now() - began > getter.pace.documentTimeout) throw tooSlow(url);
      chunks.push(chunk);
    };
  });
  return { head, bytes: Buffer.concat(chunks) };
}

function tooLarge(url: URL, limit: number): GantryError {
  return new GantryError('network', `${shownUrl(url)}: larger than the ${limit} bytes it may have`);
}

function tooSlow(url: URL): GantryError {
  return new GantryError('network', `${shownUrl(url)}: the server sends too slowly`);
}
