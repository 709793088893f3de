import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundleToJSON, toDSSEBundle, toMessageSignatureBundle } from '@sigstore/bundle';
import { dsse } from '@sigstore/core';
import { initializeCA, initializeCTLog, initializeTLog, initializeTSA } from '@sigstore/mock';
import type { TrustDirectories } from '../../../src/trust/keystore.ts';
import type { CosignSignature, ManifestSignature } from '../../../src/trust/manifest-signature.ts';
import { STATEMENT_PAYLOAD_TYPE } from '../../../src/trust/signed-statement.ts';
import { imageCandidate, imageDocument, imageName } from './signed-manifest.ts';

export const identity = 'https://github.com/team/app/.github/workflows/release.yml@refs/heads/main';
export const issuer = 'https://token.actions.githubusercontent.com';

/** A bundle, or cosign's annotations, as found beside the image. */
export type SignatureOf<Kind extends ManifestSignature['kind']> = Extract<
  ManifestSignature,
  { kind: Kind }
>;

/** What to sign, with what, and which proofs come with it; each is there unless it is taken away. */
export interface Signing {
  readonly identity?: string;
  readonly issuer?: string;
  readonly payload?: Buffer;
  readonly log?: boolean;
  readonly timestamp?: boolean;
  readonly sct?: boolean;
  /** The log's entry shows another certificate of the same owner. */
  readonly loggedAsAnother?: boolean;
  /** The log keeps of an envelope what Rekor's second version does: the digest of all that is signed. */
  readonly loggedWhole?: boolean;
}

/** Rekor's answer (sigstore/rekor, openapi.yaml, `LogEntry`). */
interface LoggedEntry {
  readonly body: string;
  readonly integratedTime: number;
  readonly logIndex: number;
  readonly logID: string;
  readonly verification: {
    readonly signedEntryTimestamp: string;
    readonly inclusionProof: {
      readonly logIndex: number;
      readonly treeSize: number;
      readonly rootHash: string;
      readonly checkpoint: string;
    };
  };
}

const keyPair = (namedCurve = 'P-256') => generateKeyPairSync('ec', { namedCurve });
const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest();
const base64 = (data: ArrayBufferView | Uint8Array) =>
  Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64');

/** cosign's simple-signing payload for the image, or for another. */
export function cosignPayload(
  hex: string = imageCandidate.digest.hex,
  reference: string = `${imageName}:1.0`,
): Buffer {
  return Buffer.from(
    JSON.stringify({
      critical: {
        identity: { 'docker-reference': reference },
        image: { 'docker-manifest-digest': `sha256:${hex}` },
        type: 'cosign container image signature',
      },
      optional: null,
    }),
  );
}

/** cosign's in-toto statement for the image, or for another. */
export function cosignStatement(hex: string = imageCandidate.digest.hex): Buffer {
  return Buffer.from(
    JSON.stringify({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ digest: { sha256: hex } }],
      predicateType: 'https://sigstore.dev/cosign/sign/v1',
      predicate: {},
    }),
  );
}

/** A sigstore deployment of the test's own: real keys and proofs by @sigstore/mock. */
export class SigstoreWorld {
  /** For serving them to others. */
  readonly ca;
  readonly tlog;
  readonly #caWithoutLog;
  readonly #tsa;
  readonly #root: Record<string, unknown[]>;

  private constructor(
    services: Awaited<ReturnType<typeof startServices>>,
    root: Record<string, unknown[]>,
  ) {
    this.ca = services.ca;
    this.#caWithoutLog = services.caWithoutLog;
    this.tlog = services.tlog;
    this.#tsa = services.tsa;
    this.#root = root;
  }

  /** `issuedAt`: what the authority's clock says, where it is not the log's and everybody's. */
  static async create(issuedAt?: Date): Promise<SigstoreWorld> {
    const services = await startServices(issuedAt);
    return new SigstoreWorld(services, trustedRoot(services));
  }

  /** Installs the trusted root, without the parts named; answers the file. */
  install(
    { local }: TrustDirectories,
    without: readonly string[] = [],
    name = 'test.json',
  ): string {
    const directory = join(local, 'trustedroots.d');
    mkdirSync(directory, { recursive: true, mode: 0o755 });
    const root = Object.fromEntries(
      Object.entries(this.#root).filter(([part]) => !without.includes(part)),
    );
    const mediaType = 'application/vnd.dev.sigstore.trustedroot+json;version=0.1';
    const path = join(directory, name);
    writeFileSync(path, JSON.stringify({ mediaType, ...root }), { mode: 0o644 });
    return path;
  }

  /** A bundle of version 0.3 with an in-toto statement, as cosign 3 makes it. */
  async statementBundle(signing: Signing = {}): Promise<unknown> {
    const { payload = cosignStatement() } = signing;
    const { certificate, privateKey } = await this.#certify(signing);
    const encoded = dsse.preAuthEncoding(STATEMENT_PAYLOAD_TYPE, payload);
    const signature = sign('sha256', encoded, privateKey);
    const bundle = bundleToJSON(
      toDSSEBundle({
        artifact: payload,
        artifactType: STATEMENT_PAYLOAD_TYPE,
        signature,
        certificate,
        certificateChain: false,
      }),
    );
    const shown = signing.loggedAsAnother
      ? (await this.#certify(signing)).certificate
      : certificate;
    const logged = signing.loggedWhole
      ? hashedRekord(encoded, signature, shown)
      : dsseEntry(payload, signature, shown);
    return await this.#prove(bundle, signing, signature, logged);
  }

  /** A bundle of version 0.3 with a bare signature over the manifest. */
  async messageBundle(signing: Signing = {}): Promise<unknown> {
    const { payload = imageDocument } = signing;
    const { certificate, privateKey } = await this.#certify(signing);
    const signature = sign('sha256', payload, privateKey);
    const bundle = bundleToJSON(
      toMessageSignatureBundle({
        digest: sha256(payload),
        signature,
        certificate,
        certificateChain: false,
      }),
    );
    return await this.#prove(
      bundle,
      signing,
      signature,
      hashedRekord(payload, signature, certificate),
    );
  }

  /** cosign 2's annotations. */
  async annotations(signing: Signing = {}): Promise<SignatureOf<'cosign'>> {
    const { payload = cosignPayload(), log = true, timestamp = false } = signing;
    const { certificate, privateKey } = await this.#certify(signing);
    const signature = sign('sha256', payload, privateKey);
    const stamped = timestamp ? { timestamp: await this.#timestampAnnotation(signature) } : {};
    const logged = log
      ? { bundle: await this.#logAnnotation(hashedRekord(payload, signature, certificate)) }
      : {};
    const annotations: CosignSignature = {
      kind: 'cosign',
      payload,
      signature: base64(signature),
      certificate: pem(certificate),
      ...logged,
      ...stamped,
    };
    return { ...annotations, subject: imageCandidate.digest, origin: 'the test' };
  }

  async #certify(signing: Signing): Promise<{ certificate: Buffer; privateKey: KeyObject }> {
    const { publicKey, privateKey } = keyPair();
    const ca = signing.sct === false ? this.#caWithoutLog : this.ca;
    const certificate = await ca.issueCertificate({
      publicKey: publicKey.export({ format: 'der', type: 'spki' }),
      subjectAltName: signing.identity ?? identity,
      extensions: [{ oid: '1.3.6.1.4.1.57264.1.8', value: signing.issuer ?? issuer }],
    });
    return { certificate: Buffer.from(base64(certificate), 'base64'), privateKey };
  }

  async #prove(
    bundle: unknown,
    { log = true, timestamp = false }: Signing,
    signature: Uint8Array,
    entry: object,
  ): Promise<unknown> {
    const proven = structuredClone(bundle) as { verificationMaterial: Record<string, unknown> };
    if (log) proven.verificationMaterial['tlogEntries'] = [await this.#logEntry(entry)];
    if (timestamp) {
      const signedTimestamp = await this.#timestamp(signature);
      proven.verificationMaterial['timestampVerificationData'] = {
        rfc3161Timestamps: [{ signedTimestamp }],
      };
    }
    return proven;
  }

  async #logEntry(entry: object): Promise<unknown> {
    const { kind, apiVersion } = entry as { kind: string; apiVersion: string };
    const logged = await this.#log(entry);
    const proof = logged.verification.inclusionProof;
    return {
      logIndex: String(logged.logIndex),
      logId: { keyId: Buffer.from(logged.logID, 'hex').toString('base64') },
      kindVersion: { kind, version: apiVersion },
      integratedTime: String(logged.integratedTime),
      inclusionPromise: { signedEntryTimestamp: logged.verification.signedEntryTimestamp },
      inclusionProof: {
        logIndex: String(proof.logIndex),
        treeSize: String(proof.treeSize),
        rootHash: Buffer.from(proof.rootHash, 'hex').toString('base64'),
        hashes: [],
        checkpoint: { envelope: proof.checkpoint },
      },
      canonicalizedBody: logged.body,
    };
  }

  async #logAnnotation(entry: object): Promise<string> {
    const { body, integratedTime, logIndex, logID, verification } = await this.#log(entry);
    const Payload = { body, integratedTime, logIndex, logID };
    return JSON.stringify({ SignedEntryTimestamp: verification.signedEntryTimestamp, Payload });
  }

  async #log(entry: object): Promise<LoggedEntry> {
    // Its type is of a package that is not there.
    const answer = (await this.tlog.log(entry)) as Record<string, LoggedEntry>;
    const [logged] = Object.values(answer);
    if (logged === undefined) throw new Error('the log answered without an entry');
    return logged;
  }

  async #timestampAnnotation(signature: Uint8Array): Promise<string> {
    return JSON.stringify({ SignedRFC3161Timestamp: await this.#timestamp(signature) });
  }

  async #timestamp(signature: Uint8Array): Promise<string> {
    const response = await this.#tsa.timestamp({
      artifactHash: sha256(signature),
      hashAlgorithmOID: '2.16.840.1.101.3.4.2.1',
      nonce: 1,
      policyOID: '1.3.6.1.4.1.57264.2',
    });
    return base64(response);
  }
}

/** A bundle as it lies beside the image. */
export function found(bundle: unknown): SignatureOf<'bundle'> {
  const bytes = Buffer.from(JSON.stringify(bundle));
  return { kind: 'bundle', bytes, subject: imageCandidate.digest, origin: 'the test' };
}

async function startServices(issuedAt: Date | undefined) {
  // One clock for all, a little ahead of the roots made below; whole seconds, since of a fraction pkijs
  // writes as many digits as it needs and @sigstore/core reads three.
  const clock = new Date(Math.floor(Date.now() / 1000) * 1000 + 2000);
  const caKeys = keyPair('P-384');
  const ctlog = await initializeCTLog(keyPair(), clock);
  const ca = await initializeCA(caKeys, ctlog, issuedAt ?? clock);
  // Of the same key and name, so that the one certificate stands for both.
  const caWithoutLog = await initializeCA(caKeys, undefined, issuedAt ?? clock);
  const tlog = await initializeTLog('https://rekor.test.example', keyPair(), clock);
  const tsa = await initializeTSA(keyPair('P-384'), clock);
  return { ca, caWithoutLog, ctlog, tlog, tsa };
}

function trustedRoot(
  services: Awaited<ReturnType<typeof startServices>>,
): Record<string, unknown[]> {
  const { ca, ctlog, tlog, tsa } = services;
  const always = { start: '2020-01-01T00:00:00Z' };
  const chain = (...certificates: ArrayBufferView[]) => ({
    certChain: { certificates: certificates.map((der) => ({ rawBytes: base64(der) })) },
    validFor: always,
  });
  const log = (baseUrl: string, publicKey: Buffer) => ({
    baseUrl,
    hashAlgorithm: 'SHA2_256',
    publicKey: {
      rawBytes: base64(publicKey),
      keyDetails: 'PKIX_ECDSA_P256_SHA_256',
      validFor: always,
    },
    logId: { keyId: base64(sha256(publicKey)) },
  });
  return {
    certificateAuthorities: [chain(ca.rootCertificate)],
    ctlogs: [log('https://ctfe.test.example', ctlog.publicKey)],
    tlogs: [log('https://rekor.test.example', tlog.publicKey)],
    timestampAuthorities: [chain(tsa.intCertificate, tsa.rootCertificate)],
  };
}

function dsseEntry(payload: Uint8Array, signature: Uint8Array, certificate: Buffer): object {
  return {
    apiVersion: '0.0.1',
    kind: 'dsse',
    spec: {
      payloadHash: { algorithm: 'sha256', value: sha256(payload).toString('hex') },
      signatures: [{ signature: base64(signature), verifier: pemInBase64(certificate) }],
    },
  };
}

function hashedRekord(payload: Uint8Array, signature: Uint8Array, certificate: Buffer): object {
  return {
    apiVersion: '0.0.1',
    kind: 'hashedrekord',
    spec: {
      data: { hash: { algorithm: 'sha256', value: sha256(payload).toString('hex') } },
      signature: { content: base64(signature), publicKey: { content: pemInBase64(certificate) } },
    },
  };
}

function pem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}

function pemInBase64(der: Buffer): string {
  return Buffer.from(pem(der)).toString('base64');
}
