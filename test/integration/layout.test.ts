import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { beforeEach, describe, expect, it } from 'vitest';
import { ArchiveDestination } from '../../src/fetch/archive-destination.ts';
import { openArchiveSource } from '../../src/fetch/archive-source.ts';
import { DirectoryFiles, OpenArchive } from '../../src/fetch/content-files.ts';
import { LayoutDestination } from '../../src/fetch/layout-destination.ts';
import { LayoutSource } from '../../src/fetch/layout-source.ts';
import type { OciDestination } from '../../src/fetch/oci-source.ts';
import { parseDigest } from '../../src/image/digest.ts';
import { MEDIA_TYPES, parseOciManifest } from '../../src/image/oci-manifest.ts';
import {
  blobOf,
  documentOf,
  imageOf,
  indexOf,
  layerOf,
  type OciContent,
  descriptorOf as pointerTo,
  writeLayout,
} from '../support/oci-image.ts';
import { needs, program } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { type Member, tarOf } from '../unit/store/image-archive.ts';
import { Collected, descriptorOf, once } from './registry-client.ts';

const execute = promisify(execFile);
const run = (file: string, ...args: string[]) =>
  execute(file, file === 'skopeo' ? ['--insecure-policy', ...args] : args);

const lower = layerOf([{ name: 'lower', content: 'lower '.repeat(20_000) }]);
const upper = layerOf([{ name: 'upper', content: 'upper' }], 'none');
const image = imageOf([lower, upper]);
const other = imageOf([lower]);

let directory: string;
let layout: string;
beforeEach(() => {
  directory = temporaryDirectory();
  layout = join(directory, 'layout');
  mkdirSync(layout);
  writeLayout(layout, { '1.0': image });
});

function open(path: string, format: 'oci-archive' | 'docker-archive', limit = 1 << 30) {
  return openArchiveSource(new OpenArchive(path), { format, path, limit, scratch: directory });
}

/** Reads an image whole, checking every layer; answers how many layers it has. */
async function readImage(source: LayoutSource, ref?: string): Promise<number> {
  const { descriptor } = await source.image(ref);
  const found = await source.manifest(descriptor.digest);
  const document = found && parseOciManifest(found.bytes, found.mediaType);
  if (document?.kind !== 'manifest') throw new Error('no manifest');
  for (const layer of document.layers) await source.blob(layer, new Collected());
  await source.document(document.config, 1 << 20);
  return document.layers.length;
}

async function put(destination: OciDestination, content: OciContent, ref?: string): Promise<void> {
  for (const blob of content.blobs) {
    await destination.putBlob(descriptorOf(blob), once(blob.bytes));
  }
  for (const { bytes, mediaType, digest } of content.manifests) {
    if (ref !== undefined && digest === content.root.digest) continue;
    await destination.putManifest(bytes, mediaType, parseDigest(digest));
  }
  const { bytes, mediaType, digest } = content.root;
  await destination.putManifest(bytes, mediaType, ref ?? parseDigest(digest));
}

describe('a layout', () => {
  it('of umoci’s and skopeo’s making is read', async (context) => {
    needs(context, program('umoci'), program('skopeo'));
    const theirs = join(directory, 'umoci');
    await run('umoci', 'init', '--layout', theirs);
    await run('umoci', 'new', '--image', `${theirs}:empty`);
    await run('skopeo', 'copy', `oci:${layout}:1.0`, `oci:${theirs}:full`);
    const source = await LayoutSource.open(new DirectoryFiles(theirs));
    expect(await readImage(source, 'full')).toBe(2);
    expect(await readImage(source, 'empty')).toBe(0);
    await expect(source.image(undefined)).rejects.toThrow(
      /say which of its images .*"empty", "full"/,
    );
  });

  it('has signatures that are not images, found by tag and by subject', async () => {
    const empty = blobOf(MEDIA_TYPES.empty, '{}');
    const signature = imageOf([], { manifest: { layers: [] } });
    const referrer = documentOf(MEDIA_TYPES.manifest, {
      schemaVersion: 2,
      artifactType: 'application/vnd.cncf.notary.signature',
      config: pointerTo(empty),
      layers: [pointerTo(empty)],
      subject: pointerTo(image.root),
    });
    const tag = `${image.root.digest.replace(':', '-')}.sig`;
    const destination = LayoutDestination.open(layout);
    await put(destination, signature, tag);
    await put(destination, { root: referrer, blobs: [empty], manifests: [] });
    await destination.finish();
    const source = await LayoutSource.open(new DirectoryFiles(layout));
    expect(await source.images()).toHaveLength(1);
    expect((await source.manifest(tag))?.digest).toEqual(parseDigest(signature.root.digest));
    expect(await source.referrers(parseDigest(image.root.digest))).toMatchObject([
      {
        digest: parseDigest(referrer.digest),
        artifactType: 'application/vnd.cncf.notary.signature',
      },
    ]);
  });

  it('with a blob of other bytes or another size is refused', async () => {
    const path = join(layout, 'blobs', lower.digest.replace(':', '/'));
    const source = await LayoutSource.open(new DirectoryFiles(layout));
    writeFileSync(path, Buffer.alloc(lower.size, 1));
    await expect(readImage(source)).rejects.toThrow(/what came has the digest sha256:/);
    writeFileSync(path, 'short');
    await expect(readImage(source)).rejects.toThrow(/it has 5 bytes, not/);
    writeFileSync(path, Buffer.alloc(lower.size + 1, 1));
    await expect(readImage(source)).rejects.toThrow(/it is longer than/);
  });

  it('that is none is told so', async () => {
    await expect(LayoutSource.open(new DirectoryFiles(directory))).rejects.toThrow(
      `oci:${directory}: it is not an OCI layout: it has no oci-layout`,
    );
    writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"2.0.0"}');
    await expect(LayoutSource.open(new DirectoryFiles(layout))).rejects.toThrow(
      'its layout is of version "2.0.0", and only 1 is known',
    );
  });
});

describe('an archive', () => {
  it('of skopeo’s making is read, as an OCI archive and as docker’s', async (context) => {
    needs(context, program('skopeo'));
    const oci = join(directory, 'oci.tar');
    const docker = join(directory, 'docker.tar');
    await run('skopeo', 'copy', `oci:${layout}:1.0`, `oci-archive:${oci}:1.0`);
    await run(
      'skopeo',
      'copy',
      `oci:${layout}:1.0`,
      `docker-archive:${docker}:example.com/app:1.0`,
    );
    const fromOci = await open(oci, 'oci-archive');
    expect(await readImage(fromOci, '1.0')).toBe(2);
    await fromOci.close();
    const fromDocker = await open(docker, 'docker-archive');
    expect(await readImage(fromDocker, 'example.com/app:1.0')).toBe(2);
    expect((await fromDocker.images()).map(({ ref }) => ref)).toEqual(['example.com/app:1.0']);
    await fromDocker.close();
  });

  it.each([
    ['gzip', gzipSync],
    ['zstd', zstdCompressSync],
  ])('may be compressed with %s, up to a limit', async (_, compress) => {
    const path = join(directory, 'a.tar');
    const destination = await ArchiveDestination.open({
      format: 'oci-archive',
      path,
      overwrite: false,
    });
    await put(destination, image, '1.0');
    await destination.finish();
    writeFileSync(path, compress(readFileSync(path)));
    const source = await open(path, 'oci-archive');
    expect(await readImage(source)).toBe(2);
    await source.close();
    await expect(open(path, 'oci-archive', 4096)).rejects.toThrow(
      'unpacks to more than 4096 bytes',
    );
    expect(readdirSync(directory).sort()).toEqual(['a.tar', 'layout']);
  });

  it('as docker saved it once, with links from layer to layer, is read', async () => {
    const config = JSON.parse(image.config.bytes.toString());
    config.rootfs.diff_ids = [upper.diffId, upper.diffId];
    const path = join(directory, 'old.tar');
    writeFileSync(
      path,
      tarOf([
        { name: 'one/layer.tar', content: upper.bytes },
        { name: 'two/', typeflag: '5' },
        { name: 'two/layer.tar', typeflag: '2', linkName: '../one/layer.tar' },
        { name: 'abc.json', content: JSON.stringify(config) },
        { name: 'repositories', content: '{}' },
        {
          name: 'manifest.json',
          content: JSON.stringify([
            {
              Config: 'abc.json',
              RepoTags: ['app:1', 'app:2'],
              Layers: ['one/layer.tar', 'two/layer.tar'],
            },
          ]),
        },
      ]),
    );
    const source = await open(path, 'docker-archive');
    expect(await readImage(source, 'docker.io/library/app:2')).toBe(2);
    expect(await readImage(source)).toBe(2);
    await source.close();
  });

  const hostile: [string, Member[], RegExp][] = [
    ['a member outside', [{ name: '../x', content: '' }], /its member "\.\.\/x" leads out of it/],
    ['an absolute member', [{ name: '/etc/x', content: '' }], /leads out of it/],
    [
      'a link outside',
      [{ name: 'a/b', typeflag: '2', linkName: '../../etc/passwd' }],
      /leads out of it/,
    ],
    [
      'links in a circle',
      [
        { name: 'manifest.json', typeflag: '2', linkName: 'x' },
        { name: 'x', typeflag: '2', linkName: 'manifest.json' },
      ],
      /its links lead from "(oci-layout|manifest.json)" to each other/,
    ],
    [
      'a member twice',
      [
        { name: 'a', content: '' },
        { name: './a', content: '' },
      ],
      /it holds "a" twice/,
    ],
    ['a named pipe', [{ name: 'a', typeflag: '6' }], /"a" is a fifo/],
    ['nothing docker wrote', [{ name: 'a', content: '' }], /it has no manifest.json/],
    [
      'a layer that is not there',
      [
        { name: 'c', content: image.config.bytes },
        {
          name: 'manifest.json',
          content: '[{"Config":"c","RepoTags":null,"Layers":["x/layer.tar","y"]}]',
        },
      ],
      /it has no "x\/layer.tar"/,
    ],
    [
      'fewer layers than diff ids',
      [
        { name: 'c', content: image.config.bytes },
        { name: 'manifest.json', content: '[{"Config":"c","RepoTags":null,"Layers":[]}]' },
      ],
      /\[0\].Layers: are 0, and its configuration has 2/,
    ],
  ];
  it.each(hostile)('with %s is refused', async (_, members, message) => {
    const path = join(directory, 'hostile.tar');
    writeFileSync(path, tarOf(members));
    await expect(open(path, 'docker-archive')).rejects.toThrow(message);
  });

  it('that is cut short is refused', async () => {
    const path = join(directory, 'short.tar');
    const whole = tarOf([{ name: 'blob', content: Buffer.alloc(10_000) }]);
    writeFileSync(path, whole.subarray(0, 4000));
    await expect(open(path, 'oci-archive')).rejects.toThrow(/it is truncated/);
  });
});

describe('writing', () => {
  it('a layout adds to what is there, and skopeo reads it', async (context) => {
    needs(context, program('skopeo'));
    const destination = LayoutDestination.open(layout);
    expect(await destination.hasBlob(parseDigest(lower.digest))).toBe(true);
    await put(destination, other, 'other');
    await destination.finish();
    const inspect = async (tag: string) =>
      JSON.parse((await run('skopeo', 'inspect', `oci:${layout}:${tag}`)).stdout).Digest;
    expect(await inspect('1.0')).toBe(image.root.digest);
    expect(await inspect('other')).toBe(other.root.digest);
    expect(readdirSync(layout).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
  });

  it('an index lists it, and not what it names', async () => {
    const fresh = join(directory, 'fresh');
    const content = indexOf([
      image,
      imageOf([upper], { platform: { os: 'linux', architecture: 'arm' } }),
    ]);
    const destination = LayoutDestination.open(fresh);
    await put(destination, content, 'all');
    await destination.finish();
    const source = await LayoutSource.open(new DirectoryFiles(fresh));
    expect(await source.images()).toMatchObject([
      { ref: 'all', descriptor: { digest: parseDigest(content.root.digest) } },
    ]);
  });

  it('that is given up leaves everything as it was', async () => {
    const before = readdirSync(layout, { recursive: true }).sort();
    const index = readFileSync(join(layout, 'index.json'));
    const fresh = join(directory, 'fresh');
    const archive = join(directory, 'archive.tar');
    const destinations = [
      LayoutDestination.open(layout),
      LayoutDestination.open(fresh),
      await ArchiveDestination.open({ format: 'oci-archive', path: archive, overwrite: false }),
    ];
    for (const destination of destinations) {
      await put(destination, other, 'other');
      await expect(
        destination.putBlob(descriptorOf(image.config), once(Buffer.from('{'))),
      ).rejects.toThrow(/it has 1 bytes, not/);
      await destination.abort();
      await destination.abort();
    }
    expect(readdirSync(layout, { recursive: true }).sort()).toEqual(before);
    expect(readFileSync(join(layout, 'index.json')).equals(index)).toBe(true);
    expect(existsSync(fresh)).toBe(false);
    expect(readdirSync(directory)).toEqual(['layout']);
  });

  it('archives that skopeo and podman read, the same bytes each time', async (context) => {
    needs(context, program('skopeo'));
    for (const format of ['oci-archive', 'docker-archive'] as const) {
      const ref = format === 'oci-archive' ? '1.0' : 'example.com/app:1.0';
      const paths = ['a', 'b'].map((name) => join(directory, `${format}-${name}.tar`));
      for (const path of paths) {
        const destination = await ArchiveDestination.open({ format, path, overwrite: false });
        await put(destination, image, ref);
        await destination.finish();
      }
      const [first = '', second = ''] = paths;
      expect(readFileSync(first).equals(readFileSync(second))).toBe(true);
      const copy = join(directory, `${format}-copy`);
      await run('skopeo', 'copy', `${format}:${first}:${ref}`, `oci:${copy}:x`);
      const source = await LayoutSource.open(new DirectoryFiles(copy));
      expect(await readImage(source)).toBe(2);
      const own = await open(first, format);
      expect((await own.image(ref)).descriptor.digest).toEqual(parseDigest(image.root.digest));
      await own.close();
      await expect(
        ArchiveDestination.open({ format, path: first, overwrite: false }),
      ).rejects.toThrow('the file exists (try --overwrite)');
    }
  });

  it('over something that is no layout is refused', () => {
    expect(() => LayoutDestination.open(directory)).toThrow(
      /it is there, and is not an OCI layout/,
    );
  });
});
