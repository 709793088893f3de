import { enums, readSignature, type SignaturePacket } from 'openpgp';
import { GantryError } from '../error.ts';
import { armorBlocks, isBinary } from './armor.ts';
import { badSignature, type Fault } from './fault.ts';
import { framePackets, PACKET } from './packets.ts';
import { digestFault } from './policy.ts';
import { printable, printableReason, printableTime } from './printable.ts';

const MAX_FILE_BYTES = 64 << 10;
const MAX_PACKETS = 64;
const MAX_SIGNATURES = 16;

/**
 * Fields openpgp.js has and uses but does not put in its type declarations. `hashed` is where it
 * expects the digest of a message that was read as a stream; `salt` is a version 6 signature's.
 */
export interface SignatureInternals {
  hashed?: Uint8Array;
  readonly salt?: Uint8Array | null;
}

/** One signature of a detached signature file. */
export interface DetachedSignature {
  readonly packet: SignaturePacket & SignatureInternals;
  /** Of the key that claims to have made it: 16 hex digits, or empty when it names none. */
  readonly keyId: string;
  /** As it claims. */
  readonly madeAt: Date;
}

/** A detached signature file, read: what can be judged, and what cannot. */
export interface SignatureFile {
  readonly signatures: readonly DetachedSignature[];
  /** One for each signature packet of a version or algorithm that is not supported. */
  readonly faults: readonly Fault[];
}

/**
 * Reads a detached signature file: binary packets, or any number of armored blocks.
 *
 * @throws GantryError `bad-signature` when it is anything else than signatures.
 */
export async function readSignatureFile(bytes: Uint8Array): Promise<SignatureFile> {
  const packets = signaturePackets(binarySignatures(bytes));
  const signatures: DetachedSignature[] = [];
  const faults: Fault[] = [];
  for (const packet of packets) {
    try {
      signatures.push(await parseSignature(packet));
    } catch (error) {
      // Parsed one by one: a signature of tomorrow's kind does not spoil today's beside it.
      faults.push(badSignature(`a signature cannot be read (${printableReason(error)})`));
    }
  }
  return { signatures, faults };
}

/**
 * What is wrong with a signature whoever made it: its kind, its digest, its dates, and demands
 * it marks as critical that Gantry does not know (RFC 9580 sections 5.2.1, 5.2.3.7, 9.5).
 */
export function signatureFault(signature: DetachedSignature, now: Date): Fault | undefined {
  const { packet, madeAt } = signature;
  const label = signatureLabel(signature);
  if (packet.signatureType !== enums.signature.binary) {
    return badSignature(`${label} is not one over a binary file (type ${packet.signatureType})`);
  }
  const digest = digestFault(packet.hashAlgorithm);
  if (digest !== undefined) {
    return badSignature(
      `${label} is refused: ${digest}`,
      'ask for one made with SHA-256 or better',
    );
  }
  if (madeAt.getTime() > now.getTime()) {
    return badSignature(
      `${label} was made in the future, at ${printableTime(madeAt)}`,
      "check this machine's clock",
    );
  }
  const expiry = packet.getExpirationTime();
  if (expiry instanceof Date && expiry.getTime() <= now.getTime()) {
    return badSignature(`${label} expired at ${printableTime(expiry)}`, 'ask for a new one');
  }
  return criticalFault(signature);
}

function criticalFault({ packet, ...signature }: DetachedSignature): Fault | undefined {
  const label = signatureLabel(signature);
  const notation = packet.rawNotations.find(({ critical }) => critical);
  if (notation !== undefined) {
    return badSignature(
      `${label} has the critical notation ${JSON.stringify(printable(notation.name))}, which Gantry does not know`,
    );
  }
  const unknown = packet.unknownSubpackets.find(({ critical }) => critical);
  if (unknown !== undefined) {
    return badSignature(
      `${label} has a critical subpacket of type ${unknown.type}, which Gantry does not know`,
    );
  }
  return undefined;
}

/** How messages name a signature. */
export function signatureLabel({ keyId }: Pick<DetachedSignature, 'keyId'>): string {
  return keyId === '' ? 'the signature' : `the signature by key ${keyId.toUpperCase()}`;
}

function unreadable(reason: string): GantryError {
  return new GantryError(
    'bad-signature',
    `not a detached OpenPGP signature: ${reason}; it is made with: gpg --armor --detach-sign IMAGE`,
  );
}

function binarySignatures(bytes: Uint8Array): Uint8Array {
  if (bytes.length === 0) throw unreadable('it is empty');
  if (bytes.length > MAX_FILE_BYTES) {
    throw unreadable(`it is larger than ${MAX_FILE_BYTES} bytes`);
  }
  if (isBinary(bytes)) return bytes;
  const blocks = armorBlocks(Buffer.from(bytes).toString('latin1'));
  if (typeof blocks === 'string') throw unreadable(blocks);
  if (blocks.length === 0) throw unreadable('it is neither armored nor binary OpenPGP');
  const other = blocks.find(({ label }) => label !== 'PGP SIGNATURE');
  if (other !== undefined) throw unreadable(`it holds a ${other.label}`);
  return Buffer.concat(blocks.map((block) => block.bytes));
}

/** The signature packets; markers and padding are to be ignored (RFC 9580 sections 5.8, 5.14). */
function signaturePackets(bytes: Uint8Array): Uint8Array[] {
  const packets = framePackets(bytes, MAX_PACKETS);
  if (typeof packets === 'string') throw unreadable(packets);
  const relevant = packets.filter(
    ({ tag }) => tag !== PACKET.marker && tag !== PACKET.padding && tag < 40,
  );
  const other = relevant.find(({ tag }) => tag !== PACKET.signature);
  if (other !== undefined) throw unreadable(`it holds a packet of type ${other.tag}`);
  if (relevant.length === 0) throw unreadable('it holds no signature');
  if (relevant.length > MAX_SIGNATURES) {
    throw unreadable(`it holds more than ${MAX_SIGNATURES} signatures`);
  }
  return relevant.map((packet) => packet.bytes);
}

async function parseSignature(bytes: Uint8Array): Promise<DetachedSignature> {
  const { packets } = await readSignature({
    binarySignature: bytes,
    config: { ignoreUnsupportedPackets: false },
  });
  const [packet] = packets;
  if (packet?.created == null || packet.signatureData === null) throw new Error('it is incomplete');
  return { packet, keyId: packet.issuerKeyID.toHex(), madeAt: packet.created };
}
