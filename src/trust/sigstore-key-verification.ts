import { badSignature, type Fault } from './fault.ts';
import { decodeSignatureText, signingKey } from './key-signature.ts';
import { listTrustedKeys } from './keystore.ts';
import type { BundleSignature, CosignSignature } from './manifest-signature.ts';
import { type CheckContext, type CheckOutcome, vouchedBy } from './signature-check.ts';
import { requireSignedImage, type SignedImage } from './signed-payload.ts';
import { requireSignedStatement, STATEMENT_PAYLOAD_TYPE } from './signed-statement.ts';
import { type KeyOf, loadTrustedKey } from './trusted-key-kind.ts';

/** Signed bytes, the signature over them, and what they say once it holds. */
interface SignedBytes {
  readonly data: Uint8Array;
  readonly signature: Uint8Array;
  /** @throws GantryError `bad-signature` where they are not about the image that was asked for. */
  image(): SignedImage;
}

/**
 * Checks cosign's classic signature by a key (sigstore/cosign, specs/SIGNATURE_SPEC.md): the signature
 * over the payload's bytes by a trusted key first, then what the payload says.
 */
export async function verifyCosignByKey(
  signature: CosignSignature,
  context: CheckContext,
): Promise<CheckOutcome> {
  const bytes = decodeSignatureText(signature.signature);
  if (bytes === undefined) return { faults: [badSignature('its signature is not base64')] };
  const { payload } = signature;
  const image = () => requireSignedImage(payload, context);
  const found = await findSigner([{ data: payload, signature: bytes, image }], context);
  if ('faults' in found) return found;
  const entries =
    signature.bundle === undefined ? {} : await cosignEntries(signature, found.key, context);
  return yes(found, signature, entries, context);
}

/**
 * Checks a sigstore bundle by a key (sigstore/protobuf-specs, sigstore_bundle.proto; cosign 3 writes
 * them): an in-toto statement in a DSSE envelope, or a signature over the manifest itself. The hint for
 * the key in it is not looked at: it is the signer's word, and there are few trusted keys.
 */
export async function verifyBundleByKey(
  signature: BundleSignature,
  context: CheckContext,
): Promise<CheckOutcome> {
  const { readBundle } = await import('./sigstore-bundle.ts');
  const bundle = readBundle(signature.bytes);
  const { content } = bundle;
  if (content.$case === 'messageSignature') {
    const { signature: bytes } = content.messageSignature;
    const possible = context.candidates.map((candidate) => ({
      data: candidate.bytes,
      signature: bytes,
      image: () => ({ candidate }),
    }));
    const found = await findSigner(possible, context);
    if ('faults' in found) return found;
    const { requireTrueEntries } = await import('./sigstore-log.ts');
    const entries = requireTrueEntries(
      bundle,
      found.signed.data,
      found.key.key,
      context.directories,
    );
    return yes(found, signature, entries, context);
  }
  const envelope = openEnvelope(content.dsseEnvelope, context);
  if ('faults' in envelope) return envelope;
  const found = await findSigner([envelope], context);
  if ('faults' in found) return found;
  const { requireTrueEntries } = await import('./sigstore-log.ts');
  const entries = requireTrueEntries(bundle, undefined, found.key.key, context.directories);
  return yes(found, signature, entries, context);
}

/** What is signed of an envelope is its pre-authentication encoding (secure-systems-lab/dsse, protocol.md). */
function openEnvelope(
  envelope: {
    payload: Uint8Array;
    payloadType: string;
    signatures: readonly { sig: Uint8Array }[];
  },
  context: CheckContext,
): SignedBytes | { faults: Fault[] } {
  const { payload, payloadType, signatures } = envelope;
  const [first, second] = signatures;
  if (payloadType !== STATEMENT_PAYLOAD_TYPE || first === undefined || second !== undefined) {
    return {
      faults: [badSignature('its envelope does not hold one in-toto statement, signed once')],
    };
  }
  const head = `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${payload.length} `;
  return {
    data: Buffer.concat([Buffer.from(head), payload]),
    signature: first.sig,
    image: () => requireSignedStatement(payload, context),
  };
}

/** The first bytes that a trusted key signed, and that key. */
async function findSigner(
  possible: readonly SignedBytes[],
  context: CheckContext,
): Promise<Signer | { faults: Fault[] }> {
  for (const signed of possible) {
    const key = await signingKey(context.keys, signed.data, signed.signature);
    if (key !== undefined) return { signed, key };
  }
  return { faults: [await unknownKeyFault(possible, context)] };
}

interface Signer {
  readonly signed: SignedBytes;
  readonly key: KeyOf<'sigstore-key'>;
}

function yes(
  { signed, key }: Signer,
  signature: CosignSignature | BundleSignature,
  entries: { logIndex?: string; signedAt?: string },
  context: CheckContext,
): CheckOutcome {
  const vouched = vouchedBy(key, signature, signed.image(), context);
  return { provenance: { kind: 'sigstore-key', ...vouched, algorithm: key.algorithm, ...entries } };
}

async function cosignEntries(
  signature: CosignSignature,
  { key }: KeyOf<'sigstore-key'>,
  { directories }: CheckContext,
): Promise<{ logIndex?: string; signedAt?: string }> {
  const { cosignBundle } = await import('./cosign-annotations.ts');
  const { requireTrueEntries } = await import('./sigstore-log.ts');
  return requireTrueEntries(cosignBundle(signature), signature.payload, key, directories);
}

/**
 * Of a signature that no key trusted for the name made. Where one trusted for another name did, that is
 * said, since a prefix that was meant to cover both is the likely mistake.
 */
async function unknownKeyFault(
  possible: readonly SignedBytes[],
  { directories, keys, name }: CheckContext,
): Promise<Fault> {
  for (const { data, signature } of possible) {
    const everywhere = await readableKeys(directories);
    const other = (await signingKey(everywhere, data, signature))?.trusted;
    if (other?.rule.scope === 'prefix') {
      return {
        code: 'untrusted',
        reason: `the sigstore key that signed it, ${other.fingerprint}, is trusted for ${other.rule.prefix}, not for ${name}`,
        remedy: `to trust it for this name too run: gantry trust --prefix ${name} ${other.path}`,
      };
    }
  }
  const some = keys.some(({ kind }) => kind === 'sigstore-key');
  return {
    code: 'untrusted',
    reason: some
      ? `no sigstore key trusted for ${name} made this signature, or the image was changed after signing`
      : `it is signed with a sigstore key, and none is trusted for ${name}`,
    remedy: `to trust the key it was signed with run: gantry trust --prefix ${name} PUBLIC-KEY-FILE`,
  };
}

/** Every key there is; one that cannot be read is no help here, and no obstacle. */
async function readableKeys(directories: CheckContext['directories']) {
  try {
    return await Promise.all(listTrustedKeys(directories).map(loadTrustedKey));
  } catch {
    return [];
  }
}
