import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, it } from 'vitest';
import type { ImageRecord } from '../../src/image/image-record.ts';
import { parseReference } from '../../src/image/reference.ts';
import { Store } from '../../src/store/store.ts';
import { needs, root } from '../support/requirements.ts';
import { aciOf, manifestOf, wideLimits } from '../unit/store/image-archive.ts';
import { contentsOf, emptyStore, importImage, pathsBelow, stage } from './store-fixture.ts';

beforeEach((context) => needs(context, root));

const unverified = { source: {}, provenance: { kind: 'unverified', reason: 'a test' } } as const;
const image = (name: string, labels: Record<string, string> = {}, content = name): Buffer =>
  aciOf(
    [{ name: 'rootfs/file', content }],
    manifestOf(name, {
      labels: Object.entries(labels).map(([label, value]) => ({ name: label, value })),
    }),
  );

describe('a stored image', () => {
  it('is a record, a read-only blob byte for byte, and a tree', async () => {
    const store = emptyStore();
    const bytes = gzipSync(image('example.com/a', { version: '1' }));
    const source = { url: 'https://example.com/a.aci', etag: '"x"' };
    const record = await importImage(store, bytes, source);
    const blob = store.layout.blob(record.blob);
    expect(readFileSync(blob).equals(bytes)).toBe(true);
    expect(statSync(blob).mode & 0o777).toBe(0o440);
    expect(record).toMatchObject({
      name: 'example.com/a',
      labels: { version: '1' },
      source,
      blob: { algorithm: 'sha512', size: bytes.length },
      provenance: { kind: 'unverified' },
    });
    expect(Store.open(store.dir).getImage(record.id)).toEqual(record);
    expect(readFileSync(join(store.layout.layer(record.id), 'file'), 'utf8')).toBe('example.com/a');
    expect(readdirSync(store.layout.staging)).toEqual([]);
  });

  it('arrives in writes of any size, larger ones than what may be under way included', async () => {
    const bytes = image('example.com/large', {}, 'content '.repeat(1 << 20));
    const ingest = await emptyStore().beginIngest(wideLimits);
    await ingest.write(bytes);
    const staged = await ingest.finish();
    expect(staged.blob.size).toBe(bytes.length);
    await staged.discard();
  });

  it('is closed to everybody but root and its group', async () => {
    const store = emptyStore();
    await importImage(store, image('example.com/a'));
    for (const folder of [
      store.dir,
      ...['images', 'layers', 'blobs'].map((f) => join(store.dir, f)),
    ]) {
      expect(statSync(folder).mode & 0o007).toBe(0);
    }
  });

  it('is not there before it is committed, and nothing stays when it is discarded', async () => {
    const store = emptyStore();
    const staged = await stage(store, image('example.com/a'));
    expect(store.listImages()).toEqual([]);
    expect(readFileSync(staged.blobPath).length).toBe(staged.blob.size);
    await staged.discard();
    await staged.discard();
    expect(contentsOf(store)).toEqual([]);
  });

  it('leaves nothing when receiving it is given up', async () => {
    const store = emptyStore();
    const ingest = await store.beginIngest(wideLimits);
    await ingest.write(image('example.com/a').subarray(0, 700));
    await ingest.abort();
    await ingest.abort();
    expect(contentsOf(store)).toEqual([]);
  });

  it('tells a writer soon that the image is refused', async () => {
    const store = emptyStore();
    const ingest = await store.beginIngest(wideLimits);
    const bad = aciOf([{ name: 'etc/passwd', content: 'x' }]);
    await ingest.write(Buffer.concat([bad, Buffer.alloc(300_000)]));
    const endless = async (): Promise<void> => {
      for (let i = 0; i < 2000; i++) {
        await ingest.write(Buffer.alloc(100_000));
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    };
    await expect(endless()).rejects.toMatchObject({ code: 'invalid-archive' });
    await ingest.abort();
    expect(contentsOf(store)).toEqual([]);
  });

  it('takes chunks of any size', async () => {
    const store = emptyStore();
    const bytes = image('example.com/a', {}, 'x'.repeat(2_000_000));
    const whole = await store.beginIngest(wideLimits);
    await whole.write(bytes);
    const first = await whole.finish();
    const small = await store.beginIngest(wideLimits);
    for (let at = 0; at < bytes.length; at += 333) await small.write(bytes.subarray(at, at + 333));
    const second = await small.finish();
    expect(second.id).toBe(first.id);
    await first.discard();
    await second.discard();
  });
});

describe('the same image twice', () => {
  it('at once is fine for both', async () => {
    const store = emptyStore();
    const bytes = gzipSync(image('example.com/a', {}, 'x'.repeat(1_000_000)));
    const staged = await Promise.all([stage(store, bytes), stage(store, bytes)]);
    const [first, second] = await Promise.all(staged.map((one) => one.commit(unverified)));
    expect(first?.id).toBe(second?.id);
    expect(store.listImages()).toHaveLength(1);
    expect(readdirSync(store.layout.layers)).toHaveLength(1);
    expect(readdirSync(join(store.layout.blobs, 'sha512'))).toHaveLength(1);
    expect(readdirSync(store.layout.staging)).toEqual([]);
    if (first !== undefined) await store.verifyImage(first);
  });

  it('renews the record and leaves the tree', async () => {
    const store = emptyStore();
    const first = await importImage(store, image('example.com/a'), { url: 'https://one/a.aci' });
    const inode = statSync(store.layout.layer(first.id)).ino;
    const second = await importImage(store, image('example.com/a'), { url: 'https://two/a.aci' });
    expect(store.getImage(first.id)?.source.url).toBe('https://two/a.aci');
    expect(statSync(store.layout.layer(second.id)).ino).toBe(inode);
  });
});

describe('finding an image', () => {
  it('by name asks for every label, and takes the newest import', async () => {
    const store = emptyStore();
    const old = await importImage(store, image('example.com/a', { version: '2', os: 'linux' }));
    const recent = await importImage(store, image('example.com/a', { version: '1', os: 'linux' }));
    await importImage(store, image('example.com/ab', { version: '2' }));
    const find = (text: string): string | undefined => store.findImage(parseReference(text))?.id;
    expect(find('example.com/a')).toBe(recent.id);
    expect(find('example.com/a:2')).toBe(old.id);
    expect(find('example.com/a:2,os=linux')).toBe(old.id);
    expect(find('example.com/a:2,os=darwin')).toBeUndefined();
    expect(find('example.com/a:3')).toBeUndefined();
    expect(find('example.com')).toBeUndefined();
  });

  it('by the URL it came from', async () => {
    const store = emptyStore();
    const url = 'https://example.com/a.aci';
    const record = await importImage(store, image('example.com/a'), { url });
    expect(store.findImage(parseReference(url))?.id).toBe(record.id);
    expect(store.findImage(parseReference('https://example.com/b.aci'))).toBeUndefined();
  });

  it('by the beginning of its ID, if that means one', async () => {
    const store = emptyStore();
    const records: ImageRecord[] = [];
    for (let i = 0; i < 20; i++)
      records.push(await importImage(store, image('example.com/a', {}, `${i}`)));
    const [first] = records;
    if (first === undefined) throw new Error('nothing was imported');
    expect(store.findImage(parseReference(first.id.slice(0, 40)))?.id).toBe(first.id);
    expect(store.findImage(parseReference(first.id))?.id).toBe(first.id);
    const shared = records.find((a) => records.some((b) => a !== b && a.id[7] === b.id[7]));
    const prefix = shared?.id.slice(0, 8) ?? '';
    expect(() => store.findImage({ kind: 'id', text: prefix, prefix })).toThrow(
      `ambiguous image ID: "${prefix}"`,
    );
    const unknown = `sha512-${'0123456789'.repeat(3)}`;
    expect(() => store.findImage(parseReference(unknown))).toThrow('no image IDs found');
  });

  it('never by path', async () => {
    const store = emptyStore();
    await importImage(store, image('example.com/a'), { path: '/tmp/a.aci' });
    expect(store.findImage(parseReference('/tmp/a.aci'))).toBeUndefined();
  });

  it('in a store that does not exist finds nothing and makes nothing', () => {
    const store = emptyStore();
    expect(store.findImage(parseReference('example.com/a'))).toBeUndefined();
    expect(store.listImages()).toEqual([]);
    expect(existsSync(store.dir)).toBe(false);
  });
});

describe('a record', () => {
  it('says by its time when the image was last used', async () => {
    const store = emptyStore();
    const record = await importImage(store, image('example.com/a'));
    utimesSync(store.layout.record(record.id), 1000, 1000);
    expect(store.lastUsed(record).getTime()).toBe(1_000_000);
    store.touch(record);
    expect(Date.now() - store.lastUsed(record).getTime()).toBeLessThan(10_000);
  });

  it.each([
    ['cut', (text: string) => text.slice(0, 100), 'it is no JSON'],
    ['emptied', () => '', 'it is no JSON'],
    ['of another version', (text: string) => text.replace('"version":1', '"version":9'), 'version'],
    ['of another image', (text: string) => text.replaceAll(/sha512-./g, 'sha512-f'), 'its id'],
    ['without provenance', (text: string) => text.replace('provenance', 'other'), 'provenance'],
  ])('%s is an error that names the file', async (_, change, why) => {
    const store = emptyStore();
    const name = ['1', '2', '3', '4', '5', '6', '7'].map((i) => `example.com/${i}`);
    // An ID that does not begin with f, for the case that replaces its first digit.
    let record = await importImage(store, image('example.com/0'));
    for (const other of name) {
      if (!record.id.startsWith('sha512-f')) break;
      await store.removeImage(record.id);
      record = await importImage(store, image(other));
    }
    const path = store.layout.record(record.id);
    chmodSync(path, 0o640);
    writeFileSync(path, change(readFileSync(path, 'utf8')));
    const reading = (): unknown => store.listImages();
    expect(reading).toThrow(expect.objectContaining({ code: 'store' }));
    expect(reading).toThrow(`image record ${path} is damaged: `);
    expect(reading).toThrow(why);
  });

  it('can be renewed when a server confirms the image', async () => {
    const store = emptyStore();
    const record = await importImage(store, image('example.com/a'));
    await store.updateImage({ ...record, source: { etag: '"new"' } });
    expect(store.getImage(record.id)?.source.etag).toBe('"new"');
    expect(pathsBelow(store.layout.images)).toHaveLength(1);
  });
});

describe('the pin on images', () => {
  it('is shared among users and keeps a removal waiting', async () => {
    const store = emptyStore();
    const record = await importImage(store, image('example.com/a'));
    const [one, two] = [store.pinImages(), store.pinImages()];
    one.release();
    one.release();
    const removal = store.removeImage(record.id);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(store.getImage(record.id)).toBeDefined();
    two.release();
    await removal;
    expect(store.getImage(record.id)).toBeUndefined();
  });

  it('goes with the thread or process that held it', async () => {
    const store = emptyStore();
    const record = await importImage(store, image('example.com/a'));
    const holder = new Worker(
      `import { workerData } from 'node:worker_threads';
       const { Store } = await import(workerData.module);
       Store.open(workerData.dir).pinImages();`,
      {
        eval: true,
        workerData: {
          dir: store.dir,
          module: new URL('../../src/store/store.ts', import.meta.url).href,
        },
      },
    );
    await new Promise((resolve) => holder.once('exit', resolve));
    await store.removeImage(record.id);
    expect(store.listImages()).toEqual([]);
  });
});
