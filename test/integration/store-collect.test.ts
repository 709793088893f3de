import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, it } from 'vitest';
import type { ImageRecord } from '../../src/image/image-record.ts';
import { parseReference } from '../../src/image/reference.ts';
import { namesIn } from '../../src/store/staging.ts';
import type { Store } from '../../src/store/store.ts';
import { needs, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { aciOf, manifestOf, wideLimits } from '../unit/store/image-archive.ts';
import { contentsOf, emptyStore, importImage } from './store-fixture.ts';

beforeEach((context) => needs(context, root));

const day = 24 * 3600;
const everything = { inUse: new Set<string>(), graceSeconds: 0 };

async function put(store: Store, name: string, dependencies: string[] = []): Promise<ImageRecord> {
  const manifest = manifestOf(name, {
    dependencies: dependencies.map((imageName) => ({ imageName })),
  });
  return importImage(store, aciOf([{ name: 'rootfs/file', content: name }], manifest));
}

function lastUsed(store: Store, record: ImageRecord, secondsAgo: number): void {
  const time = Date.now() / 1000 - secondsAgo;
  utimesSync(store.layout.record(record.id), time, time);
}

const render = async (store: Store, record: ImageRecord): Promise<string> => {
  const [tree = ''] = await store.layerPaths(record, ({ imageName }) =>
    store.findImage(parseReference(imageName)),
  );
  return tree;
};

describe('removing an image', () => {
  it('removes its record, blob and tree', async () => {
    const store = emptyStore();
    const record = await put(store, 'example.com/a');
    await store.removeImage(record.id);
    expect(contentsOf(store)).toEqual([]);
  });

  it('leaves other images as they are', async () => {
    const store = emptyStore();
    const record = await put(store, 'example.com/a');
    const other = await put(store, 'example.com/b');
    await store.removeImage(record.id);
    await store.verifyImage(other);
    expect(store.listImages()).toEqual([other]);
  });

  it('leaves the tree while a pod uses it, until a collection finds it unused', async () => {
    const store = emptyStore();
    const record = await put(store, 'example.com/a');
    const inUse = new Set([record.id]);
    await store.removeImage(record.id, inUse);
    expect(store.listImages()).toEqual([]);
    const tree = store.layout.layer(record.id);
    expect(existsSync(tree)).toBe(true);
    await store.imageGc({ inUse, graceSeconds: 0 });
    expect(existsSync(tree)).toBe(true);
    const summary = await store.imageGc(everything);
    expect(summary.layers).toEqual([record.id]);
    expect(existsSync(tree)).toBe(false);
  });

  it('removes what was rendered with it', async () => {
    const store = emptyStore();
    await put(store, 'example.com/base');
    const record = await put(store, 'example.com/a', ['example.com/base']);
    const tree = await render(store, record);
    await store.removeImage(record.id);
    expect(existsSync(tree)).toBe(false);
  });

  it('works when the record is damaged', async () => {
    const store = emptyStore();
    const record = await put(store, 'example.com/a');
    writeFileSync(store.layout.record(record.id), '');
    await store.removeImage(record.id);
    expect(contentsOf(store)).toEqual([]);
  });

  it('of an image that is not there says so', async () => {
    const store = emptyStore();
    await expect(store.removeImage(`sha512-${'0'.repeat(128)}`)).rejects.toMatchObject({
      code: 'not-found',
    });
  });
});

describe('collecting images', () => {
  it('removes those no pod uses and nobody used for the grace period', async () => {
    const store = emptyStore();
    const old = await put(store, 'example.com/old');
    const used = await put(store, 'example.com/used');
    const recent = await put(store, 'example.com/recent');
    lastUsed(store, old, 2 * day);
    lastUsed(store, used, 2 * day);
    lastUsed(store, recent, 3600);
    const options = { inUse: new Set([used.id]), graceSeconds: day };
    const tried = await store.imageGc({ ...options, dryRun: true });
    expect(tried.images).toEqual([{ id: old.id, name: 'example.com/old' }]);
    expect(store.listImages()).toHaveLength(3);
    const summary = await store.imageGc(options);
    expect(summary).toEqual({ ...tried, layers: [old.id] });
    expect(store.listImages().map(({ name }) => name)).toEqual([used.name, recent.name]);
    expect(readdirSync(store.layout.layers).sort()).toEqual([used.id, recent.id].sort());
  });

  it('removes blobs no record names, such as the same image compressed otherwise', async () => {
    const store = emptyStore();
    const bytes = aciOf([]);
    const plain = await importImage(store, bytes);
    const packed = await importImage(store, gzipSync(bytes));
    const summary = await store.imageGc({ ...everything, graceSeconds: day });
    expect(summary.leftovers).toEqual([`blobs/sha512/${plain.blob.hex}`]);
    await store.verifyImage(packed);
  });

  it('removes renderings nobody used lately', async () => {
    const store = emptyStore();
    await put(store, 'example.com/base');
    const record = await put(store, 'example.com/a', ['example.com/base']);
    const tree = await render(store, record);
    const note = `${tree}.json`;
    await store.imageGc({ inUse: new Set(), graceSeconds: day });
    expect(existsSync(tree)).toBe(true);
    utimesSync(note, 1000, 1000);
    await store.imageGc({ inUse: new Set([record.id]), graceSeconds: day });
    expect(existsSync(tree)).toBe(true);
    await store.imageGc({ inUse: new Set(), graceSeconds: day });
    expect([existsSync(tree), existsSync(note)]).toEqual([false, false]);
    expect(await render(store, record)).toBe(tree);
  });

  it('tells damaged records, and then keeps every blob', async () => {
    const store = emptyStore();
    const bad = await put(store, 'example.com/bad');
    const good = await put(store, 'example.com/good');
    writeFileSync(store.layout.record(bad.id), '{}');
    const summary = await store.imageGc(everything);
    expect(summary.images.map(({ id }) => id)).toEqual([good.id]);
    expect(summary.failures).toMatchObject([{ id: bad.id, error: { code: 'store' } }]);
    expect(existsSync(store.layout.blob(bad.blob))).toBe(true);
    expect(existsSync(store.layout.layer(bad.id))).toBe(true);
  });

  it('in a store that does not exist finds nothing', async () => {
    expect(await emptyStore().imageGc(everything)).toEqual({
      images: [],
      layers: [],
      leftovers: [],
      failures: [],
    });
  });
});

describe('work broken off', () => {
  it('is left alone while its process lives, and collected when that was killed', async () => {
    const store = emptyStore();
    const module = new URL('../../src/store/store.ts', import.meta.url).href;
    const child = spawn(process.execPath, [
      '--input-type=module',
      '-e',
      `const { Store } = await import('${module}');
       const ingest = await Store.open('${store.dir}').beginIngest(${JSON.stringify(wideLimits)});
       await ingest.write(Buffer.from('${aciOf([]).subarray(0, 1024).toString('base64')}', 'base64'));
       console.log('receiving');
       setInterval(() => {}, 1000);`,
    ]);
    await once(child.stdout, 'data');
    expect((await store.imageGc(everything)).leftovers).toEqual([]);
    expect(readdirSync(store.layout.staging)).toHaveLength(1);
    child.kill('SIGKILL');
    await once(child, 'exit');
    const { leftovers } = await store.imageGc(everything);
    expect(leftovers).toEqual([expect.stringMatching(/^staging\/[-0-9a-f]{36}$/)]);
    expect(readdirSync(store.layout.staging)).toEqual([]);
  });

  it('at any moment leaves the whole image or nothing that stays', async () => {
    const store = emptyStore();
    const image = join(temporaryDirectory(), 'image.aci');
    const files = Array.from({ length: 400 }, (_, i) => ({
      name: `rootfs/d${i % 20}/${i}`,
      content: String(i).repeat(2000),
    }));
    writeFileSync(image, gzipSync(aciOf(files)));
    for (let delay = 60; delay < 400; delay += 35) {
      await killedImport(store, image, delay);
      const records = store.listImages();
      for (const record of records) await store.verifyImage(record);
      await store.imageGc({ inUse: new Set(), graceSeconds: day });
      expect(readdirSync(store.layout.staging)).toEqual([]);
      expect(namesIn(store.layout.layers)).toEqual(records.map(({ id }) => id));
      for (const { id } of records) await store.removeImage(id);
    }
    await killedImport(store, image, 60_000);
    expect(store.listImages()).toHaveLength(1);
  });

  it('between tree and record leaves a tree and a blob that are collected', async () => {
    const store = emptyStore();
    const kept = await put(store, 'example.com/kept');
    const record = await put(store, 'example.com/a');
    // A crash before the record was renamed into its place.
    const path = store.layout.record(record.id);
    const half = join(store.layout.images, `.new-1-${record.id}.json`);
    writeFileSync(half, readFileSync(path).subarray(0, 100));
    utimesSync(half, 1000, 1000);
    writeFileSync(join(store.layout.images, `.new-2-${record.id}.json`), 'being written');
    unlinkSync(path);
    const summary = await store.imageGc({ inUse: new Set(), graceSeconds: day });
    expect(summary.layers).toEqual([record.id]);
    expect(summary.leftovers).toEqual([
      `blobs/sha512/${record.blob.hex}`,
      `images/.new-1-${record.id}.json`,
    ]);
    expect(readdirSync(store.layout.images)).toContain(`.new-2-${record.id}.json`);
    await store.verifyImage(kept);
  });

  it('while removing a tree leaves it in staging', async () => {
    const store = emptyStore();
    mkdirSync(join(store.layout.staging, 'abandoned/removed/deep'), { recursive: true });
    const { leftovers } = await store.imageGc(everything);
    expect(leftovers).toEqual(['staging/abandoned']);
    expect(readdirSync(store.layout.staging)).toEqual([]);
  });
});

/** Imports an image in a process of its own, which is killed after so many milliseconds. */
async function killedImport(store: Store, image: string, delay: number): Promise<void> {
  const module = new URL('../../src/store/store.ts', import.meta.url).href;
  // A file, for what unpacks is a thread, which is started with this process's own options.
  const script = join(temporaryDirectory(), 'script.mjs');
  writeFileSync(
    script,
    `import { readFileSync } from 'node:fs';
     const { Store } = await import('${module}');
     const ingest = await Store.open('${store.dir}').beginIngest(${JSON.stringify(wideLimits)});
     console.log('receiving');
     await ingest.write(readFileSync('${image}'));
     const staged = await ingest.finish();
     await staged.commit({ source: {}, provenance: { kind: 'unverified', reason: 'a test' } });`,
  );
  const child = spawn(process.execPath, [script]);
  const ended = once(child, 'exit');
  await Promise.race([once(child.stdout, 'data'), ended]);
  await Promise.race([new Promise((resolve) => setTimeout(resolve, delay)), ended]);
  child.kill('SIGKILL');
  await ended;
}
