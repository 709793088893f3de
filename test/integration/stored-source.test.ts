import { mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { FetchContext } from '../../src/fetch/context.ts';
import { copyImage } from '../../src/fetch/copying.ts';
import { importIntoStore } from '../../src/fetch/image-import.ts';
import { StoredSource } from '../../src/fetch/stored-source.ts';
import { type Digest, formatDigest } from '../../src/image/digest.ts';
import type { ImageRecord } from '../../src/image/image-record.ts';
import type { Store } from '../../src/store/store.ts';
import type { ManifestSignature } from '../../src/trust/manifest-signature.ts';
import { encodeSignature } from '../../src/trust/signature-encoding.ts';
import { needs, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { MemoryPlace } from '../unit/fetch/memory-place.ts';
import { wideLimits } from '../unit/store/image-archive.ts';
import { emptyStore } from './store-fixture.ts';

beforeEach((context) => needs(context, root));

const report: FetchContext['report'] = {
  info: () => undefined,
  debug: () => undefined,
  warn: () => undefined,
  transfer: () => ({ advance: () => undefined, done: () => undefined }),
};
const repository = { host: 'localhost', path: 'app' };

/** Imports a small tree as `localhost/app:1.0`. */
async function imported(store: Store): Promise<ImageRecord> {
  const rootfs = join(temporaryDirectory(), 'rootfs');
  mkdirSync(rootfs);
  writeFileSync(join(rootfs, 'app'), 'an app');
  for (const path of [join(rootfs, 'app'), rootfs]) utimesSync(path, 1, 1);
  const image = {
    platform: { os: 'linux', architecture: 'amd64' },
    entrypoint: ['/app'],
    environment: [],
    ports: [],
    volumes: [],
    labels: new Map(),
  };
  const context = { store, limits: wideLimits, report } as unknown as FetchContext;
  const layer = { source: rootfs, limits: wideLimits };
  return await importIntoStore({ layer, image }, { repository, tag: '1.0' }, context);
}

/** Keeps a signature with the image, as a fetch does. */
async function signed(
  store: Store,
  record: ImageRecord,
  content: Partial<ManifestSignature> & Pick<ManifestSignature, 'kind'>,
): Promise<ImageRecord> {
  const subject = record.oci?.manifest.digest;
  const signature = { ...content, subject, origin: 'a test' } as ManifestSignature;
  const bytes = encodeSignature(signature);
  const digest = await store.addBlob(bytes);
  const provenance: ImageRecord['provenance'] = {
    kind: 'sigstore-key',
    algorithm: 'Ed25519',
    fingerprint: 'f'.repeat(64),
    verifiedAt: '2026-01-01T00:00:00Z',
    name: 'localhost/app',
    rule: { scope: 'root' },
    keyPath: '/nowhere',
    keyDigest: '',
    keyStamp: '',
    signatureBlob: { ...digest, size: bytes.length },
  };
  const changed = { ...record, provenance };
  await store.updateImage(changed);
  return changed;
}

async function copyOut(store: Store, record: ImageRecord): Promise<MemoryPlace> {
  const source = await StoredSource.open(store, record);
  const destination = new MemoryPlace();
  const route = { source, destination, isLocal: true, report, abandon: () => undefined };
  await copyImage(await source.image(), { tag: '1.0', signatures: true, mayReplace: true }, route);
  return destination;
}

function manifestOf(record: ImageRecord): Digest {
  if (record.oci === undefined) throw new Error('the test needs an OCI image');
  return record.oci.manifest.digest;
}

describe('a stored image as a source', () => {
  it('is what was fetched, byte for byte', async () => {
    const store = emptyStore();
    const record = await imported(store);
    const destination = await copyOut(store, record);
    const { digest } = destination.found('1.0');
    expect(digest).toEqual(manifestOf(record));
    expect(destination.blobs.size).toBe(2);
    for (const layer of record.oci?.layers ?? []) {
      expect(await destination.hasBlob(layer.descriptor.digest)).toBe(true);
    }
  });

  it("brings the classic signature that it was believed by, under cosign's tag", async () => {
    const store = emptyStore();
    const record = await imported(store);
    const payload = Buffer.from('{"critical":{}}');
    const cosign = { kind: 'cosign', payload, signature: 'c2ln', bundle: '{}' } as const;
    const destination = await copyOut(store, await signed(store, record, cosign));
    const found = destination.found(`sha256-${manifestOf(record).hex}.sig`);
    const manifest = JSON.parse(Buffer.from(found.bytes).toString());
    expect(manifest.layers).toEqual([
      {
        mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json',
        digest: expect.any(String),
        size: payload.length,
        annotations: {
          'dev.cosignproject.cosign/signature': 'c2ln',
          'dev.sigstore.cosign/bundle': '{}',
        },
      },
    ]);
    expect(destination.blobs.get(manifest.layers[0].digest)).toEqual(payload);
  });

  it('brings a bundle as a referrer of the manifest', async () => {
    const store = emptyStore();
    const record = await imported(store);
    const mediaType = 'application/vnd.dev.sigstore.bundle.v0.3+json';
    const bytes = Buffer.from(JSON.stringify({ mediaType }));
    const destination = await copyOut(
      store,
      await signed(store, record, { kind: 'bundle', bytes }),
    );
    const [referrer] = await destination.referrers(manifestOf(record));
    const found = destination.found(referrer === undefined ? '' : formatDigest(referrer.digest));
    expect(JSON.parse(Buffer.from(found.bytes).toString())).toMatchObject({
      artifactType: mediaType,
      config: { mediaType: 'application/vnd.oci.empty.v1+json' },
      layers: [{ mediaType, size: bytes.length }],
      subject: { digest: formatDigest(manifestOf(record)) },
    });
  });

  it('says which signatures have no place elsewhere', async () => {
    const store = emptyStore();
    const record = await imported(store);
    const simple = { kind: 'simple-signing', bytes: Buffer.from('signed') } as const;
    const source = await StoredSource.open(store, await signed(store, record, simple));
    expect(source.omissions(await source.image())).toEqual([
      expect.stringContaining('simple signing'),
    ]);
    expect(await source.referrers(manifestOf(record))).toEqual([]);
  });

  it('refuses a blob that somebody changed in the store', async () => {
    const store = emptyStore();
    const record = await imported(store);
    const [layer] = record.oci?.layers ?? [];
    if (layer === undefined) throw new Error('the test needs a layer');
    writeFileSync(store.blobPath(layer.descriptor.digest), Buffer.alloc(layer.descriptor.size));
    await expect(copyOut(store, record)).rejects.toMatchObject({ code: 'store' });
  });

  it('is not an App Container image', async () => {
    const record = { name: 'example.com/app', labels: {} } as unknown as ImageRecord;
    await expect(StoredSource.open(emptyStore(), record)).rejects.toMatchObject({
      code: 'unsupported',
    });
  });
});

describe('an imported image', () => {
  it('is vouched for by nobody', async () => {
    const { provenance, name, labels } = await imported(emptyStore());
    expect(provenance).toMatchObject({ kind: 'unverified' });
    expect([name, labels['version']]).toEqual(['localhost/app', '1.0']);
  });

  it('takes back no verdict on the very same image', async () => {
    const store = emptyStore();
    const first = await imported(store);
    await signed(store, first, { kind: 'simple-signing', bytes: Buffer.from('x') });
    const again = await imported(store);
    expect(again.id).toBe(first.id);
    expect(again.provenance.kind).toBe('sigstore-key');
  });
});
