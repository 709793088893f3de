import { GantryError } from '../error.ts';
import type { ImageRecord } from '../image/image-record.ts';
import type { Provenance, VerifiedProvenance } from '../image/provenance.ts';
import { type TrustDirectories, trustedKeyFor } from './keystore.ts';
import { shellWord } from './printable.ts';

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
      `${name}: the key that signed it, ${provenance.fingerprint}, is not trusted for it any more; to trust it again run: ${trustAgain(provenance, name)}`,
    );
  }
  await requireAuthority(provenance, name, directories);
  if (key.stamp() === provenance.keyStamp) return;
  const bytes = key.bytes();
  const { createHash } = await import('node:crypto');
  if (createHash('sha256').update(bytes).digest('hex') === provenance.keyDigest) return;
  const { requireStillStanding } = await import('./still-standing.ts');
  await requireStillStanding(key, bytes, provenance, name);
}

/** Asks so about each of the images. */
export async function recheckImages(
  images: readonly ImageRecord[],
  directories: TrustDirectories,
): Promise<void> {
  for (const { name, provenance } of images) await recheckProvenance(provenance, name, directories);
}

/** An identity is worth as much as the authority that certified it: that may have been taken away, too. */
async function requireAuthority(
  provenance: VerifiedProvenance,
  name: string,
  directories: TrustDirectories,
): Promise<void> {
  if (provenance.kind !== 'sigstore-identity' || provenance.issuedBy === undefined) return;
  const { namesAuthority } = await import('./trusted-roots.ts');
  if (namesAuthority(directories, provenance.issuedBy)) return;
  throw new GantryError(
    'untrusted',
    `${name}: the authority that certified ${shellWord(provenance.identity)}, which signed it, is in no trusted root any more; to trust it again run: gantry trust --trusted-root FILE`,
  );
}

/** Keys of OpenPGP can be discovered; an identity is written out; the others have to be at hand. */
function trustAgain(provenance: VerifiedProvenance, name: string): string {
  const command = `gantry trust --prefix ${name}`;
  switch (provenance.kind) {
    case 'openpgp':
      return command;
    case 'sigstore-key':
    case 'x509':
      return `${command} KEY-FILE`;
    case 'sigstore-identity':
      return `${command} --identity ${shellWord(provenance.identity)} --issuer ${shellWord(provenance.issuer)}`;
  }
}
