import { encodePaxRecord, xattrKey } from './pax.ts';
import { BLOCK } from './tar-header.ts';

/** What a member's header says; the counterpart of `TarEntry`. */
export interface TarMember {
  readonly typeflag: '0' | '1' | '2' | '3' | '4' | '5' | '6';
  readonly name: string;
  readonly linkName: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  readonly xattrs: ReadonlyMap<string, Uint8Array>;
}

/** A file, or with a name that ends in a slash a directory, of root's and of the epoch: nothing of this moment. */
export function plainMember(name: string, size = 0): TarMember {
  const isDirectory = name.endsWith('/');
  return {
    typeflag: isDirectory ? '5' : '0',
    name,
    linkName: '',
    mode: isDirectory ? 0o755 : 0o644,
    uid: 0,
    gid: 0,
    size,
    seconds: 0,
    nanoseconds: 0,
    deviceMajor: 0,
    deviceMinor: 0,
    xattrs: new Map(),
  };
}

/** Two blocks of zeros end an archive. */
export const endOfArchive: Buffer = Buffer.alloc(2 * BLOCK);

const maxOwner = 0o7777777;
const maxSize = 0o77777777777;

/**
 * The header of a member: a ustar block, with a PAX extended header before it for what does not fit
 * (POSIX.1-2017 pax). tar-stream writes PAX values as text only, which destroys file capabilities,
 * and cuts off owners and times that need a record.
 */
export function encodeMember(member: TarMember): Buffer {
  const records = paxRecords(member);
  const header = encodeHeader(member, member.typeflag);
  if (records.length === 0) return header;
  const body = Buffer.concat(records.map(([key, value]) => encodePaxRecord(key, value)));
  const extension = encodeHeader(plainMember('PaxHeaders/member', body.length), 'x');
  return Buffer.concat([extension, body, paddingAfter(body.length), header]);
}

/** The zeros that fill content of this size up to whole blocks. */
export function paddingAfter(size: number): Buffer {
  return endOfArchive.subarray(0, (BLOCK - (size % BLOCK)) % BLOCK);
}

function paxRecords(member: TarMember): [key: string, value: string | Uint8Array][] {
  const { name, linkName, uid, gid, size, seconds, nanoseconds } = member;
  const records: [string, string | Uint8Array][] = [];
  if (!fits(name)) records.push(['path', name]);
  if (!fits(linkName)) records.push(['linkpath', linkName]);
  if (uid > maxOwner) records.push(['uid', String(uid)]);
  if (gid > maxOwner) records.push(['gid', String(gid)]);
  if (size > maxSize) records.push(['size', String(size)]);
  if (nanoseconds !== 0 || seconds < 0 || seconds > maxSize) {
    records.push(['mtime', decimalTime(seconds, nanoseconds)]);
  }
  for (const [xattr, value] of member.xattrs) records.push([xattrKey(xattr), value]);
  return records;
}

function encodeHeader(member: Omit<TarMember, 'typeflag'>, typeflag: string): Buffer {
  const block = Buffer.alloc(BLOCK);
  // A name that does not fit stands in the extended header; readers without PAX see its beginning.
  block.write(member.name, 0, 100, 'utf8');
  octal(block, 100, 8, member.mode);
  octal(block, 108, 8, member.uid > maxOwner ? 0 : member.uid);
  octal(block, 116, 8, member.gid > maxOwner ? 0 : member.gid);
  octal(block, 124, 12, member.size > maxSize ? 0 : member.size);
  octal(block, 136, 12, member.seconds < 0 || member.seconds > maxSize ? 0 : member.seconds);
  block.write('        ', 148, 'latin1');
  block.write(typeflag, 156, 'latin1');
  block.write(member.linkName, 157, 100, 'utf8');
  block.write('ustar\x0000', 257, 'latin1');
  octal(block, 329, 8, member.deviceMajor);
  octal(block, 337, 8, member.deviceMinor);
  const checksum = block.reduce((sum, byte) => sum + byte, 0);
  block.write(`${checksum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

function octal(block: Buffer, offset: number, length: number, value: number): void {
  block.write(value.toString(8).padStart(length - 1, '0'), offset, 'latin1');
}

function fits(name: string): boolean {
  return name.length <= 100 && Buffer.byteLength(name) === name.length;
}

function decimalTime(seconds: number, nanoseconds: number): string {
  // Before the epoch the decimals count backwards, the nanoseconds of a timespec do not.
  const before = seconds < 0 && nanoseconds > 0;
  const whole = Math.abs(before ? seconds + 1 : seconds);
  const decimals = String(before ? 1_000_000_000 - nanoseconds : nanoseconds).padStart(9, '0');
  return `${seconds < 0 ? '-' : ''}${whole}${nanoseconds === 0 ? '' : `.${decimals}`}`;
}
