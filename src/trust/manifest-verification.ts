import { GantryError } from '../error.ts';
import type { VerifiedProvenance } from '../image/provenance.ts';
import { ASK_THE_SIGNER, type Fault, refusal } from './fault.ts';
import { type TrustDirectories, trustedKeysFor } from './keystore.ts';
import type {
  ManifestSignature,
  SignatureCandidate,
  SignedIdentityPolicy,
} from './manifest-signature.ts';
import { printableReason } from './printable.ts';
import type { CheckContext, CheckOutcome } from './signature-check.ts';
import { loadTrustedKey } from './trusted-key-kind.ts';

/** An OCI image whose signatures were found, and what it was asked for as. */
export interface ManifestVerificationRequest {
  readonly directories: TrustDirectories;
  /** `host[:port]/path`. */
  readonly name: string;
  /** As asked for; none where the image was asked for by digest alone. */
  readonly tag?: string | undefined;
  /** The image's manifest and, where it was chosen from one, the index. */
  readonly candidates: readonly SignatureCandidate[];
  readonly signatures: readonly ManifestSignature[];
  readonly identity: SignedIdentityPolicy;
  /** The time to judge by; the moment of the verdict where none is given. */
  readonly now?: Date | undefined;
}

/** Who vouched, and the signature they did it with, to be kept. */
export interface ManifestVerdict {
  readonly provenance: VerifiedProvenance;
  readonly signature: ManifestSignature;
}

/** A repository may hold any number of signatures, and each costs the time to refuse it. */
const MAX_SIGNATURES = 64;

/**
 * The verdict over an OCI image: the first signature that holds, by a key that is trusted for its name.
 *
 * @throws GantryError `untrusted` when no key that may vouch for the name did, or there is no signature;
 *   `bad-signature` when one of them does not hold and none does; `permission` or `bad-key` for a key
 *   store in disorder.
 */
export async function verifyManifest(
  request: ManifestVerificationRequest,
): Promise<ManifestVerdict> {
  const { signatures, name } = request;
  if (signatures.length === 0) throw unsigned(request);
  const context = await checkContext(request);
  const faults: Fault[] = [];
  for (const signature of signatures.slice(0, MAX_SIGNATURES)) {
    const outcome = await check(signature, context);
    if ('provenance' in outcome) return { provenance: outcome.provenance, signature };
    faults.push(...outcome.faults);
  }
  throw refusal(name, faults);
}

async function checkContext(request: ManifestVerificationRequest): Promise<CheckContext> {
  const { directories, name, tag, candidates, identity } = request;
  const keys = await Promise.all(trustedKeysFor(directories, name).map(loadTrustedKey));
  return { directories, keys, candidates, name, tag, identity, now: request.now ?? new Date() };
}

/** One signature's outcome. What is wrong with one must not keep another from being looked at. */
async function check(signature: ManifestSignature, context: CheckContext): Promise<CheckOutcome> {
  try {
    return await checkKind(signature, context);
  } catch (error) {
    if (isDisorder(error)) throw error;
    const reason = error instanceof GantryError ? error.message : printableReason(error);
    const code =
      error instanceof GantryError && error.code === 'untrusted' ? error.code : 'bad-signature';
    return { faults: [{ code, reason, remedy: ASK_THE_SIGNER }] };
  }
}

/** Each kind's check is loaded when there is one of it: most images have one kind, and libraries are large. */
async function checkKind(
  signature: ManifestSignature,
  context: CheckContext,
): Promise<CheckOutcome> {
  switch (signature.kind) {
    case 'simple-signing': {
      const { verifySimpleSigning } = await import('./simple-signing.ts');
      return await verifySimpleSigning(signature, context);
    }
    case 'notation': {
      const { verifyNotation } = await import('./notary.ts');
      return await verifyNotation(signature, context);
    }
    case 'cosign': {
      if (signature.certificate !== undefined) return await checkIdentity(signature, context);
      const { verifyCosignByKey } = await import('./sigstore-key-verification.ts');
      return await verifyCosignByKey(signature, context);
    }
    case 'bundle': {
      const { hasCertificate, readBundle } = await import('./sigstore-bundle.ts');
      if (hasCertificate(readBundle(signature.bytes)))
        return await checkIdentity(signature, context);
      const { verifyBundleByKey } = await import('./sigstore-key-verification.ts');
      return await verifyBundleByKey(signature, context);
    }
  }
}

async function checkIdentity(
  signature: Extract<ManifestSignature, { kind: 'cosign' | 'bundle' }>,
  context: CheckContext,
): Promise<CheckOutcome> {
  const { verifyIdentitySignature } = await import('./sigstore-identity.ts');
  return await verifyIdentitySignature(signature, context);
}

/** Of the key store, not of a signature: the operator has to see to it. */
function isDisorder(error: unknown): boolean {
  return error instanceof GantryError && (error.code === 'permission' || error.code === 'bad-key');
}

function unsigned({ name, tag, candidates }: ManifestVerificationRequest): GantryError {
  const digests = candidates.map(({ what, digest }) => `${what} ${digest.algorithm}:${digest.hex}`);
  const shown = tag === undefined ? name : `${name}:${tag}`;
  return new GantryError(
    'untrusted',
    `${shown}: it has no signature: no sigstore signature or bundle, OpenPGP simple signing or Notary Project signature was found for its ${digests.join(' or ')}; sign it (gantry image sign, cosign sign), or allow it unsigned with --insecure-options=image`,
  );
}
