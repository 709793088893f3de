import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { addTrustedKeys, type TrustDirectories } from '../../../src/trust/keystore.ts';
import type { ManifestSignature } from '../../../src/trust/manifest-signature.ts';
import { verifyManifest } from '../../../src/trust/manifest-verification.ts';
import { candidate, payloadFor } from './signed-image.ts';
import { SigstoreWorld } from './sigstore-world.ts';

const NAME = 'example.com/team/app';
const MANIFEST = candidate('manifest', 'the manifest');
const KEY = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const PEM = Buffer.from(KEY.publicKey.export({ format: 'pem', type: 'spki' }));

let world: SigstoreWorld;
let root: string;
let directories: TrustDirectories;
beforeAll(async () => {
  world = await SigstoreWorld.create();
});
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'log-'));
  directories = { system: join(root, 'usr'), local: join(root, 'etc') };
  await addTrustedKeys(directories, PEM, { scope: 'prefix', prefix: NAME });
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** What cosign 2 makes with a key and a log; `logged` is what the log was told of. */
async function cosign(logged?: Uint8Array): Promise<ManifestSignature> {
  const payload = payloadFor(NAME, MANIFEST);
  const signature = sign('sha256', payload, KEY.privateKey);
  const value = createHash('sha256')
    .update(logged ?? payload)
    .digest('hex');
  const answer = (await world.tlog.log({
    apiVersion: '0.0.1',
    kind: 'hashedrekord',
    spec: {
      data: { hash: { algorithm: 'sha256', value } },
      signature: {
        content: signature.toString('base64'),
        publicKey: { content: PEM.toString('base64') },
      },
    },
  })) as Record<string, LogAnswer>;
  const [{ body, integratedTime, logIndex, logID, verification } = missing()] =
    Object.values(answer);
  const Payload = { body, integratedTime, logIndex, logID };
  const bundle = JSON.stringify({
    SignedEntryTimestamp: verification.signedEntryTimestamp,
    Payload,
  });
  return {
    kind: 'cosign',
    payload,
    signature: signature.toString('base64'),
    bundle,
    subject: MANIFEST.digest,
    origin: 'test',
  };
}

interface LogAnswer {
  readonly body: string;
  readonly integratedTime: number;
  readonly logIndex: number;
  readonly logID: string;
  readonly verification: { readonly signedEntryTimestamp: string };
}

function missing(): never {
  throw new Error('the log answered without an entry');
}

async function verify(signature: ManifestSignature) {
  const { provenance } = await verifyManifest({
    directories,
    name: NAME,
    candidates: [MANIFEST],
    signatures: [signature],
    identity: 'tag',
  });
  return provenance;
}

function changed(signature: ManifestSignature, from: RegExp, to: string): ManifestSignature {
  if (signature.kind !== 'cosign' || signature.bundle === undefined) throw new Error('no bundle');
  return { ...signature, bundle: signature.bundle.replace(from, to) };
}

describe("a key's signature with an entry of the transparency log", () => {
  it('is recorded with its index and time where the log is known', async () => {
    world.install(directories);
    const provenance = await verify(await cosign());
    expect(provenance).toMatchObject({
      kind: 'sigstore-key',
      logIndex: expect.stringMatching(/^\d+$/),
      signedAt: expect.stringMatching(/^20/),
    });
  });

  it('holds without a trusted root, and then nothing is recorded of the log', async () => {
    const provenance = await verify(await cosign());
    expect(provenance).not.toHaveProperty('logIndex');
    expect(provenance).not.toHaveProperty('signedAt');
  });

  it('is refused where the entry was tampered with', async () => {
    world.install(directories);
    const later = changed(await cosign(), /"integratedTime":\d+/, '"integratedTime":1700000000');
    await expect(verify(later)).rejects.toMatchObject({
      code: 'bad-signature',
      message: expect.stringContaining('transparency log entry that came with it does not hold'),
    });
  });

  it('is refused where the entry is about something else', async () => {
    world.install(directories);
    await expect(verify(await cosign(Buffer.from('something else')))).rejects.toThrow(
      /transparency log entry that came with it does not hold/,
    );
  });

  it('is refused where the entry is malformed, with a trusted root or without', async () => {
    const broken = changed(await cosign(), /"logID":"[0-9a-f]+"/, '"logID":"none"');
    await expect(verify(broken)).rejects.toMatchObject({ code: 'bad-signature' });
  });
});
