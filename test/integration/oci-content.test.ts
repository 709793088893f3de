import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { constants, createGzip, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { maxConfigBytes } from '../../src/image/oci-config.ts';
import { MEDIA_TYPES } from '../../src/image/oci-manifest.ts';
import {
  blobOf,
  descriptorOf,
  documentOf,
  imageOf,
  indexOf,
  layerOf,
  layerOfTar,
  type OciContent,
  type OciImage,
  type OciLayer,
} from '../support/oci-image.ts';
import { needs, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { tarOf } from '../unit/store/image-archive.ts';
import { HandRegistry } from './hand-registry.ts';
import { keptIn } from './oci-world.ts';
import { runOciPod } from './pod-oci-world.ts';
import { buildProbe } from './pod-probe.ts';
import { createWorld, leaks } from './pod-world.ts';

beforeEach((context) => needs(context, root));

let registry: HandRegistry;
beforeAll(async () => {
  registry = await HandRegistry.open();
});
afterAll(() => registry?.close());

let repositories = 0;
const serve = (content: OciContent): string => registry.serve(`r/${++repositories}`, content);

/** Fetches an image of one layer, verifies it, and answers the directory of its tree. */
async function treeOf(layer: OciLayer): Promise<string> {
  const { store, record } = await registry.fetch(serve(imageOf([layer])));
  await store.verifyImage(record);
  const [tree] = await store.layerPaths(record, () => undefined);
  if (tree === undefined) throw new Error('no tree');
  return tree;
}

/** Why an image is refused; nothing of it may be kept. */
async function refusalOf(content: OciContent): Promise<string> {
  const store = registry.newStore();
  const failure = await registry.fetch(serve(content), store).then(
    () => new Error('it was taken'),
    (error: Error) => error,
  );
  expect(keptIn(store)).toEqual([]);
  return failure.message;
}

/** Packed bytes as a layer, whatever they are. */
function packedLayer(tar: Buffer, bytes: Buffer, suffix = '+gzip'): OciLayer {
  const { diffId } = layerOfTar(tar, 'none');
  return { ...blobOf(`${MEDIA_TYPES.layer}${suffix}`, bytes), diffId };
}

const text = 'compressible '.repeat(100_000);
const tar = tarOf([{ name: 'text', content: text }]);
const halves = [tar.subarray(0, 700_000), tar.subarray(700_000)];

/** What pigz writes: blocks that end at byte boundaries, each flushed by itself. */
async function flushedGzip(): Promise<Buffer> {
  const gzip = createGzip();
  const pieces: Buffer[] = [];
  gzip.on('data', (piece) => pieces.push(piece));
  for (let at = 0; at < tar.length; at += 128 * 1024) {
    gzip.write(tar.subarray(at, at + 128 * 1024));
    await new Promise<void>((resolve) => gzip.flush(constants.Z_SYNC_FLUSH, resolve));
  }
  gzip.end();
  await new Promise((resolve) => gzip.once('end', resolve));
  return Buffer.concat(pieces);
}

/** A frame that decoders pass over (RFC 8878, 3.1.2), as zstd:chunked ends with. */
function skippable(content: string): Buffer {
  const head = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
  head.writeUInt32LE(content.length, 4);
  return Buffer.concat([head, Buffer.from(content)]);
}

describe('a layer', () => {
  it.each<[string, () => Promise<Buffer> | Buffer, string]>([
    ['uncompressed', () => tar, ''],
    ['gzip', () => gzipSync(tar), '+gzip'],
    ['gzip of several members', () => Buffer.concat(halves.map((half) => gzipSync(half))), '+gzip'],
    ['gzip in flushed blocks, as pigz makes', flushedGzip, '+gzip'],
    ['zstd', () => zstdCompressSync(tar), '+zstd'],
    [
      'zstd of several frames',
      () => Buffer.concat(halves.map((half) => zstdCompressSync(half))),
      '+zstd',
    ],
    [
      'zstd with frames to be skipped, as zstd:chunked has',
      () =>
        Buffer.concat([
          ...halves.map((half) => zstdCompressSync(half)),
          skippable('a table of contents'),
          skippable('a footer'),
        ]),
      '+zstd',
    ],
    [
      'zstd with a frame to be skipped first, as pzstd makes',
      () => Buffer.concat([skippable('hello'), zstdCompressSync(tar)]),
      '+zstd',
    ],
    ['gzip that is called uncompressed', () => gzipSync(tar), ''],
  ])('may be %s', async (_, pack, suffix) => {
    const tree = await treeOf(packedLayer(tar, await pack(), suffix));
    expect(readFileSync(join(tree, 'text'), 'utf8')).toBe(text);
  });

  it('of zstd that refers back too far is refused, naming the limit', async () => {
    const far = { [constants.ZSTD_c_windowLog]: 27 };
    const content = Buffer.alloc(70 << 20, 'far');
    const large = tarOf([{ name: 'large', content }]);
    const bytes = zstdCompressSync(large, { params: far });
    expect(await refusalOf(imageOf([packedLayer(large, bytes, '+zstd')]))).toMatch(
      /layer sha256:[0-9a-f]+: its zstd data refers back more than 32 MB, the most that is taken/,
    );
  });

  it.each(['gnu', 'pax', 'posix'])(
    'may have long names, links and numbers of %s',
    async (format) => {
      const work = temporaryDirectory();
      const deep = `${'d'.repeat(90)}/${'e'.repeat(90)}/${'f'.repeat(200)}`;
      mkdirSync(join(work, deep), { recursive: true });
      writeFileSync(join(work, deep, 'file'), 'x');
      execFileSync('ln', ['-s', `/${deep}/file`, join(work, 'link')]);
      execFileSync('ln', [join(work, deep, 'file'), join(work, 'hard')]);
      execFileSync('chown', ['3000000:3000001', join(work, deep, 'file')]);
      const made = execFileSync('tar', [`--format=${format}`, '-C', work, '-cf', '-', '.']);
      const tree = await treeOf(layerOfTar(made));
      expect(readFileSync(join(tree, deep, 'file'), 'utf8')).toBe('x');
      expect(statSync(join(tree, 'hard'))).toMatchObject({ uid: 3_000_000, gid: 3_000_001 });
      expect(execFileSync('readlink', [join(tree, 'link')]).toString()).toBe(`/${deep}/file\n`);
    },
  );

  it.each(['gnu', 'pax'])(
    'with a sparse file of %s is refused, saying how to pack it',
    async (format) => {
      const work = temporaryDirectory();
      execFileSync('truncate', ['-s', '1M', join(work, 'holes')]);
      const made = execFileSync('tar', [`--format=${format}`, '-S', '-C', work, '-cf', '-', '.']);
      expect(await refusalOf(imageOf([layerOfTar(made)]))).toMatch(/holes.*sparse file/);
    },
  );

  it.each(['./dir/file', '/dir/file', 'dir//file', './dir/./file', '//dir/file'])(
    'may call a file %s',
    async (name) => {
      const tree = await treeOf(layerOf([{ name, content: 'x' }]));
      expect(readFileSync(join(tree, 'dir/file'), 'utf8')).toBe('x');
    },
  );

  it.each([
    ['zeros', Buffer.alloc(1024), 'gzip'],
    ['zeros, uncompressed', Buffer.alloc(1024), 'none'],
    ['zeros of zstd', Buffer.alloc(1024), 'zstd'],
    ['nothing at all', Buffer.alloc(0), 'gzip'],
    ['nothing at all, uncompressed', Buffer.alloc(0), 'none'],
  ] as const)('may be empty: %s', async (_, content, compression) => {
    const empty = layerOfTar(content, compression);
    const full = layerOf([{ name: 'full', content: 'x' }]);
    const image = imageOf([empty, full, empty, empty]);
    const { store, record } = await registry.fetch(serve(image));
    await store.verifyImage(record);
    expect(registry.count(empty)).toBeGreaterThan(0);
    const paths = await store.layerPaths(record, () => undefined);
    expect(paths.map((path) => readdirSync(path))).toEqual([[], ['full']]);
  });

  it('that comes twice is fetched once', async () => {
    const twice = layerOf([{ name: 'twice', content: 'x' }]);
    const image = imageOf([twice, layerOf([{ name: '.wh.twice', content: '' }]), twice]);
    const { store, record } = await registry.fetch(serve(image));
    expect(registry.count(twice)).toBe(1);
    expect(record.oci?.layers).toHaveLength(3);
    await store.verifyImage(record);
  });

  it('that lies elsewhere is refused', async () => {
    const foreign = {
      ...layerOf([{ name: 'foreign', content: 'x' }]),
      mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    };
    const nondistributable = {
      ...foreign,
      mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
    };
    for (const layer of [foreign, nondistributable]) {
      expect(await refusalOf(imageOf([layer]))).toMatch(/layers\[0\].mediaType.*lies elsewhere/);
      expect(registry.count(layer)).toBe(0);
    }
  });
});

describe('an image', () => {
  const layer = layerOf([{ name: 'file', content: 'x' }]);
  const image = imageOf([layer]);

  it('with a configuration beyond the limit is refused before it is fetched', async () => {
    const padded = imageOf([layer], { config: { padding: 'x'.repeat(maxConfigBytes) } });
    expect(await refusalOf(padded)).toMatch(
      new RegExp(`has ${padded.config.size} bytes, and only ${maxConfigBytes} are taken`),
    );
    expect(registry.count(padded.config)).toBe(0);
  });

  it('is found through an index of indexes', async () => {
    const { store, record } = await registry.fetch(serve(nested(image, 2)));
    expect(record.id).toBe(image.root.digest.replace(':', '-'));
    await store.verifyImage(record);
  });

  it('is not looked for through indexes without end', async () => {
    expect(await refusalOf(nested(image, 8))).toMatch(/lead to each other deeper than 4 levels/);
  });

  it("is found through a list of docker's", async () => {
    const docker = imageOf([layer], { docker: true });
    const mediaType = MEDIA_TYPES.dockerList;
    const list = indexOf([docker], { mediaType });
    const root = { ...list.root, mediaType };
    const { record } = await registry.fetch(
      serve({ ...list, root, manifests: [docker.root, root] }),
    );
    expect(record.id).toBe(docker.root.digest.replace(':', '-'));
    expect(record.oci?.index?.mediaType).toBe(mediaType);
  });

  it.each(['v1+json', 'v1+prettyjws'])(
    'of docker’s first schema (%s) is refused, saying what to do',
    async (type) => {
      const root = documentOf(`application/vnd.docker.distribution.manifest.${type}`, {
        schemaVersion: 1,
        name: 'library/old',
        tag: 'latest',
        fsLayers: [{ blobSum: layer.digest }],
        history: [{ v1Compatibility: '{}' }],
      });
      expect(await refusalOf({ root, manifests: [root], blobs: [layer] })).toMatch(
        /schemaVersion: is 1, which Docker gave up in 2017: push the image again/,
      );
    },
  );

  it('of 130 layers runs', { timeout: 60_000 }, async () => {
    const world = createWorld();
    const probe = { name: 'bin/probe', content: readFileSync(buildProbe()), mode: 0o755 };
    const upper = Array.from({ length: 129 }, (_, i) =>
      layerOf([
        { name: `d/${i}`, content: `${i}\n` },
        { name: 'top', content: `${i}\n` },
      ]),
    );
    const run = { Entrypoint: ['/bin/probe'], Cmd: [] };
    const reference = serve(imageOf([layerOf([probe]), ...upper], { run }));
    const { record } = await registry.fetch(reference, world.store);
    const { stdout } = await runOciPod(world, record, ['ls', '/d', 'cat', '/top']);
    expect(stdout).toHaveLength(130);
    expect(stdout.at(-1)).toBe('128');
    expect(await leaks(world)).toEqual([]);
  });
});

/** An image below so many indexes. */
function nested(image: OciImage, levels: number): OciContent {
  let content: OciContent = image;
  for (let level = 0; level < levels; level++) {
    const root = documentOf(MEDIA_TYPES.index, {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.index,
      manifests: [descriptorOf(content.root)],
      annotations: { level: String(level) },
    });
    content = { ...content, root, manifests: [...content.manifests, root] };
  }
  return content;
}
