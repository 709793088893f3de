import type { Provenance } from '../image/provenance.ts';

/** Who vouched, on one line: key or identity, and whose it is. */
export function signerText(provenance: Provenance, full: boolean): string {
  switch (provenance.kind) {
    case 'unverified':
      return `nobody (${provenance.reason})`;
    case 'openpgp': {
      const key = full ? provenance.fingerprint : provenance.signingKeyId;
      return provenance.userId === undefined ? key : `${key} ${provenance.userId}`;
    }
    case 'sigstore-key':
      return `${shortened(provenance.fingerprint, full)} ${provenance.algorithm}`;
    case 'sigstore-identity':
      return `${provenance.identity} (${provenance.issuer})`;
    case 'x509':
      return `${provenance.subject} (${provenance.authority})`;
  }
}

function shortened(fingerprint: string, full: boolean): string {
  return full ? fingerprint : fingerprint.slice(0, 16);
}
