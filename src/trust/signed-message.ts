import { inflateRawSync, inflateSync } from 'node:zlib';
import { GantryError } from '../error.ts';
import { armorBlocks, isBinary } from './armor.ts';
import { type DataPacket, frameMessage, PACKET } from './packets.ts';

/** An OpenPGP signed message, taken apart: from here on its signatures are as good as detached ones. */
export interface SignedMessage {
  readonly content: Uint8Array;
  /** The signature packets, one after another. */
  readonly signatures: Uint8Array;
}

/** A simple-signing payload is a few hundred bytes, and a signature by the largest key 2 KiB. */
const MAX_MESSAGE_BYTES = 64 << 10;
const MAX_CONTENT_BYTES = 256 << 10;
const MAX_PACKETS = 64;

/**
 * Takes apart what `gpg --sign` makes (RFC 9580 section 10.3): one-pass signatures, the literal data and
 * the signatures, or signatures before the data, all of it compressed or not. The one-pass packets only
 * announce what is signed how, so that it can be hashed on the way; the signatures say it themselves.
 *
 * @throws GantryError `bad-signature` when it is anything else, its message the rest of a sentence.
 */
export function openSignedMessage(bytes: Uint8Array): SignedMessage {
  const packets = relevantPackets(binaryMessage(bytes));
  const [first] = packets;
  const inner =
    first?.tag === PACKET.compressed && packets.length === 1
      ? relevantPackets(decompress(first.body))
      : packets;
  const other = inner.find(({ tag }) => !MESSAGE_PACKETS.has(tag));
  if (other !== undefined) throw unreadable(`it holds a packet of type ${other.tag}`);
  const [literal, second] = inner.filter(({ tag }) => tag === PACKET.literal);
  if (literal === undefined || second !== undefined) {
    throw unreadable('it does not hold one signed content');
  }
  const signatures = inner.filter(({ tag }) => tag === PACKET.signature);
  if (signatures.length === 0) throw unreadable('it is not signed');
  return {
    content: literalContent(literal.body),
    signatures: Buffer.concat(signatures.map((packet) => packet.bytes)),
  };
}

const MESSAGE_PACKETS: ReadonlySet<number> = new Set([
  PACKET.onePassSignature,
  PACKET.literal,
  PACKET.signature,
]);

function binaryMessage(bytes: Uint8Array): Uint8Array {
  if (bytes.length > MAX_MESSAGE_BYTES) {
    throw unreadable(`it is larger than ${MAX_MESSAGE_BYTES} bytes`);
  }
  if (isBinary(bytes)) return bytes;
  const blocks = armorBlocks(Buffer.from(bytes).toString('latin1'));
  if (typeof blocks === 'string') throw unreadable(blocks);
  const [block, second] = blocks;
  if (block?.label !== 'PGP MESSAGE' || second !== undefined) {
    throw unreadable('it is neither binary OpenPGP nor an armored message');
  }
  return block.bytes;
}

/** Markers and padding are to be ignored (RFC 9580 sections 5.8, 5.14), and types from 40 up (4.3). */
function relevantPackets(bytes: Uint8Array): DataPacket[] {
  const packets = frameMessage(bytes, MAX_PACKETS);
  if (typeof packets === 'string') throw unreadable(packets);
  return packets.filter(({ tag }) => tag !== PACKET.marker && tag !== PACKET.padding && tag < 40);
}

/** RFC 9580 sections 5.6 and 9.4. Bounded, since a kilobyte can become a megabyte. */
function decompress(body: Uint8Array): Uint8Array {
  const data = body.subarray(1);
  const bound = { maxOutputLength: MAX_CONTENT_BYTES };
  try {
    if (body[0] === 0) return data;
    if (body[0] === 1) return inflateRawSync(data, bound);
    if (body[0] === 2) return inflateSync(data, bound);
  } catch (cause) {
    throw unreadable('its compressed content is damaged or too large', cause);
  }
  throw unreadable(`it is compressed in a way Gantry does not read (${body[0]})`);
}

/** A format, a file name and a date, none of which are signed, then the content (RFC 9580 section 5.9). */
function literalContent(body: Uint8Array): Uint8Array {
  const start = 2 + (body[1] ?? 0) + 4;
  if (body.length < start) throw unreadable('it is truncated');
  return body.subarray(start);
}

function unreadable(reason: string, cause?: unknown): GantryError {
  return new GantryError(
    'bad-signature',
    `its signature is not an OpenPGP signed message: ${reason}`,
    {
      cause,
    },
  );
}
