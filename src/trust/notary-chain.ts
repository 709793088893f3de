import { GantryError } from '../error.ts';
import {
  type ChainCertificate,
  isIssuedBy,
  readCertificate,
  requireAuthorityCertificate,
  requireSigningCertificate,
  requireSoundCertificate,
  subjectName,
} from './notary-certificate.ts';
import { malformed } from './notary-envelope.ts';
import type { KeyOf } from './trusted-key-kind.ts';

type Authority = KeyOf<'x509'>;

/** Chains of more than four are unheard of. */
const MAX_CHAIN = 8;

/**
 * Reads the chain of an envelope, the signing certificate first, and makes sure that each certificate was
 * issued by the next.
 *
 * @throws GantryError `bad-signature`
 */
export function readChain(
  certificates: readonly Uint8Array[],
): readonly [ChainCertificate, ...ChainCertificate[]] {
  if (certificates.length > MAX_CHAIN)
    throw malformed(`it has more than ${MAX_CHAIN} certificates`);
  const [signer, ...above] = certificates.map(readCertificate);
  if (signer === undefined) throw malformed('it has no certificate');
  let below = signer;
  for (const certificate of above) {
    if (!isIssuedBy(below.node, certificate.node)) {
      throw malformed(
        `the certificate of ${subjectName(below.node)} was not issued by the next, ${subjectName(certificate.node)}`,
      );
    }
    below = certificate;
  }
  return [signer, ...above];
}

/**
 * The authority a chain ends in: one of its certificates is a trusted one, or its last was issued by a
 * trusted one.
 *
 * @returns the chain up to there, with the authority's own certificate; undefined for a stranger's.
 */
export function anchorChain(
  chain: readonly ChainCertificate[],
  authorities: readonly Authority[],
): { chain: readonly ChainCertificate[]; authority: Authority } | undefined {
  for (const authority of authorities) {
    if (chain.some(({ node }) => node.raw.equals(authority.certificate.raw)))
      return { chain, authority };
  }
  const last = chain.at(-1);
  const issuer = authorities.find(
    ({ certificate }) => last !== undefined && isIssuedBy(last.node, certificate),
  );
  if (issuer === undefined) return undefined;
  return { chain: [...chain, readCertificate(issuer.certificate.raw)], authority: issuer };
}

/**
 * Checks every certificate of a chain at each of the times (signature-specification.md, "Certificate
 * Requirements"). A chain of one certificate is that of a signer who trusted nobody else: it need not
 * be an authority's.
 *
 * @throws GantryError `bad-signature`
 */
export function requireSoundChain(
  chain: readonly ChainCertificate[],
  times: readonly Date[],
): void {
  for (const certificate of chain) {
    for (const time of times) requireSoundCertificate(certificate, time);
  }
  const [signer, ...authorities] = chain;
  if (signer === undefined) throw new GantryError('internal', 'an empty chain is no chain');
  requireSigningCertificate(signer);
  for (const [below, authority] of authorities.entries())
    requireAuthorityCertificate(authority, below);
}
