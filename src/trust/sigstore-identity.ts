import { createHash } from 'node:crypto';
import type { Bundle } from '@sigstore/bundle';
import { HashAlgorithm } from '@sigstore/protobuf-specs';
import { GantryError } from '../error.ts';
import { quote } from '../image/quotation.ts';
import { cosignBundle } from './cosign-annotations.ts';
import { ASK_THE_SIGNER, type Fault } from './fault.ts';
import { matchesSubject } from './keyless-identity.ts';
import type { BundleSignature, CosignSignature, ManifestSignature } from './manifest-signature.ts';
import { printable, shellWord } from './printable.ts';
import { type CheckContext, type CheckOutcome, vouchedBy } from './signature-check.ts';
import { requireCandidate, requireSignedImage, type SignedImage } from './signed-payload.ts';
import { requireSignedStatement, STATEMENT_PAYLOAD_TYPE } from './signed-statement.ts';
import { readBundle, signingCertificate } from './sigstore-bundle.ts';
import {
  type CertifiedIdentity,
  certifiedIdentity,
  requireCodeSigning,
} from './sigstore-certificate.ts';
import { loadTrustedRoots, type SigstoreRoot } from './sigstore-material.ts';
import { issuerUnder, type ProvenTime, requireProof } from './sigstore-proof.ts';
import { type KeyOf, keysOfKind } from './trusted-key-kind.ts';

/** A signature that comes with a certificate for an identity. */
export type IdentitySignature = ManifestSignature & (CosignSignature | BundleSignature);

/** What a signature is over, and how to read it once the signature holds. */
interface SignedThing {
  /** The signed bytes; undefined where the bundle holds them itself. */
  readonly artifact: Uint8Array | undefined;
  /** @throws GantryError `bad-signature` where they are not about the image that was asked for. */
  image(): SignedImage;
}

/**
 * Checks a keyless signature: its certificate is for an identity that is trusted for the name, of an
 * installed sigstore deployment, and was valid when the signature is proven to have been made; what is
 * signed is the image that was asked for. Whom the certificate is for is asked first, so that of what
 * strangers sign nothing is computed.
 *
 * @throws GantryError `bad-signature`, `bad-key`, `permission`
 */
export async function verifyIdentitySignature(
  signature: IdentitySignature,
  context: CheckContext,
): Promise<CheckOutcome> {
  const bundle =
    signature.kind === 'cosign' ? cosignBundle(signature) : readBundle(signature.bytes);
  const certificate = signingCertificate(bundle);
  const signer = certifiedIdentity(certificate);
  const key = trustedIdentity(signer, context);
  if (key === undefined) return { faults: [strangerFault(signer, context)] };
  requireCodeSigning(certificate);
  const roots = loadTrustedRoots(context.directories);
  const issuing = roots.filter((root) => issuerUnder(certificate, root) !== undefined);
  if (issuing.length === 0) return { faults: [rootFault(signer, roots)] };
  const signed = signedThing(signature, bundle, context);
  const time = provenUnderAny(issuing, (root) => ({
    ...requireProof(bundle, certificate, signed.artifact, root),
    issuedBy: issuerUnder(certificate, root),
  }));
  if ('faults' in time) return time;
  return {
    provenance: {
      kind: 'sigstore-identity',
      ...vouchedBy(key, signature, signed.image(), context),
      ...signer,
      ...(time.issuedBy === undefined ? {} : { issuedBy: time.issuedBy }),
      signedAt: time.signedAt.toISOString(),
      ...(time.logIndex === undefined ? {} : { logIndex: time.logIndex }),
    },
  };
}

function trustedIdentity(
  { identity, issuer }: CertifiedIdentity,
  { keys }: CheckContext,
): KeyOf<'sigstore-identity'> | undefined {
  return keysOfKind(keys, 'sigstore-identity').find(
    (key) => key.identity.issuer === issuer && matchesSubject(key.identity.subject, identity),
  );
}

/** What the three ways of signing an image without a key are over. */
function signedThing(
  signature: IdentitySignature,
  { content }: Bundle,
  context: CheckContext,
): SignedThing {
  if (signature.kind === 'cosign') {
    const { payload } = signature;
    return { artifact: payload, image: () => requireSignedImage(payload, context) };
  }
  if (content.$case === 'messageSignature') {
    const candidate = messageCandidate(content.messageSignature.messageDigest, context);
    return { artifact: candidate.bytes, image: () => ({ candidate }) };
  }
  const { payload, payloadType } = content.dsseEnvelope;
  if (payloadType !== STATEMENT_PAYLOAD_TYPE) {
    throw refused(`what is signed is of the type ${quote(payloadType)}, not an in-toto statement`);
  }
  return { artifact: undefined, image: () => requireSignedStatement(payload, context) };
}

/** The document a plain signature is over: it names no more than its digest. */
function messageCandidate(
  { algorithm, digest }: { algorithm: HashAlgorithm; digest: Uint8Array },
  context: CheckContext,
): SignedImage['candidate'] {
  if (algorithm !== HashAlgorithm.SHA2_256)
    throw refused('it is over a digest that is not SHA-256');
  const hex = Buffer.from(digest).toString('hex');
  const bySha256 = context.candidates.find(
    ({ bytes }) => createHash('sha256').update(bytes).digest('hex') === hex,
  );
  return bySha256 ?? requireCandidate({ algorithm: 'sha256', hex }, context);
}

/** The first deployment's yes; where several have the same authority, all their objections. */
function provenUnderAny<Proof extends ProvenTime>(
  roots: readonly SigstoreRoot[],
  prove: (root: SigstoreRoot) => Proof,
): Proof | { faults: Fault[] } {
  const faults: Fault[] = [];
  for (const root of roots) {
    try {
      return prove(root);
    } catch (error) {
      if (!(error instanceof GantryError)) throw error;
      faults.push({ code: 'bad-signature', reason: error.message, remedy: ASK_THE_SIGNER });
    }
  }
  return { faults };
}

function strangerFault(signer: CertifiedIdentity, { keys, name }: CheckContext): Fault {
  const trusted = keysOfKind(keys, 'sigstore-identity').map(({ identity }) =>
    described({ identity: identity.subject.text, issuer: identity.issuer }),
  );
  const instead =
    trusted.length === 0
      ? `no identity is trusted for ${name}`
      : `trusted for ${name} is only ${trusted.join(', ')}`;
  return {
    code: 'untrusted',
    reason: `its certificate is for ${described(signer)}, and ${instead}`,
    remedy: `if that is who should sign it: gantry trust --prefix ${name} --identity ${shellWord(signer.identity)} --issuer ${shellWord(signer.issuer)}`,
  };
}

function rootFault(signer: CertifiedIdentity, roots: readonly SigstoreRoot[]): Fault {
  const known =
    roots.length === 0
      ? 'no sigstore trusted root is installed'
      : `no authority of ${roots.map(({ path }) => path).join(', ')} issued it`;
  return {
    code: 'untrusted',
    reason: `its certificate claims to be for ${described(signer)}, and ${known}`,
    remedy:
      'get the trusted_root.json of the sigstore deployment it was signed with, and trust that: gantry trust --trusted-root FILE',
  };
}

function described({ identity, issuer }: CertifiedIdentity): string {
  return `${quote(printable(identity))} (issuer ${printable(issuer)})`;
}

function refused(reason: string): GantryError {
  return new GantryError('bad-signature', reason);
}
