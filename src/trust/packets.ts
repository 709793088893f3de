/** The packet types this folder tells apart (RFC 9580 section 5). */
export const PACKET = {
  signature: 2,
  onePassSignature: 4,
  secretKey: 5,
  publicKey: 6,
  secretSubkey: 7,
  compressed: 8,
  marker: 10,
  literal: 11,
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

/** A packet that may be data, and its content: what stands after the header, put together. */
export interface DataPacket extends Packet {
  readonly body: Uint8Array;
}

/**
 * As `framePackets`, of a message: data packets come in partial lengths where whoever wrote them did not
 * know the size (RFC 9580 section 4.2.1.4), or reach to the end (section 4.2.2, as gpg's compressed do).
 */
export function frameMessage(bytes: Uint8Array, limit: number): DataPacket[] | string {
  const packets: DataPacket[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    if (packets.length === limit) return `it holds more than ${limit} packets`;
    const frame = readHeader(bytes, offset) ?? readOpenHeader(bytes, offset);
    if (frame === undefined) return 'it is not a sequence of OpenPGP packets';
    const found = 'pieces' in frame ? frame : wholeBody(bytes, frame);
    if (found === undefined) return 'it is truncated';
    const { tag, pieces, end } = found;
    packets.push({ tag, bytes: bytes.subarray(offset, end), body: Buffer.concat(pieces) });
    offset = end;
  }
  return packets;
}

/** The body of a packet whose length was not told at its start. */
interface OpenBody {
  readonly tag: number;
  readonly pieces: readonly Uint8Array[];
  readonly end: number;
}

function wholeBody(bytes: Uint8Array, { tag, bodyStart, length }: Header): OpenBody | undefined {
  const end = bodyStart + length;
  return end > bytes.length ? undefined : { tag, pieces: [bytes.subarray(bodyStart, end)], end };
}

function readOpenHeader(bytes: Uint8Array, offset: number): OpenBody | undefined {
  const first = bytes[offset] ?? 0;
  if ((first & 0xc0) === 0xc0) return readPartialBody(bytes, first & 0x3f, offset + 1);
  if ((first & 0x83) !== 0x83) return undefined;
  const tag = (first >> 2) & 0x0f;
  return { tag, pieces: [bytes.subarray(offset + 1)], end: bytes.length };
}

/** Pieces of a power of two, then one of a definite length, which ends it (RFC 9580 section 4.2.1.4). */
function readPartialBody(bytes: Uint8Array, tag: number, start: number): OpenBody | undefined {
  const pieces: Uint8Array[] = [];
  let at = start;
  for (;;) {
    const octet = bytes[at] ?? 0;
    if (octet < 224 || octet === 255) break;
    const end = at + 1 + 2 ** (octet & 0x1f);
    if (end > bytes.length) return undefined;
    pieces.push(bytes.subarray(at + 1, end));
    at = end;
  }
  const last = pieces.length === 0 ? undefined : readNewLength(bytes, tag, at);
  if (last === undefined || last.bodyStart + last.length > bytes.length) return undefined;
  const end = last.bodyStart + last.length;
  return { tag, pieces: [...pieces, bytes.subarray(last.bodyStart, end)], end };
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
  return readNewLength(bytes, (bytes[offset] ?? 0) & 0x3f, offset + 1);
}

function readNewLength(bytes: Uint8Array, tag: number, at: number): Header | undefined {
  const octet = bytes[at];
  if (octet === undefined) return undefined;
  if (octet < 192) return { tag, bodyStart: at + 1, length: octet };
  if (octet < 224) {
    const low = bytes[at + 1];
    if (low === undefined) return undefined;
    return { tag, bodyStart: at + 2, length: ((octet - 192) << 8) + low + 192 };
  }
  if (octet < 255) return undefined;
  return definite(bytes, tag, at + 1, 4);
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
