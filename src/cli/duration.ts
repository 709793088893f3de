import { GantryError } from '../error.ts';

const UNITS: Readonly<Record<string, number>> = {
  ns: 1e-9,
  us: 1e-6,
  µs: 1e-6,
  ms: 1e-3,
  s: 1,
  m: 60,
  h: 3600,
};

/**
 * Seconds in a duration as rkt's flags take it (Go's syntax): `30m0s`, `1.5h`, `500ms`, `0`.
 * Throws `usage` naming `option`.
 */
export function parseDuration(text: string, option: string): number {
  if (text === '0') return 0;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/gy)];
  const length = parts.reduce((sum, part) => sum + part[0].length, 0);
  if (parts.length === 0 || length !== text.length) {
    throw new GantryError(
      'usage',
      `${option}: "${text}" is no duration: write it like 30m, 1h30m or 10s`,
    );
  }
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * (UNITS[unit ?? ''] ?? 0), 0);
}
