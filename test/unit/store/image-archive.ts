import type { UnpackLimits } from '../../../src/image/unpack-limits.ts';

/** One member of an archive made by hand, so that it can be as wrong as a test wants it. */
export interface Member {
  readonly name: string;
  /** '0' file, '1' hard link, '2' symlink, '3' and '4' devices, '5' directory, '6' fifo. */
  readonly typeflag?: string;
  readonly content?: string | Uint8Array;
  readonly linkName?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Claimed; the content's own unless given. */
  readonly size?: number;
  readonly seconds?: number;
  readonly major?: number;
  readonly minor?: number;
  /** Records of a PAX header put before the member. */
  readonly pax?: Readonly<Record<string, string | Uint8Array>>;
  /** Changes the finished header block; its checksum is made afterwards. */
  readonly alter?: (block: Buffer) => void;
}

/** What the manifests of the tests say. */
export const manifestOf = (name: string, more: object = {}): string =>
  JSON.stringify({
    acKind: 'ImageManifest',
    acVersion: '0.8.11',
    name,
    labels: [
      { name: 'version', value: '1.0.0' },
      { name: 'os', value: 'linux' },
      { name: 'arch', value: 'amd64' },
    ],
    ...more,
  });

/** Bounds no test but those about bounds comes near. */
export const wideLimits: UnpackLimits = {
  maxUnpackedBytes: 1e12,
  maxEntries: 1e9,
  maxCompressionRatio: 1e9,
};

/** The bytes of a tar archive with its end. */
export function tarOf(members: readonly Member[]): Buffer {
  return Buffer.concat([...members.map(memberBytes), Buffer.alloc(1024)]);
}

/** An uncompressed App Container Image: manifest, rootfs, then what the test puts in. */
export function aciOf(members: readonly Member[], manifest = manifestOf('example.com/t')): Buffer {
  return tarOf([
    { name: 'manifest', content: manifest },
    { name: 'rootfs/', typeflag: '5', mode: 0o755 },
    ...members,
  ]);
}

export function memberBytes(member: Member): Buffer {
  const content = Buffer.from(member.content ?? '');
  const padding = Buffer.alloc((512 - (content.length % 512)) % 512);
  const extension = member.pax === undefined ? [] : [paxBytes(member.pax)];
  return Buffer.concat([...extension, headerBlock(member, content.length), content, padding]);
}

function paxBytes(records: Readonly<Record<string, string | Uint8Array>>): Buffer {
  const body = Buffer.concat(Object.entries(records).map(([key, value]) => paxRecord(key, value)));
  return memberBytes({ name: 'PaxHeaders', typeflag: 'x', content: body });
}

function paxRecord(key: string, value: string | Uint8Array): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value), Buffer.from('\n')]);
  for (let digits = 1; ; digits++) {
    const length = String(rest.length + digits);
    if (length.length === digits) return Buffer.concat([Buffer.from(length), rest]);
  }
}

function headerBlock(member: Member, contentSize: number): Buffer {
  const block = Buffer.alloc(512);
  block.write(member.name, 0, 100);
  block.write(octal(member.mode ?? 0o644, 7), 100);
  block.write(octal(member.uid ?? 0, 7), 108);
  block.write(octal(member.gid ?? 0, 7), 116);
  block.write(octal(member.size ?? contentSize, 11), 124);
  block.write(octal(member.seconds ?? 1_500_000_000, 11), 136);
  block.write(member.typeflag ?? '0', 156);
  block.write(member.linkName ?? '', 157, 100);
  block.write('ustar\x0000', 257);
  block.write(octal(member.major ?? 0, 7), 329);
  block.write(octal(member.minor ?? 0, 7), 337);
  member.alter?.(block);
  block.fill(' ', 148, 156);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${octal(sum, 6)}\0 `, 148);
  return block;
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0');
}
