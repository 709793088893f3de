/** The packet types this folder tells apart (RFC 9580 section 5). */
export const PACKET = {
  signature: 2,
  secretKey: 5,
  publicKey: 6,
  secretSubkey: 7,
  marker: 10,
  trust: 12,
  userId: 13,
  publicSubkey: 14,
  userAttribute: 17,
  padding: 21,
} as const;

/** One packet, header included, as a view of the bytes it was found in. */
export interface Packet {
  readonly tag: number;
  readonly bytes: Uint8Array;
}

/**
 * Cuts bytes into packets by their headers alone, so that counts and types are known, and refused,
 * before anything is parsed. Only definite lengths are taken: partial and indeterminate ones are
 * for data packets, which neither keys nor detached signatures hold (RFC 9580 section 4.2.1.4).
 *
 * @returns the packets, or a word about what is wrong with the framing.
 */
export function framePackets(bytes: Uint8Array, limit: number): Packet[] | string {
  const packets: Packet[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    if (packets.length === limit) return `it holds more than ${limit} packets`;
    const header = readHeader(bytes, offset);
    if (header === undefined) return 'it is not a sequence of OpenPGP packets';
    const end = header.bodyStart + header.length;
    if (end > bytes.length) return 'it is truncated';
    packets.push({ tag: header.tag, bytes: bytes.subarray(offset, end) });
    offset = end;
  }
  return packets;
}

interface Header {
  readonly tag: number;
  readonly bodyStart: number;
  readonly length: number;
}

function readHeader(bytes: Uint8Array, offset: number): Header | undefined {
  const first = bytes[offset] ?? 0;
  if ((first & 0x80) === 0) return undefined;
  return (first & 0x40) !== 0 ? readNewHeader(bytes, offset) : readLegacyHeader(bytes, offset);
}

/** RFC 9580 section 4.2.1. */
function readNewHeader(bytes: Uint8Array, offset: number): Header | undefined {
  const tag = (bytes[offset] ?? 0) & 0x3f;
  const octet = bytes[offset + 1];
  if (octet === undefined) return undefined;
  if (octet < 192) return { tag, bodyStart: offset + 2, length: octet };
  if (octet < 224) {
    const low = bytes[offset + 2];
    if (low === undefined) return undefined;
    return { tag, bodyStart: offset + 3, length: ((octet - 192) << 8) + low + 192 };
  }
  if (octet < 255) return undefined;
  return definite(bytes, tag, offset + 2, 4);
}

/** RFC 9580 section 4.2.2. */
function readLegacyHeader(bytes: Uint8Array, offset: number): Header | undefined {
  const first = bytes[offset] ?? 0;
  const size = [1, 2, 4][first & 0x03];
  return size === undefined ? undefined : definite(bytes, (first >> 2) & 0x0f, offset + 1, size);
}

function definite(
  bytes: Uint8Array,
  tag: number,
  lengthStart: number,
  size: number,
): Header | undefined {
  const bodyStart = lengthStart + size;
  if (bodyStart > bytes.length) return undefined;
  const length = bytes
    .subarray(lengthStart, bodyStart)
    .reduce((value, octet) => value * 256 + octet, 0);
  return { tag, bodyStart, length };
}
