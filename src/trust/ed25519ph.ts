import type { KeyObject } from 'node:crypto';
import { ed25519ph } from '@noble/curves/ed25519.js';

/**
 * Ed25519ph (RFC 8032 section 5.1): Ed25519 over the SHA-512 of the message. cosign 3 signs so with every
 * Ed25519 key, as the transparency log sees digests only; node:crypto has Ed25519 alone.
 */
export function isPrehashSignedBy(
  key: KeyObject,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  const encodedKey = Buffer.from(key.export({ format: 'jwk' }).x ?? '', 'base64url');
  try {
    // The strict rules of the specification, which node:crypto follows too.
    return ed25519ph.verify(signature, message, encodedKey, { zip215: false });
  } catch {
    // Of another length, or no point of the curve.
    return false;
  }
}
