import { constants, type KeyObject, verify } from 'node:crypto';
import { decodeBase64 } from './base64.ts';
import { type KeyOf, keysOfKind, type LoadedTrustedKey } from './trusted-key-kind.ts';

/** No signature of any algorithm taken here is longer: RSA with 16384 bits makes 2048 bytes. */
const MAX_SIGNATURE_BYTES = 2048;

/**
 * cosign's classic signatures have SHA-256 with every key; its bundles have what fits the key's size
 * (sigstore/architecture-docs, algorithm-registry.md).
 */
const DIGESTS = ['sha256', 'sha384', 'sha512'] as const;

/**
 * The trusted sigstore key that made a signature over `data`, or undefined where none did. Of an Ed25519
 * key it may be an Ed25519ph one as well, as cosign 3 makes them.
 */
export async function signingKey(
  keys: readonly LoadedTrustedKey[],
  data: Uint8Array,
  signature: Uint8Array,
): Promise<KeyOf<'sigstore-key'> | undefined> {
  const candidates = keysOfKind(keys, 'sigstore-key');
  const found = candidates.find(({ key }) => isSignedBy(key, data, signature));
  if (found !== undefined) return found;
  const edwards = candidates.filter(({ key }) => key.asymmetricKeyType === 'ed25519');
  if (edwards.length === 0) return undefined;
  const { isPrehashSignedBy } = await import('./ed25519ph.ts');
  return edwards.find(({ key }) => isPrehashSignedBy(key, data, signature));
}

/**
 * Whether a key made a signature over `data`: ECDSA in DER with SHA-256, SHA-384 or SHA-512, RSA with
 * those by PKCS #1 v1.5 or PSS (RFC 8017), Ed25519 (RFC 8032).
 */
export function isSignedBy(key: KeyObject, data: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length === 0 || signature.length > MAX_SIGNATURE_BYTES) return false;
  switch (key.asymmetricKeyType) {
    case 'ed25519':
      return verify(null, data, key, signature);
    case 'ec':
      return DIGESTS.some((digest) => verify(digest, data, { key, dsaEncoding: 'der' }, signature));
    case 'rsa':
      return DIGESTS.some(
        (digest) =>
          verify(digest, data, { key, padding: constants.RSA_PKCS1_PADDING }, signature) ||
          verify(digest, data, { key, padding: constants.RSA_PKCS1_PSS_PADDING }, signature),
      );
    default:
      return false;
  }
}

/** The bytes of a signature in base64; undefined for anything else. */
export function decodeSignatureText(text: string): Uint8Array | undefined {
  const trimmed = text.trim();
  return trimmed === '' ? undefined : decodeBase64(trimmed);
}
