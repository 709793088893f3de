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
  return `${rounded < 10 ? rounded.toFixed(1) : rounded.toFixed(0)}${IBYTES[unit]}`;
}

const SPANS: readonly (readonly [seconds: number, name: string])[] = [
  [365 * 86400, 'year'],
  [30 * 86400, 'month'],
  [7 * 86400, 'week'],
  [86400, 'day'],
  [3600, 'hour'],
  [60, 'minute'],
  [1, 'second'],
];

/** A time relative to `now`: `now`, `41 seconds ago`, `2 minutes ago`, `1 hour from now`. */
export function formatRelative(time: Date, now = new Date()): string {
  const seconds = Math.trunc((now.getTime() - time.getTime()) / 1000);
  const span = SPANS.find(([length]) => Math.abs(seconds) >= length);
  if (span === undefined) return 'now';
  const count = Math.floor(Math.abs(seconds) / span[0]);
  return `${count} ${span[1]}${count === 1 ? '' : 's'} ${seconds > 0 ? 'ago' : 'from now'}`;
}

/** A local time as rkt's `--full` has it: `2016-01-25 17:42:32.563 +0100 CET`, no trailing zeros. */
export function formatTime(time: Date): string {
  const pad = (value: number, width = 2) => String(value).padStart(width, '0');
  const date = `${time.getFullYear()}-${pad(time.getMonth() + 1)}-${pad(time.getDate())}`;
  const clock = `${pad(time.getHours())}:${pad(time.getMinutes())}:${pad(time.getSeconds())}`;
  const fraction = pad(time.getMilliseconds(), 3).replace(/0+$/, '');
  const offset = -time.getTimezoneOffset();
  const zone = `${offset < 0 ? '-' : '+'}${pad(Math.trunc(Math.abs(offset) / 60))}${pad(Math.abs(offset) % 60)}`;
  return `${date} ${clock}${fraction === '' ? '' : `.${fraction}`} ${zone} ${zoneName(time)}`;
}

function zoneName(time: Date): string {
  const parts = new Intl.DateTimeFormat('en-GB', { timeZoneName: 'short' }).formatToParts(time);
  return parts.find((part) => part.type === 'timeZoneName')?.value ?? 'UTC';
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
