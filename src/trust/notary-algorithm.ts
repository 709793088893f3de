import { constants, type KeyObject, verify } from 'node:crypto';

/** The digest each signature algorithm goes with. */
const DIGESTS: Readonly<Record<string, { name: string; bytes: number }>> = {
  '256': { name: 'sha256', bytes: 32 },
  '384': { name: 'sha384', bytes: 48 },
  '512': { name: 'sha512', bytes: 64 },
};

const RSA_ALGORITHMS: ReadonlyMap<number | undefined, string> = new Map([
  [2048, 'PS256'],
  [3072, 'PS384'],
  [4096, 'PS512'],
]);

const CURVE_ALGORITHMS: ReadonlyMap<string | undefined, string> = new Map([
  ['prime256v1', 'ES256'],
  ['secp384r1', 'ES384'],
  ['secp521r1', 'ES512'],
]);

/**
 * The one algorithm a key signs with, so that nobody chooses a weaker one for it
 * (notaryproject/specifications, signature-specification.md, "Algorithm Selection"). Undefined for a key
 * that may not sign.
 */
export function algorithmOf({
  asymmetricKeyType,
  asymmetricKeyDetails,
}: KeyObject): string | undefined {
  switch (asymmetricKeyType) {
    case 'rsa':
      // With the exponent 1 every number is its own signature.
      if ((asymmetricKeyDetails?.publicExponent ?? 0n) < 3n) return undefined;
      return RSA_ALGORITHMS.get(asymmetricKeyDetails?.modulusLength);
    case 'ec':
      return CURVE_ALGORITHMS.get(asymmetricKeyDetails?.namedCurve);
    default:
      return undefined;
  }
}

/** Verifies a signature as JWS and COSE write them alike: PSS with a salt of the digest's length, r and s. */
export function verifySignature(
  algorithm: string,
  key: KeyObject,
  data: Uint8Array,
  signature: Uint8Array,
): boolean {
  const digest = DIGESTS[algorithm.slice(2)];
  if (digest === undefined) return false;
  const padding = algorithm.startsWith('PS')
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: digest.bytes }
    : { dsaEncoding: 'ieee-p1363' as const };
  return verify(digest.name, data, { key, ...padding }, signature);
}
