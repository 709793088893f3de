import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { GantryError, reasonOf } from '../error.ts';
import { isBinary } from './armor.ts';
import type { OpenPgpSigningKey } from './openpgp-signing-key.ts';
import { isSecretLabel, pemBlocks, pemLabels } from './pem.ts';
import { openSealedKey, SEALED_KEY_LABELS } from './sealed-key.ts';
import { keyAlgorithm, sigstoreFingerprint } from './sigstore-key.ts';

/** A secret key as sigstore's tools use them: what makes cosign signatures and bundles. */
export interface SigstoreSigningKey {
  readonly kind: 'sigstore-key';
  readonly key: KeyObject;
  readonly publicKey: KeyObject;
  /** `ECDSA P-256`, `RSA 3072`, `Ed25519`. */
  readonly algorithm: string;
  /** Of its public half, as `gantry trust` shows it. */
  readonly fingerprint: string;
}

/** A secret key, ready to sign. */
export type SigningKey = SigstoreSigningKey | OpenPgpSigningKey;

/**
 * Asks for the passphrase of a file, and only when it has one. The bytes are UTF-8 and are wiped after use;
 * undefined where there is nobody to ask.
 */
export type AskPassphrase = (path: string) => Promise<Uint8Array | undefined>;

/** How a secret key's file is treated. */
export interface SigningKeyOptions {
  readonly askPassphrase: AskPassphrase;
  readonly warn: (line: string) => void;
}

/** An RSA key of 16384 bits is 13 KB; a secret OpenPGP key carries everybody's certifications. */
const MAX_BYTES = 1 << 20;

/** What a PEM secret key may be called (RFC 5958, RFC 5915, RFC 8017 appendix A.1.2). */
const PLAIN_LABELS: ReadonlySet<string> = new Set([
  'PRIVATE KEY',
  'ENCRYPTED PRIVATE KEY',
  'EC PRIVATE KEY',
  'RSA PRIVATE KEY',
]);

/**
 * Reads a secret key to sign with, told by what is in the file: an OpenPGP export, armored or binary, or
 * PEM: PKCS #8, SEC 1, PKCS #1, or cosign's own. Nothing of it is ever printed.
 *
 * @throws GantryError `bad-key` for what is no such key, is too weak, or stays locked; `not-found`.
 */
export async function readSigningKey(
  path: string,
  { askPassphrase, warn }: SigningKeyOptions,
): Promise<SigningKey> {
  const { bytes, exposed } = readSecretFile(path);
  if (exposed) warn(`the secret key ${path} can be read by others: chmod 600 ${path}`);
  try {
    return await parseSigningKey(bytes, path, askPassphrase);
  } catch (error) {
    if (!(error instanceof GantryError) || error.code !== 'bad-key') throw error;
    if (error.message.startsWith(prefix(path))) throw error;
    throw unusable(path, error.message, error);
  } finally {
    bytes.fill(0);
  }
}

/** Runs an attempt to open a key under its passphrase, which is wiped whatever comes of it. */
export async function withPassphrase<Opened>(
  path: string,
  askPassphrase: AskPassphrase,
  open: (passphrase: Uint8Array) => Promise<Opened | undefined> | Opened | undefined,
): Promise<Opened> {
  const passphrase = await askPassphrase(path);
  if (passphrase === undefined) {
    throw unusable(
      path,
      'it is protected by a passphrase: give --passphrase-file, or the variable GANTRY_KEY_PASSPHRASE',
    );
  }
  try {
    const opened = await open(passphrase);
    if (opened === undefined)
      throw unusable(path, 'the passphrase is wrong, or the file is damaged');
    return opened;
  } finally {
    passphrase.fill(0);
  }
}

/** The refusal of a file as a key to sign with. */
export function unusable(path: string, reason: string, cause?: unknown): GantryError {
  return new GantryError('bad-key', `${prefix(path)}${reason}`, { cause });
}

function prefix(path: string): string {
  return `cannot sign with ${path}: `;
}

/** A pipe will do, too: a secret that is handed over need not lie anywhere. */
function readSecretFile(path: string): { bytes: Buffer; exposed: boolean } {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (cause) {
    throw new GantryError('not-found', `${prefix(path)}${reasonOf(cause)}`, { cause });
  }
  try {
    const stats = fstatSync(fd);
    const bytes = Buffer.alloc(MAX_BYTES + 1);
    let length = 0;
    while (length < bytes.length) {
      const count = readSync(fd, bytes, length, bytes.length - length, null);
      if (count === 0) break;
      length += count;
    }
    if (length > MAX_BYTES) throw unusable(path, `it is larger than ${MAX_BYTES} bytes`);
    return {
      bytes: bytes.subarray(0, length),
      exposed: stats.isFile() && (stats.mode & 0o044) !== 0,
    };
  } catch (cause) {
    if (cause instanceof GantryError) throw cause;
    throw new GantryError('not-found', `${prefix(path)}${reasonOf(cause)}`, { cause });
  } finally {
    closeSync(fd);
  }
}

async function parseSigningKey(
  bytes: Uint8Array,
  path: string,
  askPassphrase: AskPassphrase,
): Promise<SigningKey> {
  if (bytes.length === 0) throw unusable(path, 'it is empty');
  const text = isBinary(bytes) ? '' : Buffer.from(bytes).toString('latin1');
  const labels = pemLabels(text);
  if (labels.some((label) => !label.startsWith('PGP '))) {
    return await pemKey(text, labels, path, askPassphrase);
  }
  const { readSecretKey } = await import('./openpgp-signing-key.ts');
  return await readSecretKey(bytes, path, askPassphrase);
}

async function pemKey(
  text: string,
  labels: readonly string[],
  path: string,
  askPassphrase: AskPassphrase,
): Promise<SigstoreSigningKey> {
  const secret = labels.filter(isSecretLabel);
  const [label] = secret;
  if (label === undefined) {
    throw unusable(path, `it holds a ${labels[0]}, and no secret key: give the private half`);
  }
  if (secret.length > 1) throw unusable(path, 'it holds several secret keys: give a file with one');
  if (SEALED_KEY_LABELS.has(label)) return await sealedKey(text, label, path, askPassphrase);
  if (!PLAIN_LABELS.has(label)) {
    throw unusable(
      path,
      `it holds a ${label}; use PKCS #8 (openssl pkey), OpenPGP or cosign's format`,
    );
  }
  return sigstoreKey(await plainKey(text, path, askPassphrase), path);
}

async function sealedKey(
  text: string,
  label: string,
  path: string,
  askPassphrase: AskPassphrase,
): Promise<SigstoreSigningKey> {
  const blocks = pemBlocks(text);
  if (typeof blocks === 'string') throw unusable(path, blocks);
  const sealed = blocks.find((block) => block.label === label);
  if (sealed === undefined) throw unusable(path, `its ${label} is truncated`);
  const der = await withPassphrase(path, askPassphrase, (passphrase) =>
    openSealedKey(sealed.der, passphrase),
  );
  try {
    const key = createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' });
    return sigstoreKey(key, path);
  } catch (cause) {
    if (cause instanceof GantryError) throw cause;
    throw unusable(path, 'what it holds under the passphrase is no secret key');
  } finally {
    der.fill(0);
  }
}

/** PKCS #8 (RFC 5958), SEC 1 (RFC 5915) and PKCS #1, each also under a passphrase. */
async function plainKey(
  text: string,
  path: string,
  askPassphrase: AskPassphrase,
): Promise<KeyObject> {
  const pem = secretBlock(text);
  // OpenSSL's reasons speak of its decoders; a wrong passphrase alone has a dozen of them.
  const open = (passphrase?: Uint8Array): KeyObject | undefined => {
    try {
      const given = passphrase === undefined ? {} : { passphrase: viewOf(passphrase) };
      return createPrivateKey({ key: pem, format: 'pem', ...given });
    } catch {
      return undefined;
    }
  };
  if (LOCKED.test(pem)) return await withPassphrase(path, askPassphrase, open);
  const key = open();
  if (key === undefined) throw unusable(path, 'its secret key is damaged or truncated');
  return key;
}

/** The same memory, so that it is wiped with the passphrase. */
function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

/** PKCS #8 says it in the label, OpenSSL's older forms in a header (RFC 1421 section 4.6.1.1). */
const LOCKED = /-----BEGIN ENCRYPTED |^Proc-Type: *4,ENCRYPTED/m;

/** What `openssl ecparam -genkey` writes before the key, its curve's parameters, OpenSSL itself stumbles over. */
function secretBlock(text: string): string {
  const start = text.search(/-----BEGIN [^-\n]{0,60}PRIVATE/);
  return text.slice(start);
}

function sigstoreKey(key: KeyObject, path: string): SigstoreSigningKey {
  const publicKey = createPublicKey(key);
  try {
    const algorithm = keyAlgorithm(publicKey);
    return {
      kind: 'sigstore-key',
      key,
      publicKey,
      algorithm,
      fingerprint: sigstoreFingerprint(publicKey),
    };
  } catch (error) {
    throw unusable(path, error instanceof GantryError ? error.message : String(error), error);
  }
}
