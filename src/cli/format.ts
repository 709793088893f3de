import { system } from '../system/binding.ts';

/** How rkt prints sizes and times in its tables. */

const IBYTES = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

/** A size in binary units with one decimal below ten: `12MiB`, `1.5GiB`. */
export function formatSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < IBYTES.length - 1) {
    value /= 1024;
    unit++;
  }
  if (unit === 0) return `${bytes}B`;
  const rounded = Math.round(value * 10) / 10;
  return `${rounded < 10 ? rounded.toFixed(1) : halfToEven(rounded)}${IBYTES[unit]}`;
}

/** The nearest whole number, of two the even one: what Go's `%.0f` prints. */
function halfToEven(value: number): number {
  const below = Math.floor(value);
  return value - below === 0.5 ? below + (below % 2) : Math.round(value);
}

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const WEEK = 7 * DAY;
const MONTH = 30 * DAY;
const YEAR = 12 * MONTH;

/** The words for a distance below `limit` seconds, the longest last: those of go-humanize, which rkt prints. */
const SPANS: readonly (readonly [limit: number, unit: number, name: string])[] = [
  [MINUTE, 1, 'second'],
  [HOUR, MINUTE, 'minute'],
  [DAY, HOUR, 'hour'],
  [WEEK, DAY, 'day'],
  [MONTH, WEEK, 'week'],
  [YEAR, MONTH, 'month'],
];

/** A time relative to `now`: `now`, `41 seconds ago`, `2 minutes ago`, `1 hour from now`. */
export function formatRelative(time: Date, now = new Date()): string {
  const seconds = Math.floor(now.getTime() / 1000) - Math.floor(time.getTime() / 1000);
  if (seconds === 0) return 'now';
  return `${distance(Math.abs(seconds))} ${seconds > 0 ? 'ago' : 'from now'}`;
}

function distance(seconds: number): string {
  const span = SPANS.find(([limit]) => seconds < limit);
  if (span !== undefined) return plural(Math.floor(seconds / span[1]), span[2]);
  if (seconds < 1.5 * YEAR) return '1 year';
  if (seconds < 2 * YEAR) return '2 years';
  return seconds < 37 * YEAR ? plural(Math.floor(seconds / YEAR), 'year') : 'a long while';
}

function plural(count: number, name: string): string {
  return `${count} ${name}${count === 1 ? '' : 's'}`;
}

/**
 * A local time as rkt's `--full` has it: `2016-01-25 17:42:32.563 +0100 CET`, no trailing zeros.
 * @param time nanoseconds since 1970
 * @param digits how many of a second's decimals count; the rest is cut off
 */
export function formatTime(time: bigint, digits = 3): string {
  const seconds = time / 1_000_000_000n;
  const decimals = String(time % 1_000_000_000n)
    .padStart(9, '0')
    .slice(0, digits);
  const fraction = decimals.replace(/0+$/, '');
  return system.localTime(Number(seconds), fraction === '' ? '' : `.${fraction}`);
}

/** JSON.rawJSON (ECMAScript 2026), which the compiler's library does not know yet. */
const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };

/**
 * One value as JSON on one line, or indented by tabs as rkt's `json-pretty` is; bigints as numbers. What
 * a terminal obeys beyond ASCII is escaped too, which to a reader of JSON is the same.
 */
export function formatJson(value: unknown, format: 'json' | 'json-pretty'): string {
  const exact = (_key: string, each: unknown) =>
    typeof each === 'bigint' ? rawJSON(String(each)) : each;
  const text = JSON.stringify(value, exact, format === 'json-pretty' ? '\t' : undefined);
  return text.replace(/[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu, escapeUnits);
}

/** `\uXXXX` for each UTF-16 unit (RFC 8259 section 7). */
function escapeUnits(character: string): string {
  const units = Array.from({ length: character.length }, (_, at) => character.charCodeAt(at));
  return units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join('');
}
