import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, it } from 'vitest';
import { needs, program, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { aciOf, type Member } from '../unit/store/image-archive.ts';
import { emptyStore, importImage } from './store-fixture.ts';
import { layerOf, type MadeLayer, workOf } from './store-oci-fixture.ts';

beforeEach((context) => needs(context, root, program('unshare')));

interface Outcome {
  readonly code: string;
  readonly message: string;
  /** Paths of files and trees on the small disk afterwards. */
  readonly left: readonly string[];
}

/**
 * Runs `body` (the inside of an async function of `store`, `bytes` and `dir`) with a disk of the
 * given size mounted on `dir`, in a mount namespace of its own that ends with it.
 */
function onSmallDisk(options: string, bytes: Buffer, body: string, storeDir?: string): Outcome {
  const work = temporaryDirectory();
  const dir = join(work, 'disk');
  mkdirSync(dir);
  const image = join(work, 'image.aci');
  writeFileSync(image, bytes);
  const script = join(work, 'script.ts');
  const source = (path: string): string => new URL(`../../src/${path}`, import.meta.url).pathname;
  writeFileSync(
    script,
    `import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
     import { Store } from '${source('store/store.ts')}';
     const dir = '${dir}';
     const store = Store.open('${storeDir ?? join(dir, 'store')}');
     const bytes = readFileSync('${image}');
     const limits = { maxUnpackedBytes: 1e12, maxEntries: 1e9, maxCompressionRatio: 1e9 };
     const receive = async () => {
       const ingest = await store.beginIngest(limits);
       try {
         for (let at = 0; at < bytes.length; at += 50_000) await ingest.write(bytes.subarray(at, at + 50_000));
       } catch (error) { await ingest.abort(); throw error; }
       return ingest.finish();
     };
     let failure = {};
     try { ${body} } catch (error) { failure = { code: error.code, message: error.message }; }
     const folders = /^(store|store\\/(images|layers|blobs|blobs\\/sha(256|512)|staging|locks|locks\\/(images|records)))$/;
     const left = readdirSync(dir, { recursive: true }).filter((path) => !folders.test(path));
     writeFileSync('${work}/outcome', JSON.stringify({ ...failure, left }));`,
  );
  const mount = `mount -t tmpfs -o ${options} none "$1" && exec "$2" "$3"`;
  const shell = ['sh', '-c', mount, 'sh', dir, process.execPath, script];
  execFileSync('unshare', ['-m', '--propagation', 'private', ...shell], { stdio: 'pipe' });
  return JSON.parse(readFileSync(join(work, 'outcome'), 'utf8')) as Outcome;
}

const full = 'no space left on the device; free some or use another --dir';
const random: Member = { name: 'rootfs/random', content: randomBytes(6_000_000) };
const zeros: Member = { name: 'rootfs/zeros', content: Buffer.alloc(60_000_000) };
const files = Array.from({ length: 500 }, (_, i): Member => ({ name: `rootfs/${i}` }));

const small = layerOf([{ name: 'tmp/', typeflag: '5', mode: 0o1777 }]);
/** Used in a variant, which is made when the image is committed. */
const through = layerOf([{ name: 'tmp/x' }]);

/** Receives the OCI image in `bytes`; `before` runs when it is about to be committed. */
const receiveOci = (before = ''): string => `
  const { documents, facts, layers } = JSON.parse(bytes.toString());
  const ingest = await store.beginOciIngest(limits);
  try {
    for (const { descriptor, bytes } of documents) ingest.addDocument(descriptor, Buffer.from(bytes, 'base64'));
    for (const { descriptor, diffId, bytes } of layers) {
      const intake = ingest.openLayer({ descriptor, diffId });
      await intake.write(Buffer.from(bytes, 'base64'));
      await intake.finish();
    }
    ${before}
    await ingest.commit(facts);
  } finally { await ingest.abort(); }`;

describe('a full disk', () => {
  it.each<[string, string, Buffer]>([
    ['while the image is fetched', 'size=3m', aciOf([random])],
    ['while a large file is unpacked', 'size=3m', gzipSync(aciOf([zeros]))],
    ['while small files are unpacked', 'size=3m', gzipSync(aciOf(numbered(300, 20_000)))],
    ['that has no inodes left', 'size=30m,nr_inodes=100', gzipSync(aciOf(files))],
  ])('%s is one line naming the directory, and nothing stays', (_, options, bytes) => {
    const { code, message, left } = onSmallDisk(options, bytes, 'await receive();');
    expect(code).toBe('store');
    expect(message).toMatch(/^cannot store the image in .*\/disk\/store: /);
    expect(message).toContain(full);
    expect(left).toEqual([]);
  });

  it('when the image is committed leaves nothing of it', () => {
    const fill = `
      const staged = await receive();
      try { writeFileSync(dir + '/fill', Buffer.alloc(60_000_000)); } catch {}
      try { await staged.commit({ source: {}, provenance: { kind: 'unverified', reason: 'x' } }); }
      finally { await staged.discard(); }`;
    const { code, message, left } = onSmallDisk('size=3m', aciOf([]), fill);
    expect(code).toBe('store');
    expect(message).toContain(full);
    expect(left).toEqual(['fill']);
  });

  it.each<[string, string, MadeLayer[]]>([
    ['while a layer is fetched', 'size=3m', [layerOf([random])]],
    ['while a large file of a layer is unpacked', 'size=3m', [small, layerOf([zeros])]],
    [
      'while small files of a layer are unpacked',
      'size=3m',
      [small, layerOf(numbered(300, 20_000))],
    ],
    ['without inodes for a layer', 'size=30m,nr_inodes=100', [small, layerOf(files)]],
  ])('%s is one line, and nothing stays of the image', (_, options, layers) => {
    const { code, message, left } = onSmallDisk(options, Buffer.from(workOf(layers)), receiveOci());
    expect(code).toBe('store');
    expect(message).toMatch(/^cannot store (a layer|the image) in .*\/disk\/store: /);
    expect(message).toContain(full);
    expect(left).toEqual([]);
  });

  // 4 kB are a page: record, notes and directories need one each, in every order.
  it.each([0, 1, 2, 3, 4, 5, 6])(
    'with %i pages left when an OCI image is committed leaves all or nothing',
    (pages) => {
      const fill = `
        const { statSync, truncateSync } = await import('node:fs');
        const fill = dir + '/fill';
        try { writeFileSync(fill, Buffer.alloc(60_000_000)); } catch {}
        truncateSync(fill, statSync(fill).size - ${pages} * 4096);`;
      const work = Buffer.from(workOf([small, through]));
      const outcome = onSmallDisk('size=3m', work, receiveOci(fill));
      if (outcome.code === undefined) return;
      expect(outcome.message).toContain(full);
      expect(outcome.left).toEqual(['fill']);
    },
  );

  it('before anything can be made', () => {
    const { code, message } = onSmallDisk('size=3m,nr_inodes=2', aciOf([]), 'await receive();');
    expect(code).toBe('store');
    expect(message).toContain(full);
  });

  it.each([
    ['exporting', 'await store.exportImage(record, dir + "/out.aci", { overwrite: false });'],
    [
      'extracting',
      'await store.extractImage(record, dir + "/out", { overwrite: false, rootfsOnly: true });',
    ],
    [
      'rendering',
      'await store.renderImage(record, dir + "/out", { overwrite: false, rootfsOnly: false, dependencies: () => undefined });',
    ],
  ])('while %s leaves nothing', async (_, body) => {
    const store = emptyStore();
    await importImage(store, aciOf([random]));
    const { code, message, left } = onSmallDisk(
      'size=3m',
      Buffer.alloc(0),
      `const [record] = store.listImages(); ${body}`,
      store.dir,
    );
    expect(code).toBe('store');
    expect(message).toMatch(/^cannot write the image in .*\/disk: /);
    expect(message).toContain(full);
    expect(left).toEqual([]);
  });
});

function numbered(count: number, size: number): Member[] {
  return Array.from({ length: count }, (_, i) => ({
    name: `rootfs/${i}`,
    content: Buffer.alloc(size, String(i)),
  }));
}
