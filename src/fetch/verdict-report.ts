import type { VerifiedProvenance } from '../image/provenance.ts';
import type { FetchContext } from './context.ts';

/** Says who vouched, whatever kind of image and key it is. */
export function reportVerdict(
  provenance: VerifiedProvenance,
  { report }: Pick<FetchContext, 'report'>,
): void {
  report.info('image: signature verified:');
  report.info(`  ${signerOf(provenance)}`);
}

function signerOf(provenance: VerifiedProvenance): string {
  switch (provenance.kind) {
    case 'openpgp':
      return provenance.userId ?? provenance.fingerprint;
    case 'sigstore-key':
      return `${provenance.algorithm} key ${provenance.fingerprint}`;
    case 'sigstore-identity':
      return `${provenance.identity} (${provenance.issuer})`;
    case 'x509':
      return `${provenance.subject} (${provenance.authority})`;
  }
}
