import { GantryError } from '../error.ts';
import { headerOf, type ResponseHead } from './exchange.ts';
import { isTransientFailure } from './failure.ts';
import { shownUrl } from './location.ts';
import { delayBeforeRetry, isTransientStatus, pause } from './pace.ts';
import type { Transport } from './transport.ts';

/** Something small, fetched whole: a page, a signature, a key. */
export interface Document {
  readonly head: ResponseHead;
  readonly bytes: Buffer;
}

/**
 * Fetches something small into memory, trying again on transient failures. Any status is answered
 * to the caller once the tries are used up; the body is kept only of a 200.
 *
 * @param limit the most bytes it may have
 * @throws GantryError `network`, also for a body beyond the limit
 */
export async function fetchDocument(
  transport: Transport,
  url: URL,
  limit: number,
): Promise<Document> {
  for (let failures = 1; ; failures++) {
    const last = failures >= transport.pace.attempts;
    let retryAfter: string | undefined;
    try {
      const document = await fetchOnce(transport, url, limit);
      if (last || !isTransientStatus(document.head.status)) return document;
      retryAfter = headerOf(document.head, 'retry-after');
    } catch (error) {
      if (last || !isTransientFailure(error)) throw error;
    }
    await pause(delayBeforeRetry(transport.pace, failures, retryAfter), transport.signal);
  }
}

async function fetchOnce(transport: Transport, url: URL, limit: number): Promise<Document> {
  const chunks: Buffer[] = [];
  const began = Date.now();
  let size = 0;
  const head = await transport.get(url, {}, ({ status }) => {
    if (status !== 200) return undefined;
    return (chunk) => {
      size += chunk.length;
      if (size > limit) throw tooLarge(url, limit);
      // A server that sends a byte now and then never runs into the idle limit.
      if (Date.now() - began > transport.pace.documentTimeout) throw tooSlow(url);
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
