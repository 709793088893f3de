import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createAuthority } from '../../examples/quickstart/certificates.ts';
import { serveDirectory, startHttpsServer } from '../../examples/quickstart/https-server.ts';
import { secure } from '../../src/config/insecure.ts';
import { findSignatures } from '../../src/fetch/signature-discovery.ts';
import { parseDigest } from '../../src/image/digest.ts';
import { MEDIA_TYPES } from '../../src/image/oci-manifest.ts';
import { CosignKey, cosignProgram } from '../support/cosign.ts';
import { Notation, notationProgram } from '../support/notation.ts';
import {
  blobOf,
  descriptorOf,
  documentOf,
  imageOf,
  layerOf,
  type OciBlob,
} from '../support/oci-image.ts';
import { pushBlob, pushImage, pushManifest } from '../support/oci-push.ts';
import { registryProgram, startRegistry, type TestRegistry } from '../support/registry.ts';
import { needs, program } from '../support/requirements.ts';
import { storeSignature } from '../support/simple-signing.ts';
import { RegistryClient } from './registry-client.ts';

let registry: TestRegistry;
let client: RegistryClient;
let insecure = secure;
beforeAll(async () => {
  registry = await startRegistry();
});
afterAll(() => registry.close());
beforeEach((context) => {
  needs(context, program(registryProgram));
  client = new RegistryClient(registry.ca);
  insecure = secure;
});

const type = 'application/vnd.dev.cosign.simplesigning.v1+json';
let count = 0;

/** An image nobody has signed yet, in a repository of its own. */
async function pushed() {
  const image = imageOf([layerOf([{ name: 'f', content: String(count) }])]);
  const path = `team/app${count++}`;
  await pushImage(registry, path, '1.0', image);
  return { path, image, subject: parseDigest(image.root.digest) };
}

function find(path: string, digests: readonly OciBlob[], lookaside?: URL) {
  const name = `${registry.host}/${path}`;
  const candidates = digests.map(({ digest }) => ({ digest: parseDigest(digest) }));
  const debug = (line: string) => client.report.debug(line);
  return client.read(
    name,
    (source, { getter }) => findSignatures(source, name, candidates, { lookaside, getter, debug }),
    { insecure },
  );
}

/** Puts a manifest like cosign's classic one beside an image. */
async function putClassic(path: string, subject: OciBlob, payload: OciBlob, annotations: object) {
  const config = blobOf(MEDIA_TYPES.config, '{}');
  await pushBlob(registry, path, config);
  await pushBlob(registry, path, payload);
  const manifest = documentOf(MEDIA_TYPES.manifest, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    config: descriptorOf(config),
    layers: [{ ...descriptorOf(payload), annotations }],
  });
  await pushManifest(registry, path, manifest, `${subject.digest.replace(':', '-')}.sig`);
}

describe('the signatures beside an image', () => {
  it('are none where there are none', async () => {
    const { path, image } = await pushed();
    expect(await find(path, [image.root])).toEqual([]);
  });

  it('are found as cosign writes them, now and before', async (context) => {
    needs(context, program(cosignProgram));
    const { path, image, subject } = await pushed();
    const key = await CosignKey.generate(client.directory);
    const reference = `${registry.host}/${path}@${image.root.digest}`;
    await key.sign({ reference, registry }, 'classic');
    expect(await find(path, [image.root])).toMatchObject([{ kind: 'cosign', subject }]);
    await key.sign({ reference, registry }, 'bundle');
    expect(await find(path, [image.root])).toMatchObject([
      { kind: 'cosign', subject },
      { kind: 'bundle', subject },
    ]);
  }, 60_000);

  it('are found as notation writes them', async (context) => {
    needs(context, program(notationProgram));
    const { path, image, subject } = await pushed();
    const notation = await Notation.generate(client.directory);
    // To what is called localhost notation speaks plain HTTP.
    const reference = `127.0.0.1:${registry.port}/${path}@${image.root.digest}`;
    for (const envelope of ['jws', 'cose'] as const) {
      await notation.sign({ reference, registry }, { envelope });
    }
    const found = await find(path, [image.root]);
    expect(found).toMatchObject([
      { kind: 'notation', mediaType: 'application/jose+json', subject },
      { kind: 'notation', mediaType: 'application/cose', subject },
    ]);
  });

  it('are looked for beside an index and its manifest', async () => {
    const { path, image } = await pushed();
    const payload = blobOf(type, '{"critical":{}}');
    await putClassic(path, image.root, payload, {
      'dev.cosignproject.cosign/signature': 'c2ln',
      'dev.sigstore.cosign/bundle': '{}',
      'dev.sigstore.cosign/certificate': '',
    });
    const found = await find(path, [blobOf('x', 'an index'), image.root]);
    expect(found).toEqual([
      {
        kind: 'cosign',
        signature: 'c2ln',
        bundle: '{}',
        payload: payload.bytes,
        subject: parseDigest(image.root.digest),
        origin: `docker://${registry.host}/${path}:${image.root.digest.replace(':', '-')}.sig`,
      },
    ]);
  });

  it('that are too large, or have no signature, are passed over', async () => {
    const { path, image } = await pushed();
    const annotations = { 'dev.cosignproject.cosign/signature': 'c2ln' };
    await putClassic(path, image.root, blobOf(type, Buffer.alloc((1 << 20) + 1)), annotations);
    expect(await find(path, [image.root])).toEqual([]);
    expect(client.report.lines.at(-1)).toMatch(/passing over the signature .*it has 1048577 bytes/);
    await putClassic(path, image.root, blobOf(type, '{}'), {});
    expect(await find(path, [image.root])).toEqual([]);
  });

  it('are found in a lookaside store, numbered from one without a gap', async () => {
    const { path, image, subject } = await pushed();
    const store = join(client.directory, 'store');
    mkdirSync(store);
    for (const text of ['one', 'two']) {
      storeSignature(store, path, image.root.digest, Buffer.from(text));
    }
    const texts = async (lookaside: URL) =>
      (await find(path, [image.root], lookaside)).map((signature) => {
        expect(signature).toMatchObject({ kind: 'simple-signing', subject });
        return signature.kind === 'simple-signing' && Buffer.from(signature.bytes).toString();
      });
    expect(await texts(pathToFileURL(store))).toEqual(['one', 'two']);
    expect(await texts(pathToFileURL(join(store, 'nothing')))).toEqual([]);

    const identity = createAuthority('A stranger').issue(['localhost']);
    const server = await startHttpsServer(identity, serveDirectory(store));
    try {
      const base = new URL(`https://localhost:${server.port}/`);
      await expect(texts(base)).rejects.toThrow(/certificate is not trusted/);
      insecure = { ...secure, tls: true };
      expect(await texts(base)).toEqual(['one', 'two']);
    } finally {
      await server.close();
    }
  });

  it('that cannot be asked for are not absent', async () => {
    const { path, image } = await pushed();
    const nowhere = new URL('https://localhost:1/');
    await expect(find(path, [image.root], nowhere)).rejects.toThrow(/connection refused/);
  });
});
