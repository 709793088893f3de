import { GantryError } from '../error.ts';
import type { Provenance } from '../image/provenance.ts';
import { type TrustDirectories, trustedKeyFor } from './keystore.ts';

/**
 * Asks again, when a pod is prepared, whether the key that vouched for an image is still trusted
 * for its name. A key file that was not touched since, or holds the very bytes that were believed
 * then, is believed now, without any OpenPGP (or, in the first case, cryptography) being loaded; one
 * that changed is read, and must still stand behind the signature.
 *
 * @throws GantryError `untrusted`, `permission` or `bad-key`.
 */
export async function recheckProvenance(
  provenance: Provenance,
  name: string,
  directories: TrustDirectories,
): Promise<void> {
  if (provenance.kind === 'unverified') {
    throw new GantryError(
      'untrusted',
      `${name}: it was stored without a verified signature (${provenance.reason}); fetch it again with its signature, or allow it with --insecure-options=image`,
    );
  }
  const key = trustedKeyFor(directories, name, provenance.fingerprint);
  if (key === undefined) {
    throw new GantryError(
      'untrusted',
      `${name}: the key that signed it, ${provenance.fingerprint}, is not trusted for it any more; to trust it again run: gantry trust --prefix ${name}`,
    );
  }
  if (key.stamp() === provenance.keyStamp) return;
  const bytes = key.bytes();
  const { createHash } = await import('node:crypto');
  if (createHash('sha256').update(bytes).digest('hex') === provenance.keyDigest) return;
  const { requireStillStanding } = await import('./key-standing.ts');
  await requireStillStanding(key, bytes, provenance, name);
}
