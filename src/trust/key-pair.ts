import { generateKeyPairSync } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { GantryError } from '../error.ts';
import { putNewFile } from './new-file.ts';
import { sigstoreFingerprint } from './sigstore-key.ts';

/** A new pair of keys, and where its halves lie. */
export interface KeyPair {
  readonly secretPath: string;
  readonly publicPath: string;
  /** Of the public half, as `gantry trust` shows it. */
  readonly fingerprint: string;
}

/**
 * Makes an ECDSA P-256 pair, which every tool of sigstore's takes: the secret half in `path`, 0600, the
 * public one in `path.pub`. Under a passphrase the secret half is in cosign's format, whose scrypt costs a
 * guess what OpenSSL's encrypted PKCS #8 does not; without one it is plain PKCS #8.
 *
 * @throws GantryError `usage` where either file is there already, `permission`, `store`.
 */
export async function generateKeyPair(
  path: string,
  passphrase: Uint8Array | undefined,
): Promise<KeyPair> {
  const publicPath = publicPathOf(path);
  requireUnused(path);
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const secret =
    passphrase === undefined || passphrase.length === 0
      ? privateKey.export({ format: 'pem', type: 'pkcs8' })
      : await sealed(privateKey.export({ format: 'der', type: 'pkcs8' }), passphrase);
  // The public half first: should the second write fail, nothing secret is left behind.
  if (!putNewFile(publicPath, publicKey.export({ format: 'pem', type: 'spki' }), { mode: 0o644 })) {
    throw exists(publicPath);
  }
  try {
    if (!putNewFile(path, secret, { mode: 0o600 })) throw exists(path);
  } catch (error) {
    rmSync(publicPath, { force: true });
    throw error;
  }
  return { secretPath: path, publicPath, fingerprint: sigstoreFingerprint(publicKey) };
}

/**
 * Refuses a place where a key, or half of one, lies already.
 * @throws GantryError `usage`
 */
export function requireUnused(path: string): void {
  for (const taken of [path, publicPathOf(path)]) if (existsSync(taken)) throw exists(taken);
}

function publicPathOf(path: string): string {
  return `${path}.pub`;
}

async function sealed(der: Buffer, passphrase: Uint8Array): Promise<string> {
  const { sealKey } = await import('./sealed-key.ts');
  try {
    return sealKey(der, passphrase);
  } finally {
    der.fill(0);
  }
}

function exists(path: string): GantryError {
  return new GantryError(
    'usage',
    `${path} exists, and a key is never replaced: choose another name`,
  );
}
