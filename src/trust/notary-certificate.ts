import { X509Certificate as NodeCertificate } from 'node:crypto';
import { X509Certificate } from '@sigstore/core';
import { oneLineName } from './certificate-authority.ts';
import { malformed } from './notary-envelope.ts';
import { printable, printableReason, printableTime } from './printable.ts';

/**
 * A certificate, as both libraries have it: node:crypto for its key and its signature, @sigstore/core for
 * the extensions node:crypto does not show.
 */
export interface ChainCertificate {
  readonly node: NodeCertificate;
  readonly parsed: X509Certificate;
}

type Asn1 = X509Certificate['root'];

const BASIC_CONSTRAINTS = '2.5.29.19';
const KEY_USAGE = '2.5.29.15';
const EXTENDED_KEY_USAGE = '2.5.29.37';

/** What is understood here of what a certificate's issuer may have marked as critical. */
const UNDERSTOOD: ReadonlySet<string> = new Set([BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE]);

/** Bits of KeyUsage (RFC 5280 section 4.2.1.3). */
const DIGITAL_SIGNATURE = 0;
const NON_REPUDIATION = 1;
const KEY_CERT_SIGN = 5;

/** signature-specification.md, "Leaf Certificates": a key for these signs no code. */
const FOREIGN_USAGES: ReadonlyMap<string, string> = new Map([
  ['2.5.29.37.0', 'anything'],
  ['1.3.6.1.5.5.7.3.1', 'TLS servers'],
  ['1.3.6.1.5.5.7.3.2', 'TLS clients'],
  ['1.3.6.1.5.5.7.3.4', 'email'],
  ['1.3.6.1.5.5.7.3.8', 'timestamps'],
]);

const CODE_SIGNING = '1.3.6.1.5.5.7.3.3';
const RSA_PSS = '1.2.840.113549.1.1.10';
/** RSA and ECDSA with SHA-2, Ed25519: what certificates are signed with, but for SHA-1 and older. */
const SIGNATURE_ALGORITHMS: ReadonlySet<string> = new Set([
  '1.2.840.113549.1.1.11',
  '1.2.840.113549.1.1.12',
  '1.2.840.113549.1.1.13',
  '1.2.840.10045.4.3.2',
  '1.2.840.10045.4.3.3',
  '1.2.840.10045.4.3.4',
  '1.3.101.112',
]);
const SHA2: ReadonlySet<string> = new Set([
  '2.16.840.1.101.3.4.2.1',
  '2.16.840.1.101.3.4.2.2',
  '2.16.840.1.101.3.4.2.3',
]);

/** @throws GantryError `bad-signature` */
export function readCertificate(der: Uint8Array): ChainCertificate {
  try {
    const node = new NodeCertificate(der);
    // From what node:crypto read, so that bytes behind it are not read as something else.
    return { node, parsed: X509Certificate.parse(Buffer.from(node.raw)) };
  } catch (cause) {
    throw malformed(`a certificate cannot be read (${printableReason(cause)})`, cause);
  }
}

/** How messages and records name a certificate. */
export function subjectName({ subject }: NodeCertificate): string {
  return printable(oneLineName(subject ?? ''));
}

/** Whether `issuer` signed `certificate`, by name and by key. */
export function isIssuedBy(certificate: NodeCertificate, issuer: NodeCertificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

/**
 * Holds a certificate to what the specification asks of every one (signature-specification.md,
 * "Certificate Requirements"): no SHA-1, and valid at a time.
 *
 * @throws GantryError `bad-signature`
 */
export function requireSoundCertificate(certificate: ChainCertificate, at: Date): void {
  const name = subjectName(certificate.node);
  if (!isSoundAlgorithm(certificate.parsed.root.subs[1])) {
    throw malformed(`the certificate of ${name} is signed with an algorithm too weak or unknown`);
  }
  requireUnderstood(certificate);
  const { notBefore, notAfter } = certificate.parsed;
  if (at < notBefore) {
    throw malformed(`the certificate of ${name} is not valid before ${printableTime(notBefore)}`);
  }
  if (at > notAfter) {
    throw malformed(
      `the certificate of ${name} expired at ${printableTime(notAfter)}, and countersigned timestamps are not supported`,
    );
  }
}

/**
 * Refuses a certificate with a critical extension that is not understood, as RFC 5280 section 4.2 has it: it
 * may say that an authority certifies no others than those of some names.
 */
function requireUnderstood({ node, parsed }: ChainCertificate): void {
  for (const extension of parsed.extensions) {
    const oid = extension.subs[0]?.toOID() ?? '';
    if (UNDERSTOOD.has(oid) || extension.subs[1]?.tag.isBoolean() !== true) continue;
    if (extension.subs[1].toBoolean()) {
      throw malformed(
        `the certificate of ${subjectName(node)} has the critical extension ${oid}, which is not known`,
      );
    }
  }
}

/**
 * Holds the signing certificate to signature-specification.md, "Leaf Certificates".
 *
 * @throws GantryError `bad-signature`
 */
export function requireSigningCertificate({ node, parsed }: ChainCertificate): void {
  const refuse = (why: string) => malformed(`the certificate of ${subjectName(node)} ${why}`);
  if (basicConstraints(parsed)?.isCA === true)
    throw refuse('is an authority’s and signs no images');
  const usage = keyUsageBits(parsed);
  if (usage === undefined) throw refuse('has no critical key usage');
  const foreign = usage.some((bit, index) => bit === 1 && index > NON_REPUDIATION);
  if (usage[DIGITAL_SIGNATURE] !== 1 || foreign) throw refuse('is not for signatures alone');
  // node:crypto gives extended usages under the name of the plain ones.
  const extended: readonly string[] = node.keyUsage ?? [];
  const other = extended.find((oid) => FOREIGN_USAGES.has(oid));
  if (other !== undefined) throw refuse(`is for ${FOREIGN_USAGES.get(other)}`);
  if (extended.length > 0 && !extended.includes(CODE_SIGNING))
    throw refuse('is not for signing code');
}

/**
 * Holds an authority's certificate to signature-specification.md, "Root and Intermediate CA Certificates".
 *
 * @param below how many authorities lie between it and the signing certificate.
 * @throws GantryError `bad-signature`
 */
export function requireAuthorityCertificate(
  { node, parsed }: ChainCertificate,
  below: number,
): void {
  const refuse = (why: string) => malformed(`the certificate of ${subjectName(node)} ${why}`);
  const constraints = basicConstraints(parsed);
  if (constraints?.isCA !== true || !constraints.critical) {
    throw refuse(
      'issued another without being an authority’s (critical basicConstraints, CA:TRUE)',
    );
  }
  if (keyUsageBits(parsed)?.[KEY_CERT_SIGN] !== 1) throw refuse('may not issue certificates');
  if (constraints.pathLength !== undefined && constraints.pathLength < below) {
    throw refuse(`allows ${constraints.pathLength} authorities below it, and there are ${below}`);
  }
}

interface BasicConstraints {
  readonly isCA: boolean;
  readonly critical: boolean;
  readonly pathLength?: bigint;
}

/** RFC 5280 section 4.2.1.9; `cA` left out is false, also in front of a path length. */
function basicConstraints(certificate: X509Certificate): BasicConstraints | undefined {
  const extension = certificate.extension(BASIC_CONSTRAINTS);
  if (extension === undefined) return undefined;
  const fields = extension.valueObj.subs[0]?.subs ?? [];
  const length = fields.find(({ tag }) => !tag.isBoolean())?.toInteger();
  return {
    isCA: fields[0]?.tag.isBoolean() === true && fields[0].toBoolean(),
    critical: extension.critical,
    ...(length === undefined ? {} : { pathLength: length }),
  };
}

/** Undefined where the extension is not there or not critical, which is the same to the specification. */
function keyUsageBits(certificate: X509Certificate): number[] | undefined {
  const extension = certificate.extension(KEY_USAGE);
  return extension?.critical === true ? extension.valueObj.subs[0]?.toBitString() : undefined;
}

/** PSS says its digest in its parameters, and SHA-1 by saying nothing (RFC 4055 section 3.1). */
function isSoundAlgorithm(algorithm: Asn1 | undefined): boolean {
  const [identifier, parameters] = algorithm?.subs ?? [];
  const oid = identifier?.toOID() ?? '';
  if (oid !== RSA_PSS) return SIGNATURE_ALGORITHMS.has(oid);
  const digest = parameters?.subs.find(({ tag }) => tag.isContextSpecific(0))?.subs[0]?.subs[0];
  return digest?.tag.isOID() === true && SHA2.has(digest.toOID());
}
