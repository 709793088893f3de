import { execFileSync } from 'node:child_process';
import { chmodSync, linkSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { formatDigest } from '../../src/image/digest.ts';
import { compressionOf, decompress } from '../../src/store/compression.ts';
import { type LayerWish, packLayer } from '../../src/store/layer-packing.ts';
import { differenceBetween } from '../../src/store/tree-comparison.ts';
import { system } from '../../src/system/binding.ts';
import { needs, program, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { tarOf, wideLimits } from '../unit/store/image-archive.ts';

beforeEach((context) => needs(context, root));

const AT_FDCWD = -100;

/** A tree with one of everything a layer can hold. */
function tree(): string {
  const rootfs = join(temporaryDirectory(), 'rootfs');
  mkdirSync(join(rootfs, 'bin'), { recursive: true });
  writeFileSync(join(rootfs, 'bin/app'), Buffer.alloc(700_000, 'app'));
  linkSync(join(rootfs, 'bin/app'), join(rootfs, 'bin/zapp'));
  system.chownAt(AT_FDCWD, join(rootfs, 'bin/app'), 1000, 100);
  chmodSync(join(rootfs, 'bin/app'), 0o6755);
  const capability = Buffer.from('0100000280200000000000000000000000000000', 'hex');
  system.setXattr(join(rootfs, 'bin/app'), 'security.capability', capability);
  symlinkSync('../../../usr/lib', join(rootfs, 'lib'));
  system.mknodAt(AT_FDCWD, join(rootfs, 'null'), 0o020666, 1 * 256 + 3);
  mkdirSync(join(rootfs, 'tmp'));
  chmodSync(join(rootfs, 'tmp'), 0o1777);
  chmodSync(rootfs, 0o711);
  return rootfs;
}

/** Packs a layer, and answers it with its bytes, compressed and not. */
async function pack(wish: Omit<LayerWish, 'limits'>) {
  const layer = await packLayer({ limits: wideLimits, ...wish });
  const pieces: Buffer[] = [];
  for await (const piece of layer.content()) pieces.push(piece);
  layer.close();
  const bytes = Buffer.concat(pieces);
  const plain: Buffer[] = [];
  async function* whole() {
    yield bytes;
  }
  await decompress(whole(), (piece) => void plain.push(Buffer.from(piece)));
  return { ...layer, bytes, plain: Buffer.concat(plain) };
}

function sha256(bytes: Uint8Array): string {
  return `sha256:${execFileSync('sha256sum', { input: bytes }).toString().slice(0, 64)}`;
}

function archive(bytes: Uint8Array): string {
  const path = join(temporaryDirectory(), 'rootfs.tar');
  writeFileSync(path, bytes);
  return path;
}

describe('a layer of a directory', () => {
  it.each([
    ['gzip', '+gzip'],
    ['zstd', '+zstd'],
    ['none', ''],
  ] as const)('says what it is, with %s', async (compression, suffix) => {
    const { descriptor, diffId, bytes, plain } = await pack({ source: tree(), compression });
    expect(compressionOf(bytes)).toBe(compression);
    expect(descriptor.mediaType).toBe(`application/vnd.oci.image.layer.v1.tar${suffix}`);
    expect(descriptor.size).toBe(bytes.length);
    expect(formatDigest(descriptor.digest)).toBe(sha256(bytes));
    expect(formatDigest(diffId)).toBe(sha256(plain));
  });

  it('holds what tar makes the same tree of', async (context) => {
    needs(context, program('tar'));
    const source = tree();
    const { plain } = await pack({ source, compression: 'none' });
    const out = join(temporaryDirectory(), 'out');
    mkdirSync(out);
    const words = ['--xattrs', '--xattrs-include=*', '--numeric-owner', '-xpf', '-', '-C', out];
    execFileSync('tar', words, { input: plain });
    expect(differenceBetween(source, out)).toBeUndefined();
  });

  it('is the same for the same tree, wherever and whenever', async () => {
    const source = tree();
    const copy = join(temporaryDirectory(), 'copy');
    execFileSync('cp', ['-a', source, copy]);
    const [first, second] = [await pack({ source }), await pack({ source: copy })];
    expect(second.bytes.equals(first.bytes)).toBe(true);
  });

  it('may be reached over a symbolic link', async () => {
    const source = tree();
    const link = join(temporaryDirectory(), 'link');
    symlinkSync(source, link);
    expect((await pack({ source: link })).diffId).toEqual((await pack({ source })).diffId);
  });

  it('refuses a file that readers would take for a whiteout', async () => {
    const source = tree();
    writeFileSync(join(source, 'bin/.wh.app'), '');
    await expect(pack({ source })).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining('whiteout') as string,
    });
  });

  it('refuses a socket', async () => {
    const source = tree();
    const server = createServer().listen(join(source, 'socket'));
    onTestFinished(() => void server.close());
    await new Promise((resolve) => server.once('listening', resolve));
    await expect(pack({ source })).rejects.toThrow('is a socket');
  });

  it('leaves no file behind', async () => {
    const source = tree();
    const before = process.env['TMPDIR'];
    const directory = temporaryDirectory();
    process.env['TMPDIR'] = directory;
    onTestFinished(() => {
      if (before === undefined) delete process.env['TMPDIR'];
      else process.env['TMPDIR'] = before;
    });
    await pack({ source });
    expect(readdirSync(directory)).toEqual([]);
  });
});

describe('a layer of an archive', () => {
  const plainTar = tarOf([
    { name: './', typeflag: '5', mode: 0o755 },
    { name: './app', content: 'x'.repeat(5000), mode: 0o755 },
  ]);

  it.each([
    ['gzip', gzipSync(plainTar)],
    ['zstd', zstdCompressSync(plainTar)],
  ] as const)('keeps the bytes of one that is compressed with %s', async (_, bytes) => {
    const layer = await pack({ source: archive(bytes) });
    expect(layer.bytes.equals(bytes)).toBe(true);
    expect(formatDigest(layer.diffId)).toBe(sha256(plainTar));
  });

  it('compresses a plain one', async () => {
    const layer = await pack({ source: archive(plainTar) });
    expect(compressionOf(layer.bytes)).toBe('gzip');
    expect(layer.plain.equals(plainTar)).toBe(true);
  });

  it('keeps the bytes of a plain one where that is asked for', async () => {
    const layer = await pack({ source: archive(plainTar), compression: 'none' });
    expect(layer.bytes.equals(plainTar)).toBe(true);
  });

  it('packs anew what layers are not packed with', async (context) => {
    needs(context, program('xz'));
    const bytes = execFileSync('xz', ['-c'], { input: plainTar });
    const layer = await pack({ source: archive(bytes), compression: 'zstd' });
    expect(layer.descriptor.mediaType).toBe('application/vnd.oci.image.layer.v1.tar+zstd');
    expect(layer.plain.equals(plainTar)).toBe(true);
    expect(formatDigest(layer.diffId)).toBe(sha256(plainTar));
  });

  it.each<[string, Buffer, string]>([
    ['one that is cut off', gzipSync(plainTar).subarray(0, -20), 'damaged gzip data'],
    ['one that leads out', tarOf([{ name: '../x', content: 'x' }]), '".."'],
    ['a link that leads out', tarOf([{ name: 'x', typeflag: '1', linkName: '../x' }]), '".."'],
    ['a whiteout of nothing', tarOf([{ name: '.wh..', content: '' }]), 'whiteout'],
    ['what is no archive', Buffer.alloc(2000, 'x'), 'image archive'],
    ['an empty file', Buffer.alloc(0), 'holds nothing'],
    ['data after the end', Buffer.concat([plainTar, Buffer.alloc(512, 'x')]), 'image archive'],
  ])('refuses %s', async (_, bytes, why) => {
    await expect(pack({ source: archive(bytes) })).rejects.toMatchObject({
      code: 'invalid-archive',
      message: expect.stringContaining(why) as string,
    });
  });

  it('refuses one that unpacks to more than the limits allow', async () => {
    const limits = { ...wideLimits, maxUnpackedBytes: 4096 };
    const wish = { source: archive(gzipSync(plainTar)), limits };
    await expect(packLayer(wish)).rejects.toThrow('maxUnpackedBytes');
  });

  it('says which archive is damaged', async () => {
    const source = archive(Buffer.alloc(2000, 'x'));
    const said = await pack({ source }).catch((error: Error) => error.message);
    expect(String(said).startsWith(`${source}: image archive: `)).toBe(true);
  });

  it('says which file cannot be read', async () => {
    await expect(pack({ source: '/nowhere/at/all' })).rejects.toMatchObject({
      code: 'usage',
      message: 'cannot read /nowhere/at/all: no such file or directory',
    });
  });
});
