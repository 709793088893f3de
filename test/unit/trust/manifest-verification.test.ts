import { constants, createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { addTrustedKeys, type TrustDirectories } from '../../../src/trust/keystore.ts';
import type { ManifestSignature } from '../../../src/trust/manifest-signature.ts';
import {
  type ManifestVerificationRequest,
  verifyManifest,
} from '../../../src/trust/manifest-verification.ts';
import { candidate, payloadFor } from './signed-image.ts';

const NAME = 'example.com/team/app';
const MANIFEST = candidate('manifest', 'the manifest');
const INDEX = candidate('index', 'the index');
const OTHER = candidate('manifest', 'another manifest');

let root: string;
let directories: TrustDirectories;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'manifest-'));
  directories = { system: join(root, 'usr'), local: join(root, 'etc') };
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

async function trust({ publicKey }: KeyPair, prefix = NAME): Promise<string> {
  const pem = publicKey.export({ format: 'pem', type: 'spki' });
  const rule = { scope: 'prefix', prefix } as const;
  const [path = ''] = await addTrustedKeys(directories, Buffer.from(pem), rule);
  return path;
}

interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

function ecKey(namedCurve = 'P-256'): KeyPair {
  return generateKeyPairSync('ec', { namedCurve });
}

type Signer = (data: Uint8Array, key: KeyObject) => Buffer;
const sha256: Signer = (data, key) => sign('sha256', data, key);

function cosign(
  { privateKey }: KeyPair,
  payload: Uint8Array = payloadFor(NAME, MANIFEST),
  signer: Signer = sha256,
): ManifestSignature {
  const signature = signer(payload, privateKey).toString('base64');
  return { kind: 'cosign', payload, signature, subject: MANIFEST.digest, origin: 'test' };
}

/** A bundle as cosign 3 writes it, with changes. */
function bundle(
  { privateKey }: KeyPair,
  changes: { digest?: string; payloadType?: string; signer?: Signer; members?: object } = {},
): ManifestSignature {
  const payload = Buffer.from(
    JSON.stringify({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ digest: { sha256: changes.digest ?? MANIFEST.digest.hex } }],
      predicateType: 'https://sigstore.dev/cosign/sign/v1',
      predicate: {},
    }),
  );
  const payloadType = changes.payloadType ?? 'application/vnd.in-toto+json';
  const head = `DSSEv1 ${payloadType.length} ${payloadType} ${payload.length} `;
  const sig = (changes.signer ?? sha256)(Buffer.concat([Buffer.from(head), payload]), privateKey);
  return bundled({
    verificationMaterial: { publicKey: { hint: 'whatever' } },
    dsseEnvelope: {
      payload: payload.toString('base64'),
      payloadType,
      signatures: [{ sig: sig.toString('base64') }],
    },
    ...changes.members,
  });
}

function bundled(members: object): ManifestSignature {
  const mediaType = 'application/vnd.dev.sigstore.bundle.v0.3+json';
  const bytes = Buffer.from(JSON.stringify({ mediaType, ...members }));
  return { kind: 'bundle', bytes, subject: MANIFEST.digest, origin: 'test' };
}

async function verify(
  signatures: ManifestSignature[],
  changes: Partial<ManifestVerificationRequest> = {},
) {
  return await verifyManifest({
    directories,
    name: NAME,
    tag: '1.0',
    candidates: [INDEX, MANIFEST],
    signatures,
    identity: 'tag',
    ...changes,
  });
}

describe('a signature by a trusted sigstore key', () => {
  const rsa = () => generateKeyPairSync('rsa', { modulusLength: 2048 });
  const pss =
    (hash: string): Signer =>
    (data, key) =>
      sign(hash, data, { key, padding: constants.RSA_PKCS1_PSS_PADDING });
  const plain =
    (hash: string | null): Signer =>
    (data, key) =>
      sign(hash, data, key);

  it.each<[string, () => KeyPair, Signer]>([
    ['ECDSA P-256 with SHA-256', () => ecKey('P-256'), plain('sha256')],
    ['ECDSA P-384 with SHA-256', () => ecKey('P-384'), plain('sha256')],
    ['ECDSA P-384 with SHA-384', () => ecKey('P-384'), plain('sha384')],
    ['ECDSA P-521 with SHA-256', () => ecKey('P-521'), plain('sha256')],
    ['ECDSA P-521 with SHA-512', () => ecKey('P-521'), plain('sha512')],
    ['RSA 2048 by PKCS #1', rsa, plain('sha256')],
    ['RSA 2048 by PSS', rsa, pss('sha256')],
    ['RSA 2048 by PSS with SHA-512', rsa, pss('sha512')],
    ['Ed25519', () => generateKeyPairSync('ed25519'), plain(null)],
  ])('holds: %s', async (algorithm, makeKey, signer) => {
    const key = makeKey();
    const keyPath = await trust(key);
    for (const signature of [cosign(key, undefined, signer), bundle(key, { signer })]) {
      const { provenance } = await verify([signature]);
      expect(provenance).toMatchObject({
        kind: 'sigstore-key',
        algorithm: algorithm.split(/ (?:with|by) /)[0],
        name: NAME,
        rule: { scope: 'prefix', prefix: NAME },
        keyPath,
        signature: signature.kind,
        signed: { what: 'manifest', digest: MANIFEST.digest },
      });
    }
  });

  it('with SHA-1 does not', async () => {
    const key = ecKey();
    await trust(key);
    await expect(verify([cosign(key, undefined, plain('sha1'))])).rejects.toMatchObject({
      code: 'untrusted',
    });
  });

  it('may be over the index', async () => {
    const key = ecKey();
    await trust(key);
    const { provenance } = await verify([cosign(key, payloadFor(NAME, INDEX))]);
    expect(provenance.signed).toEqual({ what: 'index', digest: INDEX.digest });
  });

  it('holds beside others that do not', async () => {
    const [key, stranger] = [ecKey(), ecKey()];
    await trust(key);
    const good = cosign(key);
    const junk: ManifestSignature = { ...good, kind: 'bundle', bytes: Buffer.from('junk') };
    const { signature } = await verify([junk, cosign(stranger), good]);
    expect(signature).toBe(good);
  });

  it('for another digest never counts, whatever it was found for', async () => {
    const key = ecKey();
    await trust(key);
    const other = [cosign(key, payloadFor(NAME, OTHER)), bundle(key, { digest: OTHER.digest.hex })];
    for (const signature of other) {
      await expect(verify([signature])).rejects.toMatchObject({
        code: 'bad-signature',
        message: expect.stringMatching(
          /^example\.com\/team\/app: the signature is for another image/,
        ),
      });
    }
  });

  it('for another repository or tag never counts', async () => {
    const key = ecKey();
    await trust(key, 'example.com');
    const elsewhere = cosign(key, payloadFor('example.com/team/other', MANIFEST));
    await expect(verify([elsewhere])).rejects.toThrow(/another repository/);
    const tagged = cosign(key, payloadFor(`${NAME}:0.9`, MANIFEST));
    await expect(verify([tagged])).rejects.toThrow(/not for the tag "1\.0"/);
    expect(await verify([tagged], { identity: 'repository' })).toBeDefined();
  });

  it('of which a byte changed does not hold', async () => {
    const key = ecKey();
    await trust(key);
    const good = cosign(key);
    if (good.kind !== 'cosign') expect.unreachable();
    const payload = Buffer.from(
      good.payload.toString().replace('"optional":null', '"optional":{}'),
    );
    await expect(verify([{ ...good, payload }])).rejects.toThrow(
      /no sigstore key trusted for example\.com\/team\/app made this signature/,
    );
    await expect(verify([{ ...good, signature: 'not base64' }])).rejects.toThrow(/not base64/);
    await expect(verify([{ ...good, signature: '' }])).rejects.toThrow(/not base64/);
  });

  it('whose payload says something twice does not hold', async () => {
    const key = ecKey();
    await trust(key);
    const twice = payloadFor(NAME, MANIFEST)
      .toString()
      .replace('{"critical"', '{"critical":{},"critical"');
    await expect(verify([cosign(key, Buffer.from(twice))])).rejects.toThrow(/"critical" twice/);
  });
});

describe('a signature by a key that is not trusted for the name', () => {
  it('says for what the key is trusted, and how to trust it here', async () => {
    const key = ecKey();
    const path = await trust(key, 'example.com/other');
    await expect(verify([cosign(key)])).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringContaining(
        `is trusted for example.com/other, not for ${NAME}; to trust it for this name too run: gantry trust --prefix ${NAME} ${path}`,
      ),
    });
  });

  it('is refused where no sigstore key is trusted at all', async () => {
    await expect(verify([bundle(ecKey())])).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringContaining(`none is trusted for ${NAME}; to trust the key`),
    });
  });

  it('is refused where the key is masked', async () => {
    const key = ecKey();
    const path = await trust(key, 'example.com');
    await verify([cosign(key)]);
    const mask = path.replace('/example.com/', `/${NAME}/`);
    mkdirSync(dirname(mask), { recursive: true });
    writeFileSync(mask, '');
    await expect(verify([cosign(key)])).rejects.toMatchObject({ code: 'untrusted' });
  });
});

describe('a bundle', () => {
  it('may hold a signature over the manifest itself', async () => {
    const key = ecKey();
    await trust(key);
    const over = ({ bytes }: typeof MANIFEST) =>
      bundled({
        verificationMaterial: { publicKey: { hint: '' } },
        messageSignature: {
          messageDigest: {
            algorithm: 'SHA2_256',
            digest: createHash('sha256').update(bytes).digest('base64'),
          },
          signature: sha256(bytes, key.privateKey).toString('base64'),
        },
      });
    const { provenance } = await verify([over(MANIFEST)]);
    expect(provenance.signed).toEqual({ what: 'manifest', digest: MANIFEST.digest });
    await expect(verify([over(OTHER)])).rejects.toMatchObject({ code: 'untrusted' });
  });

  it('of another payload type is refused, though it is signed', async () => {
    const key = ecKey();
    await trust(key);
    await expect(verify([bundle(key, { payloadType: 'text/plain' })])).rejects.toThrow(
      /does not hold one in-toto statement/,
    );
  });

  it('whose log entry is malformed is refused', async () => {
    const key = ecKey();
    await trust(key);
    const verificationMaterial = { publicKey: { hint: '' }, tlogEntries: [{ logIndex: '1' }] };
    await expect(verify([bundle(key, { members: { verificationMaterial } })])).rejects.toThrow(
      /sigstore bundle cannot be read/,
    );
  });
});

describe('an image', () => {
  it('without a signature is refused, naming what was looked for', async () => {
    await expect(verify([])).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringContaining(`${NAME}:1.0: it has no signature`),
    });
  });

  it('is refused while the key store is in disorder, whatever else holds', async () => {
    const key = ecKey();
    const path = await trust(key);
    writeFileSync(path.replace(/[^/]+$/, 'a'.repeat(64)), 'junk');
    await expect(verify([cosign(key)])).rejects.toMatchObject({ code: 'bad-key' });
  });
});
