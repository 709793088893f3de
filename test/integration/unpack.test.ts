import { lstatSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, it } from 'vitest';
import { system } from '../../src/system/binding.ts';
import { needs, root } from '../support/requirements.ts';
import { aciOf, manifestOf, memberBytes, tarOf } from '../unit/store/image-archive.ts';
import { emptyStore, importImage, stage, unpack } from './store-fixture.ts';

beforeEach((context) => needs(context, root));

describe('unpacking keeps', () => {
  it('content, across pieces of any alignment', async () => {
    const large = Buffer.alloc(1_500_001, 'abcdefg');
    const tree = await unpack([
      { name: 'rootfs/small', content: 'text' },
      { name: 'rootfs/large', content: large },
      { name: 'rootfs/empty' },
      { name: 'rootfs/after', content: 'more' },
    ]);
    expect(readFileSync(join(tree, 'small'), 'utf8')).toBe('text');
    expect(readFileSync(join(tree, 'large')).equals(large)).toBe(true);
    expect(lstatSync(join(tree, 'empty')).size).toBe(0);
    expect(readFileSync(join(tree, 'after'), 'utf8')).toBe('more');
  });

  it.each([0o644, 0o4755, 0o2755, 0o6711, 0o1777, 0o000])('mode %o and owners', async (mode) => {
    const owners = { uid: 1234, gid: 98765 };
    const tree = await unpack([
      { name: 'rootfs/file', content: 'x', mode, ...owners },
      { name: 'rootfs/large', content: Buffer.alloc(600_000), mode, ...owners },
      { name: 'rootfs/dir/', typeflag: '5', mode, ...owners },
      { name: 'rootfs/dir/inside', content: 'x' },
      { name: 'rootfs/fifo', typeflag: '6', mode, ...owners },
      { name: 'rootfs/null', typeflag: '3', major: 1, minor: 3, mode, ...owners },
    ]);
    for (const name of ['file', 'large', 'dir', 'fifo', 'null']) {
      const stat = lstatSync(join(tree, name));
      expect([name, stat.mode & 0o7777, stat.uid, stat.gid]).toEqual([name, mode, 1234, 98765]);
    }
  });

  it('owners of symbolic links', async () => {
    const tree = await unpack([{ name: 'rootfs/l', typeflag: '2', linkName: 'x', uid: 5, gid: 6 }]);
    const stat = lstatSync(join(tree, 'l'));
    expect([stat.uid, stat.gid, readlinkSync(join(tree, 'l'))]).toEqual([5, 6, 'x']);
  });

  it('times to the nanosecond, of directories too, and before the epoch', async () => {
    const at = (mtime: string): { pax: { mtime: string } } => ({ pax: { mtime } });
    const tree = await unpack([
      { name: 'rootfs/', typeflag: '5', mode: 0o755, ...at('1400000000.000000001') },
      { name: 'rootfs/dir/', typeflag: '5', ...at('1500000000.123456789') },
      { name: 'rootfs/dir/file', content: 'x', ...at('1600000000.987654321') },
      { name: 'rootfs/old', content: 'x', ...at('-1.5') },
      { name: 'rootfs/link', typeflag: '2', linkName: 'dir', ...at('1700000000.5') },
      { name: 'rootfs/large', content: Buffer.alloc(700_000), ...at('1650000000.25') },
    ]);
    const time = (name: string): bigint => lstatSync(join(tree, name), { bigint: true }).mtimeNs;
    expect(time('')).toBe(1400000000000000001n);
    expect(time('dir')).toBe(1500000000123456789n);
    expect(time('dir/file')).toBe(1600000000987654321n);
    expect(time('old')).toBe(-1500000000n);
    expect(time('link')).toBe(1700000000500000000n);
    expect(time('large')).toBe(1650000000250000000n);
  });

  it('extended attributes and file capabilities, byte for byte', async () => {
    // Version 2, effective, CAP_SETUID (bit 7) permitted: 0x80 is no UTF-8.
    const capability = Buffer.from('0100000280000000000000000000000000000000', 'hex');
    const pax = {
      'SCHILY.xattr.security.capability': capability,
      'SCHILY.xattr.user.bytes': Buffer.from([0, 255, 10, 61]),
    };
    const tree = await unpack([
      { name: 'rootfs/ping', content: 'x', mode: 0o755, uid: 7, pax },
      { name: 'rootfs/large', content: Buffer.alloc(700_000), uid: 7, pax },
      { name: 'rootfs/dir/', typeflag: '5', pax: { 'SCHILY.xattr.user.dir': 'd' } },
      {
        name: 'rootfs/link',
        typeflag: '2',
        linkName: 'x',
        pax: { 'SCHILY.xattr.trusted.link': 'l' },
      },
    ]);
    for (const name of ['ping', 'large']) {
      expect(system.getXattr(join(tree, name), 'security.capability')).toEqual(capability);
      expect(system.getXattr(join(tree, name), 'user.bytes')).toEqual(
        Buffer.from([0, 255, 10, 61]),
      );
    }
    expect(system.getXattr(join(tree, 'dir'), 'user.dir')?.toString()).toBe('d');
    expect(system.getXattr(join(tree, 'link'), 'trusted.link')?.toString()).toBe('l');
  });

  it('attributes of the root directory', async () => {
    const tree = await unpack([
      { name: 'rootfs', typeflag: '5', mode: 0o750, pax: { 'SCHILY.xattr.user.root': 'r' } },
    ]);
    expect(system.getXattr(tree, 'user.root')?.toString()).toBe('r');
    expect(statSync(tree).mode & 0o7777).toBe(0o750);
  });

  it('which names are one file', async () => {
    const tree = await unpack([
      { name: 'rootfs/a', content: 'x' },
      { name: 'rootfs/d/b', typeflag: '1', linkName: 'rootfs/a' },
      { name: './rootfs/c', typeflag: '1', linkName: './rootfs/d/b' },
    ]);
    const inodes = ['a', 'd/b', 'c'].map((name) => statSync(join(tree, name)).ino);
    expect(new Set(inodes).size).toBe(1);
  });

  it('device numbers, and says which paths are devices', async () => {
    const store = emptyStore();
    const staged = await stage(
      store,
      aciOf([
        { name: 'rootfs/dev/console', typeflag: '3', major: 5, minor: 1 },
        { name: 'rootfs/dev/big', typeflag: '4', major: 259, minor: 70_000 },
      ]),
    );
    expect(staged.deviceNodes).toEqual(['dev/console', 'dev/big']);
    const record = await staged.commit({
      source: {},
      provenance: { kind: 'unverified', reason: 'a test' },
    });
    const big = lstatSync(join(store.layout.layer(record.id), 'dev/big'), { bigint: true });
    expect(big.isBlockDevice()).toBe(true);
    expect(big.rdev).toBe(((70_000n & ~0xffn) << 12n) | (259n << 8n) | (70_000n & 0xffn));
  });

  it('names that are long, or not ASCII, or look like whiteouts of other formats', async () => {
    const long = `${'d'.repeat(200)}/${'f'.repeat(255)}`;
    const tree = await unpack([
      { name: 'x', content: 'long', pax: { path: `rootfs/${long}` } },
      { name: 'rootfs/sübdir/文件', content: 'u' },
      { name: 'rootfs/.wh.file', content: 'kept' },
      { name: 'rootfs/.wh..wh..opq', content: 'kept' },
    ]);
    expect(readFileSync(join(tree, long), 'utf8')).toBe('long');
    expect(readFileSync(join(tree, 'sübdir/文件'), 'utf8')).toBe('u');
    expect(readFileSync(join(tree, '.wh.file'), 'utf8')).toBe('kept');
    expect(readFileSync(join(tree, '.wh..wh..opq'), 'utf8')).toBe('kept');
  });

  it('directories the archive does not mention, always the same', async () => {
    const tree = await unpack([{ name: 'rootfs/a/b/c', content: 'x' }]);
    const stat = lstatSync(join(tree, 'a/b'));
    expect([stat.mode & 0o7777, stat.uid, stat.gid, stat.mtimeMs]).toEqual([0o755, 0, 0, 0]);
  });
});

describe('unpacking a name that comes twice', () => {
  it('takes the later file', async () => {
    const tree = await unpack([
      { name: 'rootfs/a', content: 'first' },
      { name: 'rootfs/a', content: 'second' },
    ]);
    expect(readFileSync(join(tree, 'a'), 'utf8')).toBe('second');
  });

  it('writes through neither an earlier symbolic link nor an earlier hard link', async () => {
    const tree = await unpack([
      { name: 'rootfs/kept', content: 'kept' },
      { name: 'rootfs/soft', typeflag: '2', linkName: 'kept' },
      { name: 'rootfs/hard', typeflag: '1', linkName: 'rootfs/kept' },
      { name: 'rootfs/soft', content: 'new' },
      { name: 'rootfs/hard', content: Buffer.alloc(600_000, 'n') },
    ]);
    expect(readFileSync(join(tree, 'kept'), 'utf8')).toBe('kept');
    expect(lstatSync(join(tree, 'soft')).isFile()).toBe(true);
  });

  it('replaces a symbolic link by a directory without following it', async () => {
    const tree = await unpack([
      { name: 'rootfs/real/', typeflag: '5' },
      { name: 'rootfs/dir', typeflag: '2', linkName: 'real' },
      { name: 'rootfs/dir/', typeflag: '5' },
      { name: 'rootfs/dir/file', content: 'x' },
    ]);
    expect(lstatSync(join(tree, 'dir')).isDirectory()).toBe(true);
    expect(() => lstatSync(join(tree, 'real/file'))).toThrow('ENOENT');
  });

  it('takes the later metadata of a directory, and keeps what is in it', async () => {
    const tree = await unpack([
      { name: 'rootfs/d/', typeflag: '5', mode: 0o700 },
      { name: 'rootfs/d/file', content: 'x' },
      { name: 'rootfs/d/', typeflag: '5', mode: 0o711, seconds: 1_000_000_000 },
    ]);
    expect(lstatSync(join(tree, 'd')).mode & 0o7777).toBe(0o711);
    expect(lstatSync(join(tree, 'd')).mtimeMs).toBe(1e12);
    expect(readFileSync(join(tree, 'd/file'), 'utf8')).toBe('x');
  });
});

describe('an image archive', () => {
  const manifest = { name: 'manifest', content: manifestOf('example.com/t') };
  const rootfs = { name: 'rootfs/', typeflag: '5' };

  it.each([
    ['first', [manifest, rootfs]],
    ['last', [rootfs, { name: 'rootfs/a', content: 'x' }, manifest]],
    ['behind ./', [{ name: './', typeflag: '5' }, { ...manifest, name: './manifest' }, rootfs]],
  ])('may have its manifest %s', async (_, members) => {
    const staged = await stage(emptyStore(), tarOf(members));
    expect(staged.manifest.name).toBe('example.com/t');
    await staged.discard();
  });

  it('is named by the digest of its uncompressed bytes', async () => {
    const store = emptyStore();
    const bytes = aciOf([{ name: 'rootfs/a', content: 'x' }]);
    const plain = await importImage(store, bytes);
    const packed = await importImage(store, gzipSync(bytes));
    expect(packed.id).toBe(plain.id);
    expect(packed.blob.hex).not.toBe(plain.blob.hex);
    expect(plain.id).toBe(`sha512-${plain.blob.hex}`);
    expect(packed.size).toBe(bytes.length);
  });

  it.each([
    ['no manifest', tarOf([rootfs]), 'invalid-archive', 'it has no manifest'],
    ['no rootfs', tarOf([manifest]), 'invalid-archive', 'it has no rootfs'],
    ['two manifests', tarOf([manifest, rootfs, manifest]), 'invalid-archive', 'a second manifest'],
    [
      'a manifest that is a link',
      tarOf([rootfs, { name: 'manifest', typeflag: '2', linkName: '/etc/passwd' }]),
      'invalid-archive',
      'the manifest is a symlink',
    ],
    [
      'a rootfs that is a file',
      tarOf([manifest, { name: 'rootfs', content: 'x' }]),
      'invalid-archive',
      'the root file system is a file',
    ],
    [
      'a rootfs that is a link',
      tarOf([manifest, { name: 'rootfs', typeflag: '2', linkName: '/' }]),
      'invalid-archive',
      'the root file system is a symlink',
    ],
    [
      'a manifest of another kind',
      tarOf([{ name: 'manifest', content: '{"acKind":"PodManifest"}' }, rootfs]),
      'invalid-manifest',
      'acKind',
    ],
    [
      'a manifest that is no JSON',
      tarOf([{ name: 'manifest', content: '{' }, rootfs]),
      'invalid-manifest',
      'image manifest',
    ],
    [
      'something else beside them',
      tarOf([manifest, rootfs, { name: 'README', content: 'x' }]),
      'invalid-archive',
      'entry "README" refused: only "manifest" and "rootfs"',
    ],
    ['no archive at all', Buffer.from('<html>not found</html>'), 'invalid-archive', 'truncated'],
    ['nothing', Buffer.alloc(0), 'invalid-archive', 'truncated'],
    [
      'an end missing',
      Buffer.concat([memberBytes(manifest), memberBytes(rootfs)]),
      'invalid-archive',
      'truncated',
    ],
  ])('is refused with %s', async (_, bytes, code, message) => {
    await expect(stage(emptyStore(), bytes)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message) as string,
    });
  });
});
