import { resolve } from 'node:path';
import type { VerifiedProvenance, Vouched } from '../image/provenance.ts';
import type { Fault } from './fault.ts';
import type { TrustDirectories } from './keystore.ts';
import type {
  ManifestSignature,
  SignatureCandidate,
  SignedIdentityPolicy,
} from './manifest-signature.ts';
import type { SignedImage } from './signed-payload.ts';
import type { LoadedTrustedKey } from './trusted-key-kind.ts';

/** All a signature is held against. */
export interface CheckContext {
  readonly directories: TrustDirectories;
  /** Every key trusted for the name, of whatever kind. */
  readonly keys: readonly LoadedTrustedKey[];
  /** The documents of which one must be signed; their digests were computed from their bytes. */
  readonly candidates: readonly SignatureCandidate[];
  /** `host[:port]/path`. */
  readonly name: string;
  /** As asked for; undefined where the image was asked for by digest alone. */
  readonly tag?: string | undefined;
  readonly identity: SignedIdentityPolicy;
  readonly now: Date;
}

/**
 * A yes, or everything that speaks against one. What a check throws counts as a fault of its signature, too:
 * another one beside it may still hold.
 */
export type CheckOutcome =
  | { readonly provenance: VerifiedProvenance }
  | { readonly faults: readonly Fault[] };

/** What the record keeps of every yes, whatever kind of key said it. */
export function vouchedBy(
  key: LoadedTrustedKey,
  signature: Pick<ManifestSignature, 'kind'>,
  image: SignedImage,
  { name, now }: CheckContext,
): Vouched {
  return {
    fingerprint: key.trusted.fingerprint,
    verifiedAt: now.toISOString(),
    name,
    rule: key.trusted.rule,
    keyPath: resolve(key.trusted.path),
    keyDigest: key.digest,
    keyStamp: key.stamp,
    ...signedPart(signature, image),
  };
}

/** What the record keeps of the signature itself: its kind, and what it is over and about. */
export function signedPart(
  { kind }: Pick<ManifestSignature, 'kind'>,
  { candidate, signedReference }: SignedImage,
): Pick<Vouched, 'signature' | 'signed' | 'signedReference'> {
  return {
    signature: kind,
    signed: { what: candidate.what, digest: candidate.digest },
    ...(signedReference === undefined ? {} : { signedReference }),
  };
}
