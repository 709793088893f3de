import type { ImageRecord, ImageSource } from '../image/image-record.ts';
import { headerOf, type ResponseHead } from './exchange.ts';

/** What to remember of where an image came from, to ask for it less often later. */
export function sourceFrom(url: string, head: ResponseHead, now: number = Date.now()): ImageSource {
  const etag = headerOf(head, 'etag');
  const lastModified = headerOf(head, 'last-modified');
  const maxAge = parseMaxAge(headerOf(head, 'cache-control') ?? '');
  return {
    url,
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined ? {} : { lastModified }),
    ...(maxAge === 0 ? {} : { expiresAt: new Date(now + maxAge * 1000).toISOString() }),
  };
}

/** Whether the server's own word is that the image need not be asked for yet. */
export function isFresh(record: ImageRecord, now: number = Date.now()): boolean {
  const { expiresAt } = record.source;
  return expiresAt !== undefined && Date.parse(expiresAt) > now;
}

/**
 * Seconds an answer may be used without asking again: Cache-Control's `max-age`, 0 when it is
 * absent, malformed, or overruled by `no-cache` or `no-store` (RFC 9111 section 5.2.2).
 */
export function parseMaxAge(cacheControl: string): number {
  let seconds = 0;
  for (const directive of cacheControl.toLowerCase().split(',')) {
    const [name = '', value = ''] = directive.trim().split('=');
    if (name === 'no-cache' || name === 'no-store') return 0;
    if (name === 'max-age' && /^\d{1,10}$/.test(value)) seconds = Number(value);
  }
  // A year is what caches take for ever (RFC 9111 section 4.2.3 warns of absurd values).
  return Math.min(seconds, 365 * 24 * 3600);
}
