import { GantryError } from '../error.ts';
import { type Timestamp, utf8 } from './tar-header.ts';

/** The records of one PAX extended header; values stay bytes, for extended attributes are bytes. */
export type PaxRecords = ReadonlyMap<string, Buffer>;

const xattrPrefix = 'SCHILY.xattr.';
const noXattrs: ReadonlyMap<string, Buffer> = new Map();

/**
 * Reads the body of a PAX extended header: `LENGTH KEY=VALUE\n`, LENGTH counting the whole record
 * (POSIX.1-2017 pax, "pax Extended Header").
 */
export function parsePax(body: Buffer): PaxRecords {
  const records = new Map<string, Buffer>();
  let offset = 0;
  while (offset < body.length) {
    const space = body.indexOf(0x20, offset);
    const end = offset + decimal(body, offset, space);
    const equals = body.indexOf(0x3d, space);
    if (end > body.length || equals === -1 || equals >= end - 1 || body[end - 1] !== 0x0a) {
      throw malformed('a record is cut short');
    }
    const key = utf8(body.subarray(space + 1, equals), 'a PAX keyword');
    records.set(key, body.subarray(equals + 1, end - 1));
    offset = end;
  }
  return records;
}

/** The digits from `offset` to `end` as a number; 0 where there is anything else. */
function decimal(body: Buffer, offset: number, end: number): number {
  if (end - offset > 10) return 0;
  let value = 0;
  for (let at = offset; at < end; at++) {
    const digit = (body[at] ?? 0) - 0x30;
    if (digit < 0 || digit > 9) return 0;
    value = value * 10 + digit;
  }
  return value;
}

/** The text of a record; undefined where there is none, or an empty one, which takes it back. */
export function paxText(records: PaxRecords, key: string): string | undefined {
  const value = records.get(key);
  if (value === undefined || value.length === 0) return undefined;
  return utf8(value, `the PAX record ${key}`);
}

/** A record that is a whole number from 0 up. */
export function paxNatural(records: PaxRecords, key: string): number | undefined {
  const value = paxText(records, key);
  if (value === undefined) return undefined;
  if (!/^[0-9]+$/.test(value) || !Number.isSafeInteger(Number(value))) {
    throw malformed(`${key} is ${JSON.stringify(value)}, no usable number`);
  }
  return Number(value);
}

/** A record that is a time: decimal seconds, possibly negative, with any number of decimals. */
export function paxTime(records: PaxRecords, key: string): Timestamp | undefined {
  const value = paxText(records, key);
  if (value === undefined) return undefined;
  const match = /^(-?)([0-9]{1,15})(?:\.([0-9]*))?$/.exec(value);
  if (match === null) throw malformed(`${key} is ${JSON.stringify(value)}, no time`);
  const whole = Number(match[2]);
  const nanoseconds = Number((match[3] ?? '').slice(0, 9).padEnd(9, '0'));
  if (match[1] === '') return { seconds: whole, nanoseconds };
  // The nanoseconds of a timespec count forwards even before the epoch.
  return nanoseconds === 0
    ? { seconds: -whole, nanoseconds: 0 }
    : { seconds: -whole - 1, nanoseconds: 1_000_000_000 - nanoseconds };
}

/** The extended attributes among the records, as star and GNU tar write them. */
export function paxXattrs(records: PaxRecords): ReadonlyMap<string, Buffer> {
  let xattrs: Map<string, Buffer> | undefined;
  for (const [key, value] of records) {
    if (!key.startsWith(xattrPrefix)) continue;
    xattrs ??= new Map();
    xattrs.set(key.slice(xattrPrefix.length), value);
  }
  return xattrs ?? noXattrs;
}

/** One record, as bytes; undoes `parsePax`. */
export function encodePaxRecord(key: string, value: string | Uint8Array): Buffer {
  const tail = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value), Buffer.from('\n')]);
  // LENGTH counts its own digits: one more digit may be needed to say so.
  let length = tail.length + 1;
  while (String(length).length + tail.length !== length)
    length = String(length).length + tail.length;
  return Buffer.concat([Buffer.from(String(length)), tail]);
}

/** The key an extended attribute is recorded under. */
export function xattrKey(name: string): string {
  return xattrPrefix + name;
}

function malformed(why: string): GantryError {
  return new GantryError('invalid-archive', `image archive: damaged PAX header: ${why}`);
}
