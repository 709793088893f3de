import { describe, expect, it } from 'vitest';
import { isFresh, parseMaxAge, sourceFrom } from '../../../src/fetch/freshness.ts';
import type { ImageRecord } from '../../../src/image/image-record.ts';

describe('Cache-Control', () => {
  it.each([
    ['', 0],
    ['max-age=60', 60],
    ['public, Max-Age=60', 60],
    ['max-age=60, no-cache', 0],
    ['no-store, max-age=60', 0],
    ['max-age=-1', 0],
    ['max-age=soon', 0],
    ['max-age', 0],
    ['s-maxage=60', 0],
    ['max-age=9999999999', 365 * 24 * 3600],
  ])('%j lets an image be used for %i s', (value, seconds) => {
    expect(parseMaxAge(value)).toBe(seconds);
  });
});

describe('the source of an image', () => {
  const url = new URL('https://example.com/app.aci');

  it('remembers what the server said', () => {
    const now = Date.parse('2026-01-01T00:00:00Z');
    const headers = { etag: '"1"', 'last-modified': 'then', 'cache-control': 'max-age=60' };
    expect(sourceFrom(url.href, { status: 200, headers, url }, now)).toEqual({
      url: url.href,
      etag: '"1"',
      lastModified: 'then',
      expiresAt: '2026-01-01T00:01:00.000Z',
    });
  });

  it('remembers nothing a server did not say', () => {
    expect(sourceFrom(url.href, { status: 200, headers: {}, url })).toEqual({ url: url.href });
  });

  it('is fresh until it expires, and never without a date', () => {
    const record = (expiresAt?: string) =>
      ({ source: expiresAt === undefined ? {} : { expiresAt } }) as ImageRecord;
    const now = Date.parse('2026-01-01T00:00:00Z');
    expect(isFresh(record('2026-01-01T00:00:01Z'), now)).toBe(true);
    expect(isFresh(record('2026-01-01T00:00:00Z'), now)).toBe(false);
    expect(isFresh(record(), now)).toBe(false);
  });
});
