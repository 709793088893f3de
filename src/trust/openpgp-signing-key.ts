import {
  type Key,
  type PrivateKey,
  readPrivateKey,
  type SecretKeyPacket,
  type Subkey,
} from 'openpgp';
import type { GantryError } from '../error.ts';
import { armorBlocks, isBinary } from './armor.ts';
import { framePackets, PACKET } from './packets.ts';
import { algorithmFault, POLICY } from './policy.ts';
import { printable, printableReason } from './printable.ts';
import { type AskPassphrase, unusable, withPassphrase } from './signing-key.ts';

/** A secret OpenPGP key of which the part that signs is open. */
export interface OpenPgpSigningKey {
  readonly kind: 'openpgp';
  readonly key: PrivateKey;
  /** Of the primary key, lower-case hex, as `gantry trust` shows it. */
  readonly fingerprint: string;
  readonly userId?: string | undefined;
}

const MAX_PACKETS = 8192;

/**
 * Reads what `gpg --export-secret-keys` writes, armored or binary, and opens the key or subkey that gpg
 * would sign with: the newest one that may.
 *
 * @throws GantryError `bad-key`, never quoting what is in the file.
 */
export async function readSecretKey(
  bytes: Uint8Array,
  path: string,
  askPassphrase: AskPassphrase,
): Promise<OpenPgpSigningKey> {
  const key = await parse(secretPackets(bytes, path), path);
  const signer = await signingComponent(key, path);
  const packet = signer.keyPacket as SecretKeyPacket & { isDummy(): boolean };
  if (packet.isDummy()) {
    throw unusable(
      path,
      'the part of the key that signs is not in it: it lies on a card, or elsewhere',
    );
  }
  if (packet.isDecrypted() !== true) {
    await withPassphrase(
      path,
      askPassphrase,
      async (passphrase) => await unlock(packet, passphrase),
    );
  }
  await requireWhole(packet, path);
  const [user] = key.getUserIDs();
  return {
    kind: 'openpgp',
    key,
    fingerprint: key.getFingerprint(),
    userId: user === undefined ? undefined : printable(user),
  };
}

/** The packets of the one secret key, whichever way they are encoded. */
function secretPackets(bytes: Uint8Array, path: string): Uint8Array {
  const binary = isBinary(bytes) ? bytes : armored(bytes, path);
  const packets = framePackets(binary, MAX_PACKETS);
  if (typeof packets === 'string') throw unusable(path, packets);
  const tags = packets.map(({ tag }) => tag);
  if (tags.includes(PACKET.publicKey)) throw publicKey(path);
  if (tags[0] === PACKET.signature) throw unusable(path, 'it is a signature, not a key');
  if (tags[0] !== PACKET.secretKey) throw unusable(path, 'it does not begin with a secret key');
  if (tags.filter((tag) => tag === PACKET.secretKey).length > 1) {
    throw unusable(path, 'it holds several secret keys: export the one to sign with');
  }
  return binary;
}

function armored(bytes: Uint8Array, path: string): Uint8Array {
  const blocks = armorBlocks(Buffer.from(bytes).toString('latin1'));
  if (typeof blocks === 'string') throw unusable(path, blocks);
  const [block] = blocks.filter(({ label }) => label === 'PGP PRIVATE KEY BLOCK');
  if (block !== undefined) return block.bytes;
  if (blocks[0]?.label === 'PGP PUBLIC KEY BLOCK') throw publicKey(path);
  throw unusable(
    path,
    blocks[0] === undefined ? 'it holds no key' : `it holds a ${blocks[0].label}`,
  );
}

function publicKey(path: string): GantryError {
  return unusable(
    path,
    'it is a public key: export the secret one (gpg --armor --export-secret-keys)',
  );
}

async function parse(binaryKey: Uint8Array, path: string): Promise<PrivateKey> {
  try {
    return await readPrivateKey({ binaryKey, config: POLICY });
  } catch {
    // The library's reason may quote a value of the key, so it is not even kept as a cause.
    throw unusable(path, 'its OpenPGP key cannot be read: it is damaged or truncated');
  }
}

async function signingComponent(key: PrivateKey, path: string): Promise<Key | Subkey> {
  let signer: Key | Subkey;
  try {
    signer = await key.getSigningKey(undefined, new Date(), undefined, POLICY);
  } catch (error) {
    throw unusable(path, `it has no key that may sign now (${printableReason(error)})`, error);
  }
  const fault = algorithmFault(key.getAlgorithmInfo()) ?? algorithmFault(signer.getAlgorithmInfo());
  if (fault !== undefined) throw unusable(path, `the key ${fault}`);
  return signer;
}

async function unlock(packet: SecretKeyPacket, passphrase: Uint8Array): Promise<true | undefined> {
  try {
    await packet.decrypt(Buffer.from(passphrase).toString('utf8'));
    return true;
  } catch {
    return undefined;
  }
}

/**
 * Whether the secret half belongs to the public one: where the file's public numbers were changed, a
 * signature would give the secret away (KOpenPGP, 2022).
 */
async function requireWhole(packet: SecretKeyPacket, path: string): Promise<void> {
  try {
    await packet.validate();
  } catch {
    throw unusable(path, 'its secret half does not belong to its public one');
  }
}
