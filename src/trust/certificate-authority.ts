import { createHash, X509Certificate } from 'node:crypto';
import { GantryError } from '../error.ts';
import { keyAlgorithm } from './sigstore-key.ts';

/**
 * Reads the certificate of an authority, the content of a PEM `CERTIFICATE`; or one that signed itself,
 * as notaryproject's trust stores may hold (trust-store-trust-policy.md, "Trust Store"). That it has run out is
 * no reason to refuse it here: what it vouched for while it was valid stands.
 *
 * @throws GantryError `bad-key` for what is no authority's, or too weak a one's.
 */
export function parseAuthority(der: Uint8Array): X509Certificate {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(der);
    keyAlgorithm(certificate.publicKey);
  } catch (cause) {
    throw unusable(cause instanceof GantryError ? cause.message : 'it cannot be read', cause);
  }
  if (!certificate.ca && !isSelfSigned(certificate)) {
    throw unusable(
      `${oneLineName(certificate.subject)} is neither an authority's (basicConstraints has no CA:TRUE) nor signed by itself: trust the authority that issued it`,
    );
  }
  return certificate;
}

/**
 * A certificate that is its own authority, and vouches for its own key alone. `checkIssued` would want
 * `keyCertSign` of it, which a signing certificate must not have: `notation certificate generate-test` makes such.
 */
function isSelfSigned(certificate: X509Certificate): boolean {
  return certificate.subject === certificate.issuer && certificate.verify(certificate.publicKey);
}

/** SHA-256 of the whole certificate, lower-case hex, as openssl and browsers show it. */
export function authorityFingerprint(certificate: X509Certificate): string {
  return createHash('sha256').update(certificate.raw).digest('hex');
}

/** A distinguished name on one line: node:crypto writes a line for each part, the country first. */
export function oneLineName(name: string): string {
  return name.split('\n').reverse().join(', ');
}

function unusable(reason: string, cause?: unknown): GantryError {
  return new GantryError('bad-key', `not a usable certificate: ${reason}`, { cause });
}
