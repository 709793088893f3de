import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { formatDigest } from '../../src/image/digest.ts';
import type { ImageRecord } from '../../src/image/image-record.ts';
import type { VerifiedProvenance } from '../../src/image/provenance.ts';
import { parseReference } from '../../src/image/reference.ts';
import type { Store } from '../../src/store/store.ts';
import { needs, program, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { type Member, wideLimits } from '../unit/store/image-archive.ts';
import { contentsOf, emptyStore } from './store-fixture.ts';
import {
  imageOf,
  importOci,
  layerOf,
  listed,
  type MadeLayer,
  mounted,
  receive,
  sha256,
} from './store-oci-fixture.ts';

beforeEach((context) => needs(context, root));

const day = 24 * 3600;
const dir = (name: string, mode = 0o755): Member => ({ name, typeflag: '5', mode });
const file = (name: string, content = name): Member => ({ name, content });
const layers = (...names: string[]): MadeLayer[] => names.map((name) => layerOf([file(name)]));
const treesIn = (store: Store): string[] =>
  readdirSync(store.layout.layers).filter((name) => !name.endsWith('.json'));

describe('a stored OCI image', () => {
  it('is a record, every blob byte for byte, and a tree for each layer', async () => {
    const store = emptyStore();
    const made = layers('a', 'b');
    const record = await importOci(store, made);
    const { documents, facts } = imageOf(made);
    expect(record).toMatchObject({
      id: `sha256-${facts.manifest.digest.hex}`,
      name: 'registry.example/app',
      blob: { ...facts.manifest.digest, size: facts.manifest.size },
    });
    for (const { descriptor, bytes } of [...documents, ...made]) {
      expect(readFileSync(store.blobPath(descriptor.digest)).equals(bytes)).toBe(true);
    }
    expect(await store.layerPaths(record, () => undefined)).toEqual(
      made.map(({ diffId }) => join(store.layout.layers, `diff-sha256-${diffId.hex}`)).reverse(),
    );
    expect(store.getImage(record.id)).toEqual(record);
    expect(readdirSync(store.layout.staging)).toEqual([]);
    await store.verifyImage(record);
  });

  it('may have the same layer twice, which overlayfs is given once', async () => {
    const store = emptyStore();
    const [a, b] = layers('a', 'b');
    if (a === undefined || b === undefined) throw new Error('two layers');
    const record = await importOci(store, [a, b, a]);
    expect(await store.layerPaths(record, () => undefined)).toHaveLength(2);
    const lines = await mounted(store, record, temporaryDirectory());
    expect(lines.map((line) => line.split(' ')[0])).toEqual(['a', 'b']);
    await store.verifyImage(record);
  });

  it('shares layers: a second image adds only what it has more', async () => {
    const store = emptyStore();
    const shared = layers(...Array.from({ length: 11 }, (_, i) => `shared${i}`));
    await importOci(store, [...shared, ...layers('first')], { name: 'r.example/a' });
    const before = treesIn(store);
    const received: string[] = [];
    const ingest = await store.beginOciIngest(wideLimits);
    const second = [...shared, ...layers('second')];
    for (const layer of second) {
      if (ingest.hasLayer(layer)) continue;
      received.push(formatDigest(layer.descriptor.digest));
      await receive(ingest, layer);
    }
    const { documents, facts } = imageOf(second, 'r.example/b');
    for (const { descriptor, bytes } of documents) ingest.addDocument(descriptor, bytes);
    await ingest.commit(facts);
    expect(received).toHaveLength(1);
    expect(treesIn(store)).toHaveLength(before.length + 1);
  });

  it('is received several layers at once', async () => {
    const store = emptyStore();
    const made = layers('a', 'b', 'c', 'd');
    const ingest = await store.beginOciIngest(wideLimits);
    const { documents, facts } = imageOf(made);
    for (const { descriptor, bytes } of documents) ingest.addDocument(descriptor, bytes);
    await Promise.all(made.map((layer) => receive(ingest, layer)));
    await store.verifyImage(await ingest.commit(facts));
  });

  it('takes a layer from the first byte again after a restart', async () => {
    const store = emptyStore();
    const [layer] = layers('a');
    if (layer === undefined) throw new Error('one layer');
    const ingest = await store.beginOciIngest(wideLimits);
    const intake = ingest.openLayer(layer);
    await intake.write(Buffer.from('not this'));
    await intake.restart();
    await intake.write(layer.bytes);
    await intake.finish();
    const { documents, facts } = imageOf([layer]);
    for (const { descriptor, bytes } of documents) ingest.addDocument(descriptor, bytes);
    await store.verifyImage(await ingest.commit(facts));
  });
});

describe('an OCI image that is not what it says', () => {
  async function refusal(layer: MadeLayer): Promise<string> {
    const store = emptyStore();
    const failure: Error = await importOci(store, [layer]).then(
      () => new Error('it was taken'),
      (error) => error,
    );
    expect(failure).toMatchObject({ code: 'invalid-archive' });
    expect(contentsOf(store)).toEqual([]);
    return failure.message;
  }
  const [good] = layers('a');
  if (good === undefined) throw new Error('one layer');
  const { descriptor, bytes, diffId } = good;

  it('is refused for the digest of a layer', async () => {
    const digest = sha256(Buffer.from('other'));
    expect(await refusal({ diffId, bytes, descriptor: { ...descriptor, digest } })).toBe(
      `layer ${formatDigest(digest)}: what came has the digest ${formatDigest(descriptor.digest)}`,
    );
  });

  it('is refused for the size of a layer', async () => {
    const of = (size: number) => ({ diffId, bytes, descriptor: { ...descriptor, size } });
    expect(await refusal(of(bytes.length - 1))).toContain('more bytes come than the');
    expect(await refusal(of(bytes.length + 1))).toContain(`it has ${bytes.length} bytes, not the`);
  });

  it('is refused for a diff id', async () => {
    const other = sha256(Buffer.from('other'));
    expect(await refusal({ descriptor, bytes, diffId: other })).toContain(
      'but the image configuration says sha256:',
    );
  });

  it('is refused for a diff id that another stored layer has', async () => {
    const store = emptyStore();
    const [a, b] = layers('x', 'y');
    if (a === undefined || b === undefined) throw new Error('two layers');
    await importOci(store, [a, b]);
    const ingest = await store.beginOciIngest(wideLimits);
    expect(ingest.hasLayer({ descriptor: a.descriptor, diffId: b.diffId })).toBe(false);
    await ingest.abort();
  });

  it('is refused for a document', async () => {
    const store = emptyStore();
    const ingest = await store.beginOciIngest(wideLimits);
    const content = Buffer.from('{}');
    const digest = sha256(content);
    expect(() => ingest.addDocument({ digest, size: 3 }, content)).toThrow('2 bytes, not the 3');
    expect(() => ingest.addDocument({ digest, size: 2 }, Buffer.from('[]'))).toThrow(
      'has the digest',
    );
    await ingest.abort();
    await ingest.abort();
    expect(contentsOf(store)).toEqual([]);
  });

  it('is busy work where a stored layer was removed meanwhile', async () => {
    const store = emptyStore();
    const made = layers('a');
    const record = await importOci(store, made, { name: 'r.example/a' });
    const ingest = await store.beginOciIngest(wideLimits);
    const { documents, facts } = imageOf(made, 'r.example/b');
    for (const document of documents) ingest.addDocument(document.descriptor, document.bytes);
    expect(made.every((layer) => ingest.hasLayer(layer))).toBe(true);
    await store.removeImage(record.id);
    await expect(ingest.commit(facts)).rejects.toMatchObject({ code: 'busy' });
    expect(contentsOf(store)).toEqual([]);
    // Whoever goes on with the record still learns where the trees would be.
    expect(await store.layerPaths(record, () => undefined)).toHaveLength(1);
  });
});

describe('the names of an OCI image', () => {
  it('are as many as it was fetched under, and each finds it as itself', async () => {
    const store = emptyStore();
    const made = layers('a');
    const first = await importOci(store, made, { name: 'one.example/app', version: '1' });
    const second = await importOci(store, made, { name: 'two.example/app', version: '2' });
    expect(second.id).toBe(first.id);
    expect(store.listImages()).toHaveLength(1);
    expect(store.getImage(first.id)).toMatchObject({
      name: 'two.example/app',
      aliases: [{ name: 'one.example/app' }],
    });
    const found = store.findImage(parseReference('docker://one.example/app:1'));
    expect(found).toMatchObject({
      name: 'one.example/app',
      labels: { version: '1' },
      manifest: { name: 'one.example/app' },
      aliases: [{ name: 'two.example/app' }],
    });
    expect(found?.manifest.labels).toContainEqual({ name: 'version', value: '1' });
    expect(store.findImage(parseReference('one.example/app:1'))?.name).toBe('one.example/app');
    expect(store.findImage(parseReference('docker://one.example/app:2'))).toBeUndefined();
  });

  it('stay when one of them is renewed, fetched again, or written as it was found', async () => {
    const store = emptyStore();
    const made = layers('a');
    await importOci(store, made, { name: 'one.example/app' });
    await importOci(store, made, { name: 'two.example/app' });
    const again = await importOci(store, made, { name: 'one.example/app' });
    expect(again.aliases?.map(({ name }) => name)).toEqual(['two.example/app']);
    const found = store.findImage(parseReference('docker://two.example/app:1'));
    if (found !== undefined) await store.updateImage({ ...found, source: { etag: '"x"' } });
    const names = ['one', 'two'].map(
      (host) => store.findImage(parseReference(`docker://${host}.example/app:1`))?.source,
    );
    expect(names).toEqual([{}, { etag: '"x"' }]);
  });

  it('stay when another is added while one is renewed, and none comes back', async () => {
    const store = emptyStore();
    const made = layers('a');
    const before = await importOci(store, made, { name: 'one.example/app' });
    await importOci(store, made, { name: 'two.example/app' });
    expect(await store.updateImage({ ...before, source: { etag: '"x"' } })).toBe(true);
    const after = store.getImage(before.id);
    expect(after).toMatchObject({ name: 'one.example/app', source: { etag: '"x"' } });
    expect(after?.aliases?.map(({ name }) => name)).toEqual(['two.example/app']);
    await store.removeImage(before.id);
    expect(await store.updateImage(before)).toBe(false);
    expect(contentsOf(store)).toEqual([]);
  });

  it('can be removed one by one, and the image goes with the last', async () => {
    const store = emptyStore();
    const made = layers('a');
    const signature = Buffer.from('a signature');
    const { id } = await importSigned(store, made, signature);
    await importOci(store, made, { name: 'two.example/app' });
    utimesSync(store.layout.record(id), 1000, 1000);
    const find = (host: string, name: string) =>
      store.findImage(parseReference(`docker://${host}.example/${name}:1`));
    const [signed, two] = [find('r', 'signed'), find('two', 'app')];
    if (signed === undefined || two === undefined) throw new Error('two names');
    expect(await store.removeName(id, signed)).toBe(false);
    expect(find('r', 'signed')).toBeUndefined();
    expect(store.hasBlob(sha256(signature))).toBe(false);
    expect(store.getImage(id)).toMatchObject({
      name: 'two.example/app',
      manifest: { name: 'two.example/app' },
    });
    expect(store.getImage(id)).not.toHaveProperty('aliases');
    expect(store.lastUsed(two).getTime()).toBe(1_000_000);
    await Promise.all(store.listImages().map((record) => store.verifyImage(record)));
    await expect(store.removeName(id, signed)).rejects.toMatchObject({ code: 'not-found' });
    expect(await store.removeName(id, two)).toBe(true);
    expect(contentsOf(store)).toEqual([]);
  });

  it('with a digest mean only the image of that digest', async () => {
    const store = emptyStore();
    const { id } = await importOci(store, layers('a'), { name: 'one.example/app' });
    const digest = id.replace('-', ':');
    expect(store.findImage(parseReference(`docker://one.example/app@${digest}`))?.id).toBe(id);
    const other = formatDigest(sha256(Buffer.from('other')));
    expect(store.findImage(parseReference(`docker://one.example/app:1@${other}`))).toBeUndefined();
    expect(store.findImage(parseReference(id.slice(0, 20)))?.id).toBe(id);
  });
});

describe('removing an OCI image', () => {
  it('removes its blobs and trees, variants and notes included', async () => {
    const store = emptyStore();
    const made = [layerOf([dir('tmp/', 0o1777)]), layerOf([file('tmp/x')])];
    const record = await importOci(store, made);
    await store.removeImage(record.id);
    expect(contentsOf(store)).toEqual([]);
  });

  it('keeps what other images share, and what vouches for any of its names', async () => {
    const store = emptyStore();
    const [shared, own, other] = layers('shared', 'own', 'other');
    if (!shared || !own || !other) throw new Error('three layers');
    const first = await importOci(store, [shared, own], { name: 'r.example/a' });
    const signature = Buffer.from('a signature');
    const kept = await importSigned(store, [shared, other], signature);
    await importOci(store, [shared, other], { name: 'r.example/alias' });
    await store.removeImage(first.id);
    expect(store.hasBlob(own.descriptor.digest)).toBe(false);
    expect(store.hasBlob(sha256(signature))).toBe(true);
    await store.imageGc({ inUse: new Set(), graceSeconds: day });
    expect(treesIn(store)).toHaveLength(2);
    await store.verifyImage(kept);
  });

  it('keeps the trees that pods are made of until no pod is left', async () => {
    const store = emptyStore();
    const record = await importOci(store, layers('a'));
    const tree = record.oci?.layers[0]?.tree ?? '';
    const inUse = new Set([record.id, tree]);
    await store.removeImage(record.id, inUse);
    expect(treesIn(store)).toEqual([tree]);
    await store.imageGc({ inUse, graceSeconds: 0 });
    expect(treesIn(store)).toEqual([tree]);
    await store.imageGc({ inUse: new Set(), graceSeconds: 0 });
    expect(contentsOf(store)).toEqual([]);
  });

  it('removes no tree while a record is damaged', async () => {
    const store = emptyStore();
    const record = await importOci(store, layers('a'));
    writeFileSync(store.layout.record(record.id), '{');
    await store.imageGc({ inUse: new Set(), graceSeconds: 0 });
    expect(treesIn(store)).toHaveLength(1);
  });
});

describe('checking an OCI image', () => {
  it.each<[string, (store: Store, record: ImageRecord) => void, RegExp]>([
    [
      'a changed file',
      (store, { oci }) =>
        writeFileSync(join(store.layout.layer(oci?.layers[1]?.tree ?? ''), 'tmp/x'), 'changed'),
      /\/tmp\/x was changed|\/tmp\/x has other content/,
    ],
    [
      'a missing tree',
      (store, { oci }) =>
        rmSync(store.layout.layer(oci?.layers[0]?.tree ?? ''), { recursive: true }),
      /is missing/,
    ],
    [
      'a changed blob',
      (store, { oci }) => {
        if (oci !== undefined) writeFileSync(store.blobPath(oci.config.digest), 'changed');
      },
      /the blob .* is not what was stored/,
    ],
    [
      'a missing blob',
      (store, { oci }) => {
        if (oci !== undefined) rmSync(store.blobPath(oci.config.digest));
      },
      /has no blob sha256:/,
    ],
  ])('finds %s', async (_, change, why) => {
    const store = emptyStore();
    const made = [layerOf([dir('tmp/', 0o1777)]), layerOf([file('tmp/x')])];
    const record = await importOci(store, made);
    await store.verifyImage(record);
    change(store, record);
    await expect(store.verifyImage(record)).rejects.toMatchObject({ code: 'store' });
    await expect(store.verifyImage(record)).rejects.toThrow(why);
    expect(readdirSync(store.layout.staging)).toEqual([]);
  });
});

describe('a layer received again', () => {
  it('replaces a tree that somebody changed, and its variants', async () => {
    const store = emptyStore();
    const made = [layerOf([dir('tmp/', 0o1777)]), layerOf([file('tmp/x')])];
    const record = await importOci(store, made);
    writeFileSync(join(store.layout.layer(record.oci?.layers[1]?.tree ?? ''), 'tmp/x'), 'changed');
    const ingest = await store.beginOciIngest(wideLimits);
    const { documents, facts } = imageOf(made);
    for (const { descriptor, bytes } of documents) ingest.addDocument(descriptor, bytes);
    for (const layer of made) await receive(ingest, layer);
    await store.verifyImage(await ingest.commit(facts));
  });
});

describe('the root of an OCI image', () => {
  const made = (): MadeLayer[] => [
    layerOf([
      dir('./'),
      dir('d/', 0o750),
      file('d/a'),
      file('d/b'),
      dir('tmp/', 0o1777),
      file('f'),
    ]),
    layerOf([file('d/.wh.a', ''), file('tmp/x'), { name: 'h', typeflag: '1', linkName: 'tmp/x' }]),
    layerOf([
      file('.wh.f', ''),
      { name: 'l', typeflag: '2', linkName: 'd/b' },
      dir('tmp/'),
      file('tmp/.wh..wh..opq', ''),
    ]),
  ];

  it('is extracted as the kernel would show it, without marks of overlayfs', async () => {
    const store = emptyStore();
    const record = await importOci(store, made());
    const out = join(temporaryDirectory(), 'out');
    await store.extractImage(record, out, { overwrite: false, rootfsOnly: false });
    const expected = await mounted(store, record, temporaryDirectory());
    expect(listed(join(out, 'rootfs'))).toEqual(expected);
    expect(JSON.parse(readFileSync(join(out, 'manifest'), 'utf8'))).toMatchObject({
      acKind: 'ImageManifest',
      name: 'registry.example/app',
    });
    const rendered = join(temporaryDirectory(), 'out');
    const dependencies = () => undefined;
    await store.renderImage(record, rendered, { overwrite: false, rootfsOnly: true, dependencies });
    expect(listed(rendered)).toEqual(expected);
  });

  it('is what umoci unpacks', async (context) => {
    needs(context, program('umoci'));
    const store = emptyStore();
    const record = await importOci(store, made());
    const work = temporaryDirectory();
    const layout = await exported(store, record, work);
    mkdirSync(join(work, 'layout'));
    execFileSync('tar', ['-C', join(work, 'layout'), '-xf', layout]);
    execFileSync(
      'umoci',
      ['unpack', '--image', `${work}/layout:registry.example/app:1`, `${work}/bundle`],
      {
        stdio: 'pipe',
      },
    );
    expect(await mounted(store, record, temporaryDirectory())).toEqual(
      listed(`${work}/bundle/rootfs`),
    );
  });
});

describe('an exported OCI image', () => {
  it('is an archive that skopeo reads, the same bytes each time', async (context) => {
    needs(context, program('skopeo'));
    const store = emptyStore();
    const record = await importOci(store, layers('a', 'b'));
    const work = temporaryDirectory();
    const path = await exported(store, record, work);
    const inspected = execFileSync('skopeo', [
      'inspect',
      `oci-archive:${path}:registry.example/app:1`,
    ]);
    expect(JSON.parse(inspected.toString())).toMatchObject({ Digest: record.id.replace('-', ':') });
    const first = readFileSync(path);
    await expect(store.exportImage(record, path, { overwrite: false })).rejects.toThrow(
      'output OCI archive file exists (try --overwrite)',
    );
    await store.exportImage(record, path, { overwrite: true });
    expect(readFileSync(path).equals(first)).toBe(true);
  });

  it('is not written when a blob was changed', async () => {
    const store = emptyStore();
    const record = await importOci(store, layers('a'));
    const digest = record.oci?.layers[0]?.descriptor.digest;
    if (digest !== undefined) {
      const size = statSync(store.blobPath(digest)).size;
      writeFileSync(store.blobPath(digest), Buffer.alloc(size));
    }
    const path = join(temporaryDirectory(), 'out.tar');
    await expect(store.exportImage(record, path, { overwrite: false })).rejects.toMatchObject({
      code: 'store',
    });
    expect(existsSync(path)).toBe(false);
  });
});

describe('a blob', () => {
  it('is added, found, and read with its digest checked', async () => {
    const store = emptyStore();
    const digest = await store.addBlob(Buffer.from('content'));
    expect(store.hasBlob(digest)).toBe(true);
    const read = async (): Promise<string> => {
      let text = '';
      for await (const piece of store.openBlob(digest)) text += Buffer.from(piece).toString();
      return text;
    };
    expect(await read()).toBe('content');
    writeFileSync(store.blobPath(digest), 'other');
    await expect(read()).rejects.toMatchObject({ code: 'store' });
    rmSync(store.blobPath(digest));
    await expect(read()).rejects.toMatchObject({ code: 'not-found' });
  });
});

async function exported(store: Store, record: ImageRecord, work: string): Promise<string> {
  const path = join(work, 'image.tar');
  await store.exportImage(record, path, { overwrite: false });
  return path;
}

/** An image under a name that a signature vouches for, which is kept among the blobs. */
async function importSigned(
  store: Store,
  made: readonly MadeLayer[],
  signature: Buffer,
): Promise<ImageRecord> {
  const signatureBlob = { ...sha256(signature), size: signature.length };
  const provenance: VerifiedProvenance = {
    kind: 'sigstore-key',
    algorithm: 'Ed25519',
    fingerprint: 'ab',
    verifiedAt: '2026-01-01T00:00:00Z',
    name: 'r.example/signed',
    rule: { scope: 'root' },
    keyPath: '/key',
    keyDigest: '',
    keyStamp: '',
    signatureBlob,
  };
  const ingest = await store.beginOciIngest(wideLimits);
  const { documents, facts } = imageOf(made, 'r.example/signed', '1', provenance);
  for (const { descriptor, bytes } of documents) ingest.addDocument(descriptor, bytes);
  ingest.addDocument({ digest: sha256(signature), size: signature.length }, signature);
  for (const layer of made) if (!ingest.hasLayer(layer)) await receive(ingest, layer);
  return ingest.commit(facts);
}
