import { describe, expect, it } from 'vitest';
import {
  delayBeforeRetry,
  isTransientStatus,
  ordinaryPace,
  pause,
} from '../../../src/fetch/pace.ts';

describe('retrying', () => {
  it('is for the transient statuses only', () => {
    const transient = [408, 429, 500, 502, 503, 504];
    for (let status = 200; status < 600; status++) {
      expect(isTransientStatus(status)).toBe(transient.includes(status));
    }
  });

  it('doubles the wait, with jitter between half and the whole', () => {
    for (const [failures, whole] of [
      [1, 500],
      [2, 1000],
      [3, 2000],
    ] as const) {
      const delay = delayBeforeRetry(ordinaryPace, failures, undefined);
      expect(delay).toBeGreaterThanOrEqual(whole / 2);
      expect(delay).toBeLessThanOrEqual(whole);
    }
  });

  it('waits as long as Retry-After asks, in seconds or as a date', () => {
    const now = Date.parse('2026-01-01T00:00:00Z');
    expect(delayBeforeRetry(ordinaryPace, 1, '7', now)).toBe(7000);
    const date = 'Thu, 01 Jan 2026 00:00:09 GMT';
    expect(delayBeforeRetry(ordinaryPace, 1, date, now)).toBe(9000);
  });

  it('never waits longer than the longest delay', () => {
    expect(delayBeforeRetry(ordinaryPace, 1, '86400')).toBe(ordinaryPace.longestDelay);
    expect(delayBeforeRetry(ordinaryPace, 40, undefined)).toBe(ordinaryPace.longestDelay);
  });

  it('takes an unreadable or past Retry-After for none', () => {
    for (const value of ['soon', '-3', 'Thu, 01 Jan 1970 00:00:00 GMT']) {
      expect(delayBeforeRetry(ordinaryPace, 1, value)).toBeLessThanOrEqual(500);
    }
  });

  it('stops waiting when the signal is given, for the reason of the signal', async () => {
    const controller = new AbortController();
    const waiting = pause(60_000, controller.signal);
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
  });
});
