import { constants, sign } from 'node:crypto';
import { GantryError } from '../error.ts';
import { type Digest, formatDigest } from '../image/digest.ts';
import { parseDocument } from '../image/document.ts';
import { decodeSignatureText, isSignedBy } from './key-signature.ts';
import type { OpenPgpSigningKey } from './openpgp-signing-key.ts';
import { STATEMENT_PAYLOAD_TYPE } from './signed-statement.ts';
import type { SigstoreSigningKey } from './signing-key.ts';

/** The media type of the bundles that are written, and the artifact type they are found by. */
export const BUNDLE_MEDIA_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';
/** The predicate of a statement that says no more than that the image is signed. */
export const SIGN_PREDICATE = 'https://sigstore.dev/cosign/sign/v1';

/** A classic cosign signature: a payload, and the signature over it in base64. */
export interface ClassicSignature {
  readonly payload: Uint8Array;
  readonly signature: string;
}

/**
 * Signs an image as cosign did before version 3 (sigstore/cosign, specs/SIGNATURE_SPEC.md): a
 * simple-signing payload that names the repository and the manifest's digest.
 *
 * @param name `host[:port]/path`, without a tag: the signature is for whatever the digest is called there.
 */
export function signClassic(
  key: SigstoreSigningKey,
  name: string,
  digest: Digest,
): ClassicSignature {
  const payload = payloadOf('cosign container image signature', name, digest, null);
  return { payload, signature: signBytes(key, payload).toString('base64') };
}

/**
 * Signs an image as cosign 3 does: an in-toto statement whose subject is the manifest's digest, in a
 * DSSE envelope, in a sigstore bundle of version 0.3 that hints at the key (sigstore/protobuf-specs,
 * sigstore_bundle.proto). No log is asked to witness it: who trusts the key needs none.
 */
export function signBundle(key: SigstoreSigningKey, digest: Digest): Uint8Array {
  const statement = statementOf(digest);
  const bundle = {
    mediaType: BUNDLE_MEDIA_TYPE,
    verificationMaterial: { publicKey: { hint: keyHint(key) } },
    dsseEnvelope: {
      payload: statement.toString('base64'),
      payloadType: STATEMENT_PAYLOAD_TYPE,
      signatures: [{ sig: signBytes(key, encodedForSigning(statement)).toString('base64') }],
    },
  };
  return Buffer.from(JSON.stringify(bundle));
}

/** Whether a bundle is what `signBundle` would make with the key: its statement, and a signature that holds. */
export function isBundleBy(
  { publicKey }: SigstoreSigningKey,
  digest: Digest,
  bundle: Uint8Array,
): boolean {
  const statement = statementOf(digest);
  try {
    const envelope = parseDocument(bundle, { what: 'bundle', code: 'bad-signature' }).member(
      'dsseEnvelope',
    );
    if (envelope.member('payload').string() !== statement.toString('base64')) return false;
    const [first] = envelope.member('signatures').list();
    const signature = decodeSignatureText(first?.member('sig').string() ?? '');
    return (
      signature !== undefined && isSignedBy(publicKey, encodedForSigning(statement), signature)
    );
  } catch {
    // Somebody else's, whatever it is.
    return false;
  }
}

/**
 * Signs an image as podman and skopeo do with OpenPGP (containers/image,
 * docs/containers-signature.5.md): a signed message whose content is the payload.
 *
 * @param reference with a tag or a digest, which podman's policy wants by default.
 */
export async function signSimple(
  key: OpenPgpSigningKey,
  reference: string,
  digest: Digest,
  now: Date = new Date(),
): Promise<Uint8Array> {
  const timestamp = Math.floor(now.getTime() / 1000);
  const optional = { creator: 'gantry', timestamp };
  const payload = payloadOf('atomic container signature', reference, digest, optional);
  const { signMessage } = await import('./openpgp-signing.ts');
  return await signMessage(payload, key);
}

/** How a bundle says which key made it: SHA-256 of the public key, in base64, as cosign has it. */
function keyHint({ fingerprint }: SigstoreSigningKey): string {
  return Buffer.from(fingerprint, 'hex').toString('base64');
}

/** The same bytes for the same digest, and as cosign writes them. */
function statementOf(digest: Digest): Buffer {
  const statement = {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ digest: { [digest.algorithm]: digest.hex }, annotations: {} }],
    predicateType: SIGN_PREDICATE,
    predicate: {},
  };
  return Buffer.from(JSON.stringify(statement));
}

/** What is signed of an envelope (secure-systems-lab/dsse, protocol.md, "PAE"). */
function encodedForSigning(statement: Buffer): Buffer {
  const head = `DSSEv1 ${STATEMENT_PAYLOAD_TYPE.length} ${STATEMENT_PAYLOAD_TYPE} ${statement.length} `;
  return Buffer.concat([Buffer.from(head), statement]);
}

function payloadOf(
  type: string,
  reference: string,
  digest: Digest,
  optional: Record<string, unknown> | null,
): Uint8Array {
  const image = { 'docker-manifest-digest': formatDigest(digest) };
  const critical = { identity: { 'docker-reference': reference }, image, type };
  return Buffer.from(JSON.stringify({ critical, optional }));
}

/**
 * ECDSA and RSA (PKCS #1 v1.5) with SHA-256 whatever the size of the key, and Ed25519 not prehashed: that
 * is what every reader of `--key` takes. cosign 3.1 itself signs with SHA-384, SHA-512 and Ed25519ph
 * where the key suggests it, and then refuses its own signatures.
 */
function signBytes({ key, publicKey, algorithm }: SigstoreSigningKey, data: Uint8Array): Buffer {
  const digest = key.asymmetricKeyType === 'ed25519' ? null : 'sha256';
  const how = key.asymmetricKeyType === 'rsa' ? { padding: constants.RSA_PKCS1_PADDING } : {};
  const signature = sign(digest, data, { key, dsaEncoding: 'der', ...how });
  // A signature gone wrong in the making gives an RSA key away (Boneh, DeMillo, Lipton 1997).
  if (isSignedBy(publicKey, data, signature)) return signature;
  throw new GantryError(
    'internal',
    `the signature just made with the ${algorithm} key does not hold`,
  );
}
