import { type AlgorithmInfo, type Config, config, enums } from 'openpgp';

/** RSA moduli below this are refused; NIST SP 800-131A has disallowed them since 2014. */
const MIN_RSA_BITS = 2048;

/**
 * What Gantry asks of OpenPGP data, handed to every call rather than set globally.
 *
 * SHA-1 is refused in signatures over images, where whoever writes the image could prepare a
 * collision, but not in a key's own self-signatures: there only the owner chooses what is signed,
 * and keys from rkt's days carry them.
 */
export const POLICY: Config = {
  ...config,
  minRSABits: MIN_RSA_BITS,
  rejectHashAlgorithms: new Set([enums.hash.md5, enums.hash.ripemd]),
  rejectMessageHashAlgorithms: new Set([enums.hash.md5, enums.hash.ripemd, enums.hash.sha1]),
  rejectPublicKeyAlgorithms: new Set([enums.publicKey.elgamal, enums.publicKey.dsa]),
  knownNotations: [],
};

/**
 * For revocations alone: they are believed however weakly they are signed, or else a key revoked
 * with an old digest would come back to life.
 */
export const REVOCATION_POLICY: Config = {
  ...POLICY,
  minRSABits: 0,
  rejectHashAlgorithms: new Set(),
  rejectPublicKeyAlgorithms: new Set(),
};

/** Digests an image signature may use (RFC 9580 section 9.5), by the names node:crypto has. */
export const IMAGE_DIGESTS: ReadonlyMap<number, string> = new Map([
  [enums.hash.sha224, 'sha224'],
  [enums.hash.sha256, 'sha256'],
  [enums.hash.sha384, 'sha384'],
  [enums.hash.sha512, 'sha512'],
  [enums.hash.sha3_256, 'sha3-256'],
  [enums.hash.sha3_512, 'sha3-512'],
]);

const WEAK_DIGESTS: ReadonlyMap<number, string> = new Map([
  [enums.hash.md5, 'MD5'],
  [enums.hash.sha1, 'SHA-1'],
  [enums.hash.ripemd, 'RIPEMD-160'],
]);

/** Why an image signature must not use this digest, or undefined where it may. */
export function digestFault(algorithm: number | null): string | undefined {
  if (algorithm !== null && IMAGE_DIGESTS.has(algorithm)) return undefined;
  const weak = WEAK_DIGESTS.get(algorithm ?? 0);
  return weak === undefined
    ? `it uses the unknown digest algorithm ${algorithm}`
    : `it uses the digest ${weak}, which is broken`;
}

/** Why a key of this algorithm must not vouch for anything, or undefined where it may. */
export function algorithmFault(info: AlgorithmInfo): string | undefined {
  if (info.algorithm.startsWith('rsa') && (info.bits ?? 0) < MIN_RSA_BITS) {
    return `is RSA with ${info.bits} bits, and fewer than ${MIN_RSA_BITS} are too weak`;
  }
  if (info.algorithm === 'dsa' || info.algorithm === 'elgamal') {
    return `is a ${info.algorithm === 'dsa' ? 'DSA' : 'Elgamal'} key, and those are too weak`;
  }
  return undefined;
}

/** An algorithm as the review prompt names it: `RSA 4096`, `Ed25519`, `ECDSA nistP256`. */
export function algorithmName(info: AlgorithmInfo): string {
  if (info.algorithm.startsWith('rsa')) return `RSA ${info.bits}`;
  if (info.algorithm.startsWith('ed25519') || info.curve === 'ed25519Legacy') return 'Ed25519';
  const name = info.algorithm === 'ecdsa' ? 'ECDSA' : info.algorithm;
  const size = info.curve ?? info.bits;
  return size === undefined ? name : `${name} ${size}`;
}
