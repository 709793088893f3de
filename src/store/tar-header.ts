import { GantryError } from '../error.ts';

/** Seconds since the epoch (may be negative) and the nanoseconds within that second. */
export interface Timestamp {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** One tar header block, its numbers decoded, its typeflag still a character. */
export interface TarHeader {
  readonly typeflag: string;
  readonly name: string;
  readonly linkName: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly seconds: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

export const BLOCK = 512;
const CHECKSUM = 148;
const SPACE = 0x20;
const ZERO = 0x30;

/**
 * Reads a header block: ustar, GNU, or the format before both, told apart by the magic at 257
 * (POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format").
 * `where` is the block's offset in the archive, for messages.
 */
export function decodeHeader(block: Buffer, where: number): TarHeader {
  if (!checksumHolds(block)) {
    throw damaged(where, 'its checksum is wrong');
  }
  const name = text(block, 0, 100, where);
  // Only POSIX archives have a name prefix; GNU keeps other fields there.
  const prefix =
    block.toString('latin1', 257, 263) === 'ustar\0' ? text(block, 345, 155, where) : '';
  return {
    typeflag: String.fromCharCode(block[156] ?? 0),
    name: prefix === '' ? name : `${prefix}/${name}`,
    linkName: text(block, 157, 100, where),
    mode: natural(block, 100, 8, 'mode', where) & 0o7777,
    uid: natural(block, 108, 8, 'owner', where),
    gid: natural(block, 116, 8, 'group', where),
    size: natural(block, 124, 12, 'size', where),
    seconds: integer(block, 136, 12, 'time', where),
    deviceMajor: natural(block, 329, 8, 'device number', where),
    deviceMinor: natural(block, 337, 8, 'device number', where),
  };
}

/** Bytes as UTF-8 text; names the field when they are not, for a name must survive unchanged. */
export function utf8(bytes: Buffer, field: string): string {
  const decoded = bytes.toString('utf8');
  // U+FFFD may have been in the archive itself; only then is the costlier comparison needed.
  if (decoded.includes('\uFFFD') && !Buffer.from(decoded).equals(bytes)) {
    throw new GantryError('invalid-archive', `image archive: ${field} is not valid UTF-8`);
  }
  return decoded;
}

function text(block: Buffer, offset: number, length: number, where: number): string {
  let end = block.indexOf(0, offset);
  if (end === -1 || end > offset + length) end = offset + length;
  return end === offset
    ? ''
    : utf8(block.subarray(offset, end), `a name in the header at ${where}`);
}

function natural(
  block: Buffer,
  offset: number,
  length: number,
  field: string,
  where: number,
): number {
  const value = integer(block, offset, length, field, where);
  if (value < 0) throw damaged(where, `its ${field} is negative`);
  return value;
}

function integer(
  block: Buffer,
  offset: number,
  length: number,
  field: string,
  where: number,
): number {
  const first = block[offset] ?? 0;
  const value = first & 0x80 ? base256(block, offset, length) : octal(block, offset, length);
  if (!Number.isSafeInteger(value)) throw damaged(where, `its ${field} is no usable number`);
  return value;
}

/** Octal digits, blanks before them, a blank or NUL after; nothing at all means 0. */
function octal(block: Buffer, offset: number, length: number): number {
  const end = offset + length;
  let at = offset;
  while (at < end && block[at] === SPACE) at += 1;
  let value = 0;
  for (; at < end; at++) {
    const digit = (block[at] ?? 0) - ZERO;
    if (digit < 0 || digit > 7) break;
    value = value * 8 + digit;
  }
  const stop = at < end ? block[at] : 0;
  return stop === 0 || stop === SPACE ? value : Number.NaN;
}

/** Two's complement, big endian, the top bit a marker (GNU tar and star extension). */
function base256(block: Buffer, offset: number, length: number): number {
  const negative = ((block[offset] ?? 0) & 0x40) !== 0;
  let value = negative ? -1n : 0n;
  for (let i = 0; i < length; i++) {
    const byte = block[offset + i] ?? 0;
    value = (value << 8n) | BigInt(i === 0 ? (negative ? byte : byte & 0x7f) : byte);
  }
  return Number(value);
}

/** Old writers summed signed bytes; both sums are accepted, as every tar does. */
function checksumHolds(block: Buffer): boolean {
  let sum = 0;
  let high = 0;
  for (let i = 0; i < BLOCK; i++) {
    const byte = block[i] as number;
    sum += byte;
    high += byte >> 7;
  }
  for (let i = CHECKSUM; i < CHECKSUM + 8; i++) {
    const byte = block[i] as number;
    sum += SPACE - byte;
    high -= byte >> 7;
  }
  const wanted = octal(block, CHECKSUM, 8);
  return sum === wanted || sum - 256 * high === wanted;
}

function damaged(where: number, why: string): GantryError {
  return new GantryError(
    'invalid-archive',
    `image archive: the tar header at byte ${where} is damaged: ${why}`,
  );
}
