import { createHash } from 'node:crypto';
import type { SignatureCandidate } from '../../../src/trust/manifest-signature.ts';

/** A document that can be signed. */
export function candidate(what: 'index' | 'manifest', text: string): SignatureCandidate {
  const bytes = Buffer.from(text);
  const hex = createHash('sha256').update(bytes).digest('hex');
  return { what, digest: { algorithm: 'sha256', hex }, bytes, mediaType: 'application/json' };
}

/** A simple-signing payload as cosign writes it. */
export function payloadFor(reference: string, { digest }: SignatureCandidate): Buffer {
  const critical = {
    identity: { 'docker-reference': reference },
    image: { 'docker-manifest-digest': `${digest.algorithm}:${digest.hex}` },
    type: 'cosign container image signature',
  };
  return Buffer.from(JSON.stringify({ critical, optional: null }));
}
