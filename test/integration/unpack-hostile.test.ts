import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, it } from 'vitest';
import { defaultUnpackLimits } from '../../src/image/unpack-limits.ts';
import { needs, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { aciOf, type Member, wideLimits } from '../unit/store/image-archive.ts';
import { contentsOf, emptyStore, stage } from './store-fixture.ts';

beforeEach((context) => needs(context, root));

const symlink = (name: string, linkName: string): Member => ({ name, typeflag: '2', linkName });
const hardLink = (name: string, linkName: string): Member => ({ name, typeflag: '1', linkName });
const file = (name: string, content = 'evil'): Member => ({ name, content });

/** Each is refused, in one line that names the entry; nothing of the image stays. */
const hostile: readonly (readonly [string, readonly Member[], entry: string, why: string])[] = [
  ['a name with ..', [file('rootfs/../../x')], 'rootfs/../../x', 'contains ".."'],
  ['an absolute name', [file('/etc/cron.d/x')], '/etc/cron.d/x', 'absolute'],
  [
    'an absolute PAX name',
    [{ ...file('rootfs/x'), pax: { path: '/etc/x' } }],
    '/etc/x',
    'absolute',
  ],
  [
    'a PAX name with a NUL',
    [{ ...file('rootfs/x'), pax: { path: 'rootfs/a\0b' } }],
    'rootfs/a',
    'NUL',
  ],
  ['a symbolic link out of the root', [symlink('rootfs/x', '../../etc')], 'rootfs/x', 'leaves'],
  [
    'a file through a symbolic link that stays inside',
    [{ name: 'rootfs/d/', typeflag: '5' }, symlink('rootfs/l', 'd'), file('rootfs/l/x')],
    'rootfs/l/x',
    'through a symbolic link',
  ],
  [
    'a file through an absolute symbolic link',
    [symlink('rootfs/l', '/etc'), file('rootfs/l/x')],
    'rootfs/l/x',
    'through a symbolic link',
  ],
  [
    'a directory through a symbolic link',
    [symlink('rootfs/l', '/tmp'), { name: 'rootfs/l/d/', typeflag: '5' }],
    'rootfs/l/d/',
    'through a symbolic link',
  ],
  [
    'a symbolic link through a symbolic link',
    [symlink('rootfs/l', '/tmp'), symlink('rootfs/l/m', 'x')],
    'rootfs/l/m',
    'through a symbolic link',
  ],
  [
    'a large file through a symbolic link',
    [symlink('rootfs/l', '/tmp'), file('rootfs/l/x', 'x'.repeat(700_000))],
    'rootfs/l/x',
    'through a symbolic link',
  ],
  [
    'a file below a file',
    [file('rootfs/f'), file('rootfs/f/x')],
    'rootfs/f/x',
    'something that is no directory',
  ],
  [
    'a file in place of a directory',
    [{ name: 'rootfs/d/', typeflag: '5' }, file('rootfs/d')],
    'rootfs/d',
    'a directory of this name came before',
  ],
  [
    'a hard link out of the root',
    [hardLink('rootfs/x', '../../etc/passwd')],
    '../../etc/passwd',
    '".."',
  ],
  ['a hard link to an absolute name', [hardLink('rootfs/x', '/etc/passwd')], '/etc/passwd', 'abs'],
  [
    'a hard link to the manifest',
    [hardLink('rootfs/x', 'manifest')],
    'rootfs/x',
    'a hard link to "manifest"',
  ],
  [
    'a hard link to what is not there',
    [hardLink('rootfs/x', 'rootfs/y')],
    'rootfs/x',
    'which is not there',
  ],
  [
    'a hard link to itself',
    [file('rootfs/y'), hardLink('rootfs/x', 'rootfs/x')],
    'rootfs/x',
    'which is not there',
  ],
  [
    'a hard link to a symbolic link',
    [symlink('rootfs/l', '/etc/passwd'), hardLink('rootfs/x', 'rootfs/l')],
    'rootfs/x',
    'a hard link to the symbolic link',
  ],
  [
    'a hard link through a symbolic link',
    [symlink('rootfs/l', '/etc'), hardLink('rootfs/x', 'rootfs/l/passwd')],
    'rootfs/x',
    'cannot be reached',
  ],
  [
    'a hard link to a directory',
    [{ name: 'rootfs/d/', typeflag: '5' }, hardLink('rootfs/x', 'rootfs/d')],
    'rootfs/x',
    'a hard link to the directory',
  ],
  [
    'an overlayfs whiteout',
    [{ name: 'rootfs/w', typeflag: '3', major: 0, minor: 0 }],
    'rootfs/w',
    'whiteout',
  ],
  [
    'an attribute that makes a directory opaque to overlayfs',
    [{ name: 'rootfs/d/', typeflag: '5', pax: { 'SCHILY.xattr.trusted.overlay.opaque': 'y' } }],
    'rootfs/d/',
    'overlayfs',
  ],
  [
    'an attribute that redirects overlayfs',
    [{ ...file('rootfs/d'), pax: { 'SCHILY.xattr.user.overlay.redirect': '/etc' } }],
    'rootfs/d',
    'overlayfs',
  ],
  [
    'an attribute of no name',
    [{ ...file('rootfs/d'), pax: { 'SCHILY.xattr.': 'x' } }],
    'rootfs/d',
    'without a usable name',
  ],
  [
    'an attribute of a class that does not exist',
    [{ ...file('rootfs/d'), pax: { 'SCHILY.xattr.nonsense.x': 'x' } }],
    'rootfs/d',
    'cannot be stored',
  ],
];

describe('a hostile archive', () => {
  it.each(hostile)('with %s is refused', async (_, members, entry, why) => {
    const store = emptyStore();
    const failure = await stage(store, aciOf(members)).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'invalid-archive' });
    const { message } = failure as Error;
    expect(message).toContain(`image archive: entry "${entry}`);
    expect(message).toContain(why);
    expect(message).not.toContain('\n');
    expect(contentsOf(store)).toEqual([]);
  });

  it('touches nothing outside by any of these', async () => {
    const outside = temporaryDirectory();
    mkdirSync(join(outside, 'd'));
    writeFileSync(join(outside, 'victim'), 'untouched');
    const attempts: readonly (readonly Member[])[] = [
      [symlink('rootfs/l', outside), file('rootfs/l/new')],
      [symlink('rootfs/l', join(outside, 'victim')), file('rootfs/l')],
      [symlink('rootfs/l', join(outside, 'd')), { name: 'rootfs/l/', typeflag: '5', mode: 0 }],
      [symlink('rootfs/l', outside), hardLink('rootfs/h', 'rootfs/l/victim'), file('rootfs/h')],
    ];
    for (const members of attempts) {
      const staged = await stage(emptyStore(), aciOf(members)).catch(() => undefined);
      await staged?.discard();
    }
    expect(existsSync(join(outside, 'new'))).toBe(false);
    expect(readFileSync(join(outside, 'victim'), 'utf8')).toBe('untouched');
  });
});

describe('a decompression bomb', () => {
  it('is stopped at the bound on unpacked bytes', async () => {
    const store = emptyStore();
    const bytes = gzipSync(aciOf([{ name: 'rootfs/zeros', content: Buffer.alloc(50_000_000) }]));
    await expect(stage(store, bytes, { ...wideLimits, maxUnpackedBytes: 1e6 })).rejects.toThrow(
      'unpacks to more than 1000000 bytes; if it is trusted, raise maxUnpackedBytes',
    );
    expect(contentsOf(store)).toEqual([]);
  });

  it('is stopped at the bound on the ratio', async () => {
    const store = emptyStore();
    const bytes = gzipSync(aciOf([{ name: 'rootfs/zeros', content: Buffer.alloc(300_000_000) }]));
    await expect(stage(store, bytes, defaultUnpackLimits)).rejects.toThrow(
      'unpacks to more than 250 times its size',
    );
    expect(contentsOf(store)).toEqual([]);
  });

  it('is stopped at the bound on entries', async () => {
    const store = emptyStore();
    const many = Array.from({ length: 50 }, (_, i) => file(`rootfs/${i}`));
    await expect(stage(store, aciOf(many), { ...wideLimits, maxEntries: 51 })).rejects.toThrow(
      'more than 51 entries',
    );
    expect(contentsOf(store)).toEqual([]);
  });

  it('is stopped at the bound on entries also when it does not mention its directories', async () => {
    const store = emptyStore();
    const many = Array.from({ length: 15 }, (_, i) => file(`rootfs/${`${i}/`.repeat(9)}x`));
    await expect(stage(store, aciOf(many), { ...wideLimits, maxEntries: 100 })).rejects.toThrow(
      'more than 100 entries',
    );
    expect(contentsOf(store)).toEqual([]);
  });

  it('is stopped when it goes on and on without unpacking to anything', async () => {
    const store = emptyStore();
    const bytes = Buffer.concat([...Array(60_000).fill(gzipSync(''))]);
    await expect(stage(store, bytes, { ...wideLimits, maxUnpackedBytes: 1e6 })).rejects.toThrow(
      'it is larger than 1000000 bytes',
    );
    expect(contentsOf(store)).toEqual([]);
  });

  it('does not pass by claiming a size it does not have', async () => {
    const bytes = aciOf([{ name: 'rootfs/a', content: 'x', size: 2 ** 33 }]);
    await expect(stage(emptyStore(), bytes)).rejects.toThrow('truncated');
  });
});

describe('a damaged archive', () => {
  const good = gzipSync(
    aciOf(Array.from({ length: 300 }, (_, i) => file(`rootfs/${i}`, String(i).repeat(300)))),
  );

  it.each([0.1, 0.5, 0.9, 0.999])('cut at %f of its length is refused', async (part) => {
    const store = emptyStore();
    const failure = await stage(store, good.subarray(0, good.length * part)).catch((e) => e);
    expect(failure).toMatchObject({ code: 'invalid-archive' });
    expect(contentsOf(store)).toEqual([]);
  });

  it('with one byte changed is refused or gets another name', async () => {
    const store = emptyStore();
    const honest = await stage(store, good);
    await honest.discard();
    for (let at = 0; at < good.length; at += Math.ceil(good.length / 12)) {
      const changed = Buffer.from(good);
      changed[at] = (changed[at] ?? 0) ^ 0x01;
      const staged = await stage(store, changed).catch(() => undefined);
      if (staged === undefined) continue;
      expect(staged.blob.hex).not.toBe(honest.blob.hex);
      await staged.discard();
    }
    expect(contentsOf(store)).toEqual([]);
  });
});
