import { execFileSync } from 'node:child_process';
import {
  constants,
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  X509Certificate,
} from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encode, Tag } from 'cbor2';
import { formatDigest } from '../../../src/image/digest.ts';
import type { ManifestSignature } from '../../../src/trust/manifest-signature.ts';
import { imageCandidate } from './signed-manifest.ts';

/** A certificate and its key. */
export interface Certified {
  readonly certificate: X509Certificate;
  readonly key: KeyObject;
}

/** How a certificate is made; extensions as openssl's configuration writes them. */
export interface CertificateWishes {
  readonly name: string;
  readonly issuer?: Certified;
  readonly extensions: readonly string[];
  readonly key?: KeyObject;
  readonly digest?: string;
}

export const AUTHORITY = [
  'basicConstraints=critical,CA:TRUE',
  'keyUsage=critical,keyCertSign,cRLSign',
];
export const SIGNER = ['keyUsage=critical,digitalSignature', 'extendedKeyUsage=codeSigning'];

export const ecKey = (namedCurve = 'P-256') => generateKeyPairSync('ec', { namedCurve }).privateKey;
export const rsaKey = (modulusLength = 2048) =>
  generateKeyPairSync('rsa', { modulusLength }).privateKey;

/** Has openssl make a certificate, good for thirty days. */
export function certify({
  name,
  issuer,
  extensions,
  key = ecKey(),
  digest = 'sha256',
}: CertificateWishes): Certified {
  const directory = mkdtempSync(join(tmpdir(), 'gantry-notary-'));
  const file = (path: string, content: string | Buffer): string => {
    writeFileSync(join(directory, path), content, { mode: 0o600 });
    return join(directory, path);
  };
  const pem = (private_: KeyObject) => private_.export({ type: 'pkcs8', format: 'pem' });
  try {
    const issuedBy = issuer
      ? [
          '-CA',
          file('ca.crt', issuer.certificate.toString()),
          '-CAkey',
          file('ca.key', pem(issuer.key)),
        ]
      : [];
    // A configuration without extensions: openssl's own would add some.
    const config = file('openssl.cnf', '[req]\ndistinguished_name = names\n[names]\n');
    const output = join(directory, 'new.crt');
    execFileSync('openssl', [
      ...['req', '-new', '-x509', '-config', config, '-subj', `/C=DE/O=Test/CN=${name}`],
      ...['-key', file('new.key', pem(key)), `-${digest}`, '-days', '30', '-out', output],
      ...issuedBy,
      ...extensions.flatMap((extension) => ['-addext', extension]),
    ]);
    return { certificate: new X509Certificate(readFileSync(output)), key };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** What goes into an envelope; whatever is not given is as it should be. */
export interface EnvelopeWishes {
  readonly signer: Certified;
  /** From the signer's own up. */
  readonly chain: readonly Certified[];
  readonly algorithm?: string;
  readonly payload?: Buffer;
  readonly contentType?: string;
  /** The named attributes of the protected header, with the times as `Date`. */
  readonly attributes?: Readonly<Record<string, unknown>>;
  readonly critical?: readonly string[];
}

export const SCHEME = 'io.cncf.notary.signingScheme';
export const SIGNING_TIME = 'io.cncf.notary.signingTime';
export const AUTHENTIC_TIME = 'io.cncf.notary.authenticSigningTime';
export const EXPIRY = 'io.cncf.notary.expiry';

const PAYLOAD_TYPE = 'application/vnd.cncf.notary.payload.v1+json';

/** The payload for the image, with changes to the descriptor. */
export function notaryPayload(changes: object = {}): Buffer {
  const { mediaType, digest, bytes } = imageCandidate;
  const targetArtifact = {
    mediaType,
    digest: formatDigest(digest),
    size: bytes.length,
    ...changes,
  };
  return Buffer.from(JSON.stringify({ targetArtifact }));
}

export function defaultAttributes(): Record<string, unknown> {
  return { [SCHEME]: 'notary.x509', [SIGNING_TIME]: new Date() };
}

type Notation = Extract<ManifestSignature, { kind: 'notation' }>;
type Format = Notation['mediaType'];

/** An envelope as it lies beside the image. */
export function envelope(bytes: Uint8Array, mediaType: Format = 'application/jose+json'): Notation {
  return { kind: 'notation', bytes, mediaType, subject: imageCandidate.digest, origin: 'the test' };
}

/** A JWS envelope; `spoil` changes its members before they are written. */
export function jws(
  {
    signer,
    chain,
    algorithm = 'ES256',
    payload = notaryPayload(),
    contentType = PAYLOAD_TYPE,
    ...rest
  }: EnvelopeWishes,
  spoil: (members: Record<string, unknown>) => object = (members) => members,
): Notation {
  const { attributes = defaultAttributes(), critical = [SCHEME] } = rest;
  const header = { alg: algorithm, cty: contentType, crit: critical, ...written(attributes) };
  const encoded = base64url(Buffer.from(JSON.stringify(header)));
  const members = {
    payload: base64url(payload),
    protected: encoded,
    header: { x5c: chain.map(({ certificate }) => certificate.raw.toString('base64')) },
    signature: base64url(
      signed(signer.key, algorithm, Buffer.from(`${encoded}.${base64url(payload)}`)),
    ),
  };
  return envelope(Buffer.from(JSON.stringify(spoil(members))));
}

const COSE_ALGORITHMS: Readonly<Record<string, number>> = {
  ES256: -7,
  ES384: -35,
  ES512: -36,
  PS256: -37,
  PS384: -38,
  PS512: -39,
};

/** A COSE envelope; `spoil` changes its four fields before they are written. */
export function cose(
  {
    signer,
    chain,
    algorithm = 'ES256',
    payload = notaryPayload(),
    contentType = PAYLOAD_TYPE,
    ...rest
  }: EnvelopeWishes,
  spoil: (fields: unknown[]) => unknown[] = (fields) => fields,
): Notation {
  const { attributes = defaultAttributes(), critical = [SCHEME] } = rest;
  const times = Object.entries(attributes).map(([name, value]): [string, unknown] => [
    name,
    value instanceof Date ? new Tag(1, Math.floor(value.getTime() / 1000)) : value,
  ]);
  const header = new Map<unknown, unknown>([
    [1, COSE_ALGORITHMS[algorithm] ?? algorithm],
    [2, critical],
    [3, contentType],
    ...times,
  ]);
  const encoded = encode(header, { cde: true });
  const body = Uint8Array.from(payload);
  const toBeSigned = encode(['Signature1', encoded, new Uint8Array(), body]);
  const certificates = chain.map(({ certificate }) => Uint8Array.from(certificate.raw));
  const signature = Uint8Array.from(signed(signer.key, algorithm, toBeSigned));
  const fields = [encoded, new Map([[33, certificates]]), body, signature];
  const bytes = encode(new Tag(18, spoil(fields)), { cde: true });
  return envelope(bytes, 'application/cose');
}

function signed(key: KeyObject, algorithm: string, data: Uint8Array): Buffer {
  const digest = `sha${algorithm.slice(2)}`;
  const padding = algorithm.startsWith('PS')
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
    : { dsaEncoding: 'ieee-p1363' as const };
  return sign(digest, data, {
    key: createPrivateKey(key.export({ type: 'pkcs8', format: 'pem' })),
    ...padding,
  });
}

function written(attributes: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [
      name,
      value instanceof Date ? value.toISOString().replace(/\.\d+Z$/, 'Z') : value,
    ]),
  );
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url');
}
