import { createHash } from 'node:crypto';
import { GantryError } from '../../../src/error.ts';
import { MEDIA_TYPES } from '../../../src/image/oci-manifest.ts';
import type { VerifiedProvenance } from '../../../src/image/provenance.ts';
import type { SignatureCandidate } from '../../../src/trust/manifest-signature.ts';
import type { CheckContext, CheckOutcome } from '../../../src/trust/signature-check.ts';
import type { KeyMaterial, LoadedTrustedKey } from '../../../src/trust/trusted-key-kind.ts';

/** The image the tests of signature kinds ask for. */
export const imageName = 'registry.example.com/team/app';
export const imageDocument = Buffer.from('{"schemaVersion":2,"layers":[]}');

export const imageCandidate: SignatureCandidate = {
  what: 'manifest',
  digest: { algorithm: 'sha256', hex: createHash('sha256').update(imageDocument).digest('hex') },
  bytes: imageDocument,
  mediaType: MEDIA_TYPES.manifest,
};

/** A key as if it lay in the store, trusted for everything of `registry.example.com`. */
export function trustedFor(material: KeyMaterial): LoadedTrustedKey {
  const bytes = Buffer.from('the key file');
  const fingerprint = 'ab'.repeat(32);
  return {
    ...material,
    bytes,
    digest: createHash('sha256').update(bytes).digest('hex'),
    stamp: '1:2:3:4',
    trusted: {
      fingerprint,
      path: `/etc/gantry/trustedkeys/prefix.d/registry.example.com/${fingerprint}`,
      rule: { scope: 'prefix', prefix: 'registry.example.com' },
      bytes: () => bytes,
      stamp: () => '1:2:3:4',
    },
  };
}

/** A question about the image; what a test cares for is given. */
export function checkContext(given: Partial<CheckContext>): CheckContext {
  return {
    directories: { system: '/nonexistent/system', local: '/nonexistent/local' },
    keys: [],
    candidates: [imageCandidate],
    name: imageName,
    tag: '1.0',
    identity: 'tag',
    now: new Date(),
    ...given,
  };
}

/** Why a signature was refused, in one line; fails the test when it was not. */
export async function refusalOf(check: Promise<CheckOutcome>): Promise<string> {
  try {
    const outcome = await check;
    if ('faults' in outcome) return outcome.faults.map(({ reason }) => reason).join(', ');
  } catch (error) {
    if (error instanceof GantryError) return error.message;
    throw error;
  }
  throw new Error('the signature was accepted');
}

/** Who vouched; fails the test, saying why, when the signature was refused. */
export async function provenanceOf(check: Promise<CheckOutcome>): Promise<VerifiedProvenance> {
  const outcome = await check;
  if ('provenance' in outcome) return outcome.provenance;
  throw new Error(`refused: ${outcome.faults.map(({ reason }) => reason).join(', ')}`);
}
