import { GantryError } from '../error.ts';
import type { VerifiedProvenance } from '../image/provenance.ts';
import type { TrustedKey } from './keystore.ts';
import { parseTrustedKey } from './trusted-key-kind.ts';

/**
 * Holds a key file that changed since an image was verified against what the record says of that
 * verification. The file's name is the key's fingerprint and what is in it has that fingerprint still, so
 * a sigstore key, an identity or an authority is the very same, only written otherwise. An OpenPGP key
 * can have been revoked, renewed or bereft of its subkeys under its fingerprint, and is judged anew.
 *
 * @throws GantryError `untrusted` or `bad-key`.
 */
export async function requireStillStanding(
  trusted: TrustedKey,
  bytes: Uint8Array,
  provenance: VerifiedProvenance,
  name: string,
): Promise<void> {
  const material = await parseTrustedKey(trusted, bytes);
  if (material.kind !== provenance.kind) {
    throw refused(name, provenance.fingerprint, `is of another kind, ${material.kind}, now`);
  }
  if (material.kind !== 'openpgp' || provenance.kind !== 'openpgp') return;
  const { standingSince } = await import('./key-standing.ts');
  const fault = await standingSince(material.key, provenance, trusted.path);
  if (fault !== undefined) throw refused(name, provenance.signingKeyId.toUpperCase(), fault);
}

function refused(name: string, key: string, fault: string): GantryError {
  return new GantryError(
    'untrusted',
    `${name}: the key that signed it, ${key}, ${fault}; fetch a version signed by another key, and trust that: gantry trust --prefix ${name}`,
  );
}
