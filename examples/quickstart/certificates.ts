import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import forge from 'node-forge';

/** A certificate and its private key, both PEM, as `https.createServer` takes them. */
export interface Identity {
  readonly certificate: string;
  readonly key: string;
}

/** How a certificate departs from the ordinary: the tests ask for expired ones. */
export interface IssueOptions {
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

/** A throw-away certificate authority, living as long as the process that made it. */
export interface CertificateAuthority {
  /** PEM; what a client is given through `SSL_CERT_FILE`. */
  readonly certificate: string;
  /** A certificate for these host names and addresses, signed by the authority. */
  issue(hosts: readonly string[], options?: IssueOptions): Identity;
}

const DAY = 24 * 60 * 60 * 1000;

/**
 * Makes a self-signed authority. Its private key never leaves memory.
 *
 * @param commonName what the authority is called in error messages
 */
export function createAuthority(commonName = 'Gantry quickstart CA'): CertificateAuthority {
  const keys = generateKeys();
  const subject = [{ name: 'commonName', value: commonName }];
  const certificate = draft(keys.publicKey, subject, subject, {});
  certificate.setExtensions([
    { name: 'basicConstraints', cA: true, critical: true },
    { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    { name: 'subjectKeyIdentifier' },
  ]);
  certificate.sign(keys.privateKey, forge.md.sha256.create());
  return {
    certificate: forge.pki.certificateToPem(certificate),
    issue: (hosts, options = {}) => issue(certificate, keys.privateKey, hosts, options),
  };
}

function issue(
  authority: forge.pki.Certificate,
  authorityKey: forge.pki.rsa.PrivateKey,
  hosts: readonly string[],
  options: IssueOptions,
): Identity {
  const keys = generateKeys();
  const subject = [{ name: 'commonName', value: hosts[0] ?? 'localhost' }];
  const certificate = draft(keys.publicKey, subject, authority.subject.attributes, options);
  certificate.setExtensions([
    { name: 'basicConstraints', cA: false },
    { name: 'keyUsage', digitalSignature: true, keyEncipherment: true, critical: true },
    { name: 'extKeyUsage', serverAuth: true },
    { name: 'subjectAltName', altNames: hosts.map(alternativeName) },
    { name: 'subjectKeyIdentifier' },
  ]);
  certificate.sign(authorityKey, forge.md.sha256.create());
  return { certificate: forge.pki.certificateToPem(certificate), key: keys.pem };
}

/** RFC 5280 section 4.2.1.6: a host name is a dNSName (2), an address an iPAddress (7). */
function alternativeName(host: string): { type: number; value?: string; ip?: string } {
  return isIP(host) === 0 ? { type: 2, value: host } : { type: 7, ip: host };
}

function draft(
  publicKey: forge.pki.rsa.PublicKey,
  subject: forge.pki.CertificateField[],
  issuer: forge.pki.CertificateField[],
  options: IssueOptions,
): forge.pki.Certificate {
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = publicKey;
  // A leading 01 keeps the serial number positive (RFC 5280 section 4.1.2.2), and without the zeros that
  // DER has no room for.
  certificate.serialNumber = `01${randomBytes(15).toString('hex')}`;
  certificate.validity.notBefore = options.notBefore ?? new Date(Date.now() - DAY);
  certificate.validity.notAfter = options.notAfter ?? new Date(Date.now() + 30 * DAY);
  certificate.setSubject(subject);
  certificate.setIssuer(issuer);
  return certificate;
}

/** Keys come from OpenSSL, because forge's own RSA generation takes seconds in JavaScript. */
function generateKeys(): {
  publicKey: forge.pki.rsa.PublicKey;
  privateKey: forge.pki.rsa.PrivateKey;
  pem: string;
} {
  const pair = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  });
  return {
    publicKey: forge.pki.publicKeyFromPem(pair.publicKey),
    privateKey: forge.pki.privateKeyFromPem(pair.privateKey),
    pem: pair.privateKey,
  };
}
