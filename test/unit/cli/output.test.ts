import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseDuration } from '../../../src/cli/duration.ts';
import { formatJson, formatRelative, formatSize } from '../../../src/cli/format.ts';
import { oneLine } from '../../../src/cli/print.ts';
import { formatTable } from '../../../src/cli/table.ts';

const ZONES = `
  import { formatTime } from ${JSON.stringify(join(import.meta.dirname, '../../../src/cli/format.ts'))};
  console.log(formatTime(1453740152560999999n));
  console.log(formatTime(1469464952000999999n));
  console.log(formatTime(1469464952000999999n, 9));
`;

describe('durations', () => {
  it.each([
    ['30m0s', 1800],
    ['24h0m0s', 86400],
    ['1h30m', 5400],
    ['500ms', 0.5],
    ['1.5s', 1.5],
    ['0', 0],
    ['0s', 0],
  ])('reads %s', (text, seconds) => expect(parseDuration(text, '--x')).toBeCloseTo(seconds));

  it.each(['', '10', 's', '-1s', '1d', '1s x', '1s1'])('refuses "%s"', (text) =>
    expect(() => parseDuration(text, '--grace-period')).toThrow(
      /--grace-period: .* is no duration/,
    ),
  );
});

describe('tables', () => {
  it('pads cells with tabs to the next stop after the longest', () => {
    const rows = [
      ['UUID', 'APP', 'STATE'],
      ['5bc080ca', 'redis', 'running'],
      ['', 'etcd', ''],
    ];
    expect(formatTable(rows)).toBe('UUID\t\tAPP\tSTATE\n5bc080ca\tredis\trunning\n\t\tetcd\t\n');
  });

  // An image's version is any text.
  it('have one line a row, without what a terminal would obey', () => {
    const rows = [['app:1\u001b[2J\u009b\u202e\t\nfake'], ['x']];
    expect(formatTable(rows)).toBe('app:1?[2J??; fake\nx\n');
  });
});

describe('sizes and times', () => {
  it.each([
    [999, '999B'],
    [1024, '1.0KiB'],
    [12 * 1024 ** 2, '12MiB'],
    [1.5 * 1024 ** 3, '1.5GiB'],
    // Go rounds a half to the even number.
    [10.5 * 1024 ** 2, '10MiB'],
    [11.5 * 1024 ** 2, '12MiB'],
    [1024 ** 2 - 1, '1024KiB'],
  ])('formats %d bytes', (bytes, text) => expect(formatSize(bytes)).toBe(text));

  it.each([
    [0, 'now'],
    [1, '1 second ago'],
    [150, '2 minutes ago'],
    [3600, '1 hour ago'],
    [6 * 86400, '6 days ago'],
    [-61, '1 minute from now'],
    [29 * 86400, '4 weeks ago'],
    [359 * 86400, '11 months ago'],
    [360 * 86400, '1 year ago'],
    [540 * 86400, '2 years ago'],
    [720 * 86400, '2 years ago'],
    [36 * 360 * 86400, '36 years ago'],
    [37 * 360 * 86400, 'a long while ago'],
  ])('formats a time %d seconds back', (seconds, text) => {
    const now = new Date('2026-01-02T03:04:05Z');
    expect(formatRelative(new Date(now.getTime() - seconds * 1000), now)).toBe(text);
  });

  it('writes a time in the zone of the host, under its own abbreviation, cut off at the millisecond', () => {
    const written = execFileSync(process.execPath, ['--input-type=module', '-e', ZONES], {
      encoding: 'utf8',
      env: { ...process.env, TZ: 'America/New_York' },
    });
    expect(written.split('\n')).toEqual([
      '2016-01-25 11:42:32.56 -0500 EST',
      '2016-07-25 12:42:32 -0400 EDT',
      '2016-07-25 12:42:32.000999999 -0400 EDT',
      '',
    ]);
  });

  it('writes bigints as exact numbers', () => {
    expect(formatJson({ at: 1764000000123456789n }, 'json')).toBe('{"at":1764000000123456789}');
  });

  it('escapes in JSON what a terminal would obey', () => {
    const text = 'a\u001b\u009b\u202e\u2028\u{e0001}é';
    const json = formatJson([text], 'json-pretty');
    expect(json).toBe('[\n\t"a\\u001b\\u009b\\u202e\\u2028\\udb40\\udc01é"\n]');
    expect(JSON.parse(json)).toEqual([text]);
  });
});

describe('text from outside', () => {
  it('becomes one line without control characters', () => {
    expect(oneLine('a\nb\u001b[31mc\u009bd')).toBe('a; b?[31mc?d');
  });
});
