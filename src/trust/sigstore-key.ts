import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { GantryError } from '../error.ts';

/** RSA moduli below this are refused; NIST SP 800-131A has disallowed them since 2014. */
const MIN_RSA_BITS = 2048;
/** Beyond this a verification takes longer than anybody's patience, and nobody has such keys. */
const MAX_RSA_BITS = 16384;

/** The curves sigstore uses, by the names node:crypto has for them. */
const CURVES: ReadonlyMap<string | undefined, string> = new Map([
  ['prime256v1', 'P-256'],
  ['secp384r1', 'P-384'],
  ['secp521r1', 'P-521'],
]);

/** A public key as sigstore uses them. */
export interface SigstoreKey {
  readonly key: KeyObject;
  /** `ECDSA P-256`, `RSA 3072`, `Ed25519`. */
  readonly algorithm: string;
}

/**
 * Reads a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), the content of a PEM `PUBLIC KEY`.
 *
 * @throws GantryError `bad-key` for what is none, or of a kind or size that vouches for nothing.
 */
export function parseSigstoreKey(der: Uint8Array): SigstoreKey {
  let key: KeyObject;
  try {
    key = createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' });
  } catch (cause) {
    throw unusable('its PUBLIC KEY cannot be read', cause);
  }
  return { key, algorithm: keyAlgorithm(key) };
}

/** SHA-256 of the key's SubjectPublicKeyInfo, lower-case hex. cosign's hints are the same, in base64. */
export function sigstoreFingerprint(key: KeyObject): string {
  return createHash('sha256')
    .update(key.export({ format: 'der', type: 'spki' }))
    .digest('hex');
}

/**
 * What a key is called, of those that are strong enough.
 *
 * @throws GantryError `bad-key` for any other.
 */
export function keyAlgorithm({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): string {
  switch (asymmetricKeyType) {
    case 'ed25519':
      return 'Ed25519';
    case 'ec': {
      const curve = CURVES.get(asymmetricKeyDetails?.namedCurve);
      if (curve !== undefined) return `ECDSA ${curve}`;
      throw unusable(
        `its curve is ${asymmetricKeyDetails?.namedCurve ?? 'one without a name'}; use P-256, P-384 or P-521`,
      );
    }
    case 'rsa': {
      const { modulusLength = 0, publicExponent = 0n } = asymmetricKeyDetails ?? {};
      if (modulusLength < MIN_RSA_BITS) {
        throw unusable(
          `it is RSA with ${modulusLength} bits, and fewer than ${MIN_RSA_BITS} are too weak`,
        );
      }
      // With the exponent 1 every number is its own signature.
      if (modulusLength > MAX_RSA_BITS || publicExponent < 3n) {
        throw unusable(`it is RSA with ${modulusLength} bits and the exponent ${publicExponent}`);
      }
      return `RSA ${modulusLength}`;
    }
    default:
      throw unusable(
        `it is a key for ${asymmetricKeyType ?? 'nothing known'}; use ECDSA (P-256, P-384, P-521), RSA or Ed25519`,
      );
  }
}

function unusable(reason: string, cause?: unknown): GantryError {
  return new GantryError('bad-key', `not a usable public key: ${reason}`, { cause });
}
