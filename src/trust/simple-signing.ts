import { readSignatureFile } from './detached-signature.ts';
import type { SimpleSigningSignature } from './manifest-signature.ts';
import { judgeSignatures } from './openpgp-verification.ts';
import { type CheckContext, type CheckOutcome, signedPart } from './signature-check.ts';
import { openSignedMessage } from './signed-message.ts';
import { requireSignedImage } from './signed-payload.ts';
import { keysOfKind } from './trusted-key-kind.ts';

/**
 * Checks an OpenPGP simple-signing signature, as podman, skopeo and Red Hat's lookaside stores have them
 * (containers/image, docs/containers-signature.5.md): a signed message whose content is the payload. Its
 * signatures are held to the same rules as a detached one.
 */
export async function verifySimpleSigning(
  signature: SimpleSigningSignature,
  context: CheckContext,
): Promise<CheckOutcome> {
  const { content, signatures } = openSignedMessage(signature.bytes);
  const { directories, name, now } = context;
  const keys = keysOfKind(context.keys, 'openpgp');
  const file = await readSignatureFile(signatures);
  const verdict = await judgeSignatures(file, content, { directories, keys, name, now });
  if ('faults' in verdict) return verdict;
  const signed = requireSignedImage(content, context);
  return { provenance: { ...verdict.provenance, ...signedPart(signature, signed) } };
}
