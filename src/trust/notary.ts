import { GantryError } from '../error.ts';
import { type DocumentKind, parseDocument } from '../image/document.ts';
import { readDescriptor } from '../image/oci-manifest.ts';
import { quote } from '../image/quotation.ts';
import type { Fault } from './fault.ts';
import type { ManifestSignature, NotationSignature } from './manifest-signature.ts';
import { algorithmOf } from './notary-algorithm.ts';
import { type ChainCertificate, subjectName } from './notary-certificate.ts';
import { anchorChain, readChain, requireSoundChain } from './notary-chain.ts';
import { malformed, type NotaryEnvelope, type SignedAttributes } from './notary-envelope.ts';
import { printableTime } from './printable.ts';
import { type CheckContext, type CheckOutcome, vouchedBy } from './signature-check.ts';
import { requireCandidate, type SignedImage } from './signed-payload.ts';
import { keysOfKind } from './trusted-key-kind.ts';

const payloadKind: DocumentKind = {
  what: 'Notary Project payload',
  code: 'bad-signature',
  maxBytes: 64 << 10,
};

/**
 * Checks a Notary Project signature (notaryproject/specifications, trust-store-trust-policy.md,
 * "Signature Verification"): authenticity, that its chain ends in an authority trusted for the name;
 * integrity; expiry; and that it is over the image. It names no repository: which names an authority's
 * signers may speak for is what the authority is trusted for.
 *
 * @throws GantryError `bad-signature`
 */
export async function verifyNotation(
  signature: ManifestSignature & NotationSignature,
  context: CheckContext,
): Promise<CheckOutcome> {
  const envelope = await readEnvelope(signature);
  const chain = readChain(envelope.certificates);
  const [signer] = chain;
  const anchored = anchorChain(chain, keysOfKind(context.keys, 'x509'));
  if (anchored === undefined) return { faults: [strangerFault(chain, context)] };
  requireSoundChain(anchored.chain, validityTimes(envelope.attributes, context));
  await requireSignature(envelope, signer);
  requireUnexpired(envelope.attributes, context);
  const signed = signedImage(envelope.payload, context);
  return {
    provenance: {
      kind: 'x509',
      ...vouchedBy(anchored.authority, signature, signed, context),
      signedAt: envelope.attributes.signingTime.toISOString(),
      subject: subjectName(signer.node),
      authority: subjectName(anchored.authority.certificate),
    },
  };
}

/** Each encoding has a library of its own, loaded when it is met. */
async function readEnvelope({ mediaType, bytes }: NotationSignature): Promise<NotaryEnvelope> {
  if (mediaType === 'application/cose') {
    const { readCoseEnvelope } = await import('./notary-cose.ts');
    return readCoseEnvelope(bytes);
  }
  const { readJwsEnvelope } = await import('./notary-jws.ts');
  return readJwsEnvelope(bytes);
}

/**
 * When a chain must be valid: now. The time in a signature is its signer's word, and no reason to believe
 * a certificate that has run out. A signing authority's "authentic" time is no better here: the
 * specification believes it only of authorities kept apart as such (signing-scheme.md, FAQ), or else
 * anyone an ordinary authority gave a certificate could write the time that suits. It can only take away.
 */
function validityTimes({ scheme, signingTime }: SignedAttributes, { now }: CheckContext): Date[] {
  return scheme === 'notary.x509.signingAuthority' ? [signingTime, now] : [now];
}

async function requireSignature(
  envelope: NotaryEnvelope,
  { node }: ChainCertificate,
): Promise<void> {
  const algorithm = algorithmOf(node.publicKey);
  if (algorithm === undefined) {
    throw malformed(`the key of ${subjectName(node)} is of a kind or size that may not sign`);
  }
  if (envelope.algorithm !== algorithm) {
    throw malformed(
      `it is made with ${quote(envelope.algorithm)}, and its key signs with ${algorithm}`,
    );
  }
  if (!(await envelope.verify(node.publicKey))) {
    throw new GantryError(
      'bad-signature',
      `the signature by ${subjectName(node)} does not match: it was changed after signing`,
    );
  }
}

/** signature-specification.md, "Expiry": from that very moment on. */
function requireUnexpired({ expiry }: SignedAttributes, { now }: CheckContext): void {
  if (expiry !== undefined && expiry <= now)
    throw malformed(`it expired at ${printableTime(expiry)}`);
}

/** signature-specification.md, "Payload": the descriptor of what is signed. */
function signedImage(payload: Uint8Array, context: CheckContext): SignedImage {
  const target = parseDocument(payload, payloadKind).member('targetArtifact');
  const { digest, size, mediaType } = readDescriptor(target);
  const candidate = requireCandidate(digest, context);
  if (candidate.bytes.length !== size) {
    throw target
      .member('size')
      .refuse(`is ${size}, and what it is for has ${candidate.bytes.length} bytes`);
  }
  if (candidate.mediaType !== mediaType) {
    throw target
      .member('mediaType')
      .refuse(`is ${quote(mediaType)}, and what it is for is ${quote(candidate.mediaType)}`);
  }
  return { candidate };
}

function strangerFault(chain: readonly ChainCertificate[], { keys, name }: CheckContext): Fault {
  const [signer, last] = [chain[0], chain.at(-1)].map((link) => link && subjectName(link.node));
  const trusted = keysOfKind(keys, 'x509').map(({ certificate }) => subjectName(certificate));
  const instead =
    trusted.length === 0
      ? `no authority is trusted for ${name}`
      : `trusted for ${name} is only ${trusted.join('; ')}`;
  return {
    code: 'untrusted',
    reason: `it claims to be signed by ${signer}, whose authority is ${last}, and ${instead}`,
    remedy: `if that authority may decide it: gantry trust --prefix ${name} CERTIFICATE.pem`,
  };
}
