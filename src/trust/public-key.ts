import { enums, type Key, readKey, type SignaturePacket } from 'openpgp';
import { GantryError } from '../error.ts';
import { armorBlocks, isBinary } from './armor.ts';
import { MAX_KEY_FILE_BYTES } from './key-file.ts';
import { framePackets, PACKET, type Packet } from './packets.ts';
import { POLICY } from './policy.ts';
import { printableReason } from './printable.ts';

const MAX_KEYS = 64;
const MAX_PACKETS = 8192;
/** Each may have to be verified, by the slowest algorithm its maker could think of. */
const MAX_SELF_SIGNATURES = 256;
/** Packets a transferable public key is made of (RFC 9580 section 10.1), and those to ignore. */
const KEY_PACKETS: ReadonlySet<number> = new Set([
  PACKET.publicKey,
  PACKET.publicSubkey,
  PACKET.userId,
  PACKET.userAttribute,
  PACKET.signature,
  PACKET.marker,
  PACKET.trust,
  PACKET.padding,
]);

/**
 * Parses a file of public keys, armored or binary. Nothing but public keys may be in it: a secret
 * key is refused before it is parsed, and never printed.
 *
 * @throws GantryError `bad-key`, saying what the bytes are instead.
 */
export async function readPublicKeys(bytes: Uint8Array): Promise<Key[]> {
  if (bytes.length === 0) throw badKey('it is empty');
  if (bytes.length > MAX_KEY_FILE_BYTES) {
    throw badKey(
      `it is larger than ${MAX_KEY_FILE_BYTES} bytes; export it without other people's certifications (gpg --export-options export-minimal)`,
    );
  }
  const keys: Key[] = [];
  for (const packets of splitKeys(framed(binaryKeys(bytes)))) keys.push(await parseKey(packets));
  return keys;
}

function badKey(reason: string, cause?: unknown): GantryError {
  return new GantryError('bad-key', `not a usable public key: ${reason}`, { cause });
}

function secretKey(): GantryError {
  return badKey(
    'it holds a SECRET key, of which nothing was kept; give the public part instead (gpg --armor --export)',
  );
}

/** The packets of all keys in the file, whichever way it is encoded. */
function binaryKeys(bytes: Uint8Array): Uint8Array {
  if (isBinary(bytes)) return bytes;
  const blocks = armorBlocks(Buffer.from(bytes).toString('latin1'));
  if (typeof blocks === 'string') throw badKey(blocks);
  if (blocks.length === 0)
    throw badKey('it is neither armored nor binary OpenPGP, nor PEM, nor an identity');
  for (const { label } of blocks) {
    if (label === 'PGP PRIVATE KEY BLOCK') throw secretKey();
    if (label !== 'PGP PUBLIC KEY BLOCK') throw badKey(`it holds a ${label}`);
  }
  return Buffer.concat(blocks.map((block) => block.bytes));
}

function framed(bytes: Uint8Array): Packet[] {
  const packets = framePackets(bytes, MAX_PACKETS);
  if (typeof packets === 'string') throw badKey(packets);
  for (const { tag } of packets) {
    if (tag === PACKET.secretKey || tag === PACKET.secretSubkey) throw secretKey();
    // Types from 40 up are for an implementation to ignore when unknown (RFC 9580 section 4.3).
    if (!KEY_PACKETS.has(tag) && tag < 40) throw badKey(`it holds a packet of type ${tag}`);
  }
  return packets;
}

/** Cuts at every primary key packet. */
function splitKeys(packets: readonly Packet[]): Packet[][] {
  const keys: Packet[][] = [];
  for (const packet of packets.filter(({ tag }) => tag !== PACKET.marker)) {
    if (packet.tag === PACKET.publicKey) keys.push([]);
    const current = keys.at(-1);
    if (current === undefined) throw badKey('it does not begin with a public key');
    current.push(packet);
  }
  if (keys.length === 0) throw badKey('it holds no key');
  if (keys.length > MAX_KEYS) throw badKey(`it holds more than ${MAX_KEYS} keys`);
  return keys;
}

async function parseKey(packets: readonly Packet[]): Promise<Key> {
  const key = await readOneKey(packets);
  const count = selfSignatures(key).length;
  if (count > MAX_SELF_SIGNATURES) {
    throw badKey(`it holds more than ${MAX_SELF_SIGNATURES} self-signatures`);
  }
  return key;
}

/** The signatures in a key that it claims to have made itself: all that are ever verified. */
export function selfSignatures(key: Key): SignaturePacket[] {
  // `filterByTag` gives the tag's own class, which its type declaration cannot say.
  const signatures = key.toPacketList().filterByTag(enums.packet.signature) as unknown;
  return (signatures as SignaturePacket[]).filter(({ issuerKeyID }) =>
    issuerKeyID.equals(key.getKeyID()),
  );
}

async function readOneKey(packets: readonly Packet[]): Promise<Key> {
  try {
    const binaryKey = Buffer.concat(packets.map((packet) => packet.bytes));
    return await readKey({ binaryKey, config: POLICY });
  } catch (error) {
    throw badKey(printableReason(error), error);
  }
}
