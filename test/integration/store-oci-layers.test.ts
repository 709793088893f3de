import { lstatSync } from 'node:fs';
import { beforeEach, describe, expect, it } from 'vitest';
import type { ImageRecord } from '../../src/image/image-record.ts';
import type { Store } from '../../src/store/store.ts';
import { system } from '../../src/system/binding.ts';
import { needs, program, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { type Member, tarOf, wideLimits } from '../unit/store/image-archive.ts';
import { contentsOf, emptyStore } from './store-fixture.ts';
import { importOci, layerOf, marksIn, mounted } from './store-oci-fixture.ts';

beforeEach((context) => needs(context, root, program('unshare')));

const dir = (name: string, mode = 0o755): Member => ({ name, typeflag: '5', mode });
const file = (name: string, content = name): Member => ({ name, content });
const link = (name: string, linkName: string): Member => ({ name, typeflag: '2', linkName });

/** The tree of the last layer of an image, and the image. */
async function unpacked(
  ...layers: Member[][]
): Promise<{ store: Store; record: ImageRecord; tree: string }> {
  const store = emptyStore();
  const record = await importOci(store, layers.map(layerOf));
  const tree = store.layout.layer(record.oci?.layers.at(-1)?.tree ?? '');
  return { store, record, tree };
}

/** Paths the kernel shows of layers laid over each other. */
async function shown(...layers: Member[][]): Promise<string[]> {
  const { store, record } = await unpacked(...layers);
  const lines = await mounted(store, record, temporaryDirectory());
  return lines.map((line) => line.split(' ')[0] ?? '');
}

const isOpaque = (path: string): boolean =>
  system.listXattr(path).includes('trusted.overlay.opaque');

describe('a whiteout', () => {
  const base = [dir('d/'), file('d/a'), file('d/b'), file('f')];

  it('hides what lower layers have', async () => {
    expect(await shown(base, [dir('d/'), file('d/.wh.a', ''), file('.wh.f', '')])).toEqual([
      'd',
      'd/b',
    ]);
  });

  it.each([
    ['before', [file('d/.wh.a', ''), file('d/a', 'new')]],
    ['after', [file('d/a', 'new'), file('d/.wh.a', '')]],
  ])('%s what the same layer brings there hides nothing of it', async (_, upper) => {
    const { tree } = await unpacked(base, [dir('d/'), ...upper]);
    expect(marksIn(tree)).toEqual(['d/', 'd/a']);
  });

  it.each([
    ['before', [file('.wh.d', ''), dir('d/'), file('d/new')]],
    ['between', [dir('d/'), file('.wh.d', ''), file('d/new')]],
    ['after', [dir('d/'), file('d/new'), file('.wh.d', '')]],
    ['and no mention of the directory,', [file('d/new'), file('.wh.d', '')]],
  ])('%s a directory of the same name makes it opaque', async (_, upper) => {
    const { tree, store, record } = await unpacked(base, upper);
    expect(marksIn(tree)).toEqual(['d/', 'd/new']);
    expect(isOpaque(`${tree}/d`)).toBe(true);
    const lines = await mounted(store, record, temporaryDirectory());
    expect(lines.map((line) => line.split(' ')[0])).toEqual(['d', 'd/new', 'f']);
  });

  it('of everything in a directory makes it opaque, in any order', async () => {
    for (const upper of [
      [dir('d/'), file('d/.wh..wh..opq', ''), file('d/new')],
      [file('d/new'), dir('d/'), file('d/.wh..wh..opq', '')],
    ]) {
      expect(await shown(base, upper)).toEqual(['d', 'd/new', 'f']);
    }
  });

  it('of everything in the root hides all layers below', async () => {
    expect(await shown(base, [file('.wh..wh..opq', ''), file('only')])).toEqual(['only']);
  });

  it('in an opaque or removed directory is left out', async () => {
    const opaque = await unpacked(base, [
      dir('d/'),
      file('d/.wh.a', ''),
      file('d/.wh..wh..opq', ''),
    ]);
    expect(marksIn(opaque.tree)).toEqual(['d/']);
    const removed = await unpacked(base, [file('d/.wh.a', ''), file('.wh.d', '')]);
    expect(marksIn(removed.tree)).toEqual(['-d']);
  });

  it.each<[string, Member[]]>([
    ['of something in it', [link('d', 'f'), file('d/.wh.a', ''), file('d/x/.wh.b', '')]],
    ['of everything in it', [link('d', 'f'), file('d/.wh..wh..opq', '')]],
    ['before it', [file('d/.wh.a', ''), link('d', 'f')]],
  ])('is left out where the layer has a link instead of the directory: %s', async (_, upper) => {
    // umoci repack writes such, for a directory that became a link.
    const { tree, store, record } = await unpacked(base, upper);
    expect(marksIn(tree)).toEqual(['d -> f']);
    const lines = await mounted(store, record, temporaryDirectory());
    expect(lines.map((line) => line.split(' ')[0])).toEqual(['d', 'f']);
  });

  it('hides nothing of layers above it', async () => {
    expect(await shown(base, [file('.wh.f', '')], [file('f', 'again')])).toEqual([
      'd',
      'd/a',
      'd/b',
      'f',
    ]);
  });

  it('that is AUFS bookkeeping is passed over', async () => {
    const { tree } = await unpacked([
      file('.wh..wh.aufs', ''),
      dir('.wh..wh.plnk/'),
      file('.wh..wh.plnk/1.2'),
      file('f'),
    ]);
    expect(marksIn(tree)).toEqual(['f']);
  });
});

describe('a directory that a layer goes through without mentioning it', () => {
  it('keeps the owner, mode and attributes that lower layers give it', async () => {
    const tmp = { ...dir('tmp/', 0o1777), uid: 3, gid: 4, pax: { 'SCHILY.xattr.user.note': 'x' } };
    const { store, record } = await unpacked([tmp, dir('opt/')], [file('tmp/x'), file('opt/y')]);
    const lines = await mounted(store, record, temporaryDirectory());
    expect(lines.filter((line) => /^(tmp|opt) /.test(line))).toEqual([
      'opt d 755 0:0',
      'tmp d 1777 3:4',
    ]);
    const top = store.layout.layer(record.oci?.layers[1]?.tree ?? '');
    expect(system.getXattr(`${top}/tmp`, 'user.note')?.toString()).toBe('x');
  });

  it('makes no other tree where nothing differs', async () => {
    const { record } = await unpacked([dir('opt/')], [file('opt/y')]);
    expect(record.oci?.layers[1]?.tree).toMatch(/^diff-sha256-[0-9a-f]{64}$/);
  });

  it('shares the files of a layer that is stored with another one below', async () => {
    const store = emptyStore();
    const upper = layerOf([file('tmp/x')]);
    const plain = await importOci(store, [layerOf([file('a')]), upper], {
      name: 'r.example/plain',
    });
    const sticky = await importOci(store, [layerOf([dir('tmp/', 0o1777)]), upper], {
      name: 'r.example/sticky',
    });
    const trees = [plain, sticky].map(({ oci }) => store.layout.layer(oci?.layers[1]?.tree ?? ''));
    const modes = trees.map((tree) => lstatSync(`${tree}/tmp`).mode & 0o7777);
    expect(modes).toEqual([0o755, 0o1777]);
    const inodes = trees.map((tree) => lstatSync(`${tree}/tmp/x`).ino);
    expect(inodes[0]).toBe(inodes[1]);
    await store.verifyImage(sticky);
  });

  it('is new where a layer between has removed it', async () => {
    const { store, record } = await unpacked(
      [dir('d/', 0o700)],
      [file('.wh.d', '')],
      [file('d/x')],
    );
    const lines = await mounted(store, record, temporaryDirectory());
    expect(lines[0]).toBe('d d 755 0:0');
  });
});

describe('what other tools write in layers', () => {
  it.each<[string, Member[], string[]]>([
    ['names from the root on', [dir('/'), dir('/d/'), file('/d/f')], ['d/', 'd/f']],
    ['names from here on', [dir('./'), file('./f')], ['f']],
    ['links past the root', [link('l', '../../../etc')], ['l -> ../../../etc']],
    [
      'hard links from the root on',
      [file('a'), { name: 'b', typeflag: '1', linkName: '/a' }],
      ['a', 'b'],
    ],
    ['a directory where a link was', [link('d', 'x'), dir('d/'), file('d/f')], ['d/', 'd/f']],
    ['a file where a directory was', [dir('d/'), file('d/f'), file('d')], ['d']],
    ['a link where a directory was', [dir('d/'), file('d/f'), link('d', 'x')], ['d -> x']],
    ['nothing at all', [], []],
  ])('is taken: %s', async (_, members, marks) => {
    const { tree } = await unpacked(members);
    expect(marksIn(tree)).toEqual(marks);
  });

  it('is taken: an archive that just ends', async () => {
    const store = emptyStore();
    const record = await importOci(store, [layerOf(tarOf([file('f')]).subarray(0, 1024))]);
    expect(marksIn(store.layout.layer(record.oci?.layers[0]?.tree ?? ''))).toEqual(['f']);
  });
});

describe('a hostile layer', () => {
  it.each<[string, Member[][], string]>([
    ['a whiteout of nothing', [[file('d/.wh.', '')]], 'a whiteout of nothing'],
    ['a whiteout of itself', [[file('d/.wh..', '')]], 'a whiteout of "."'],
    ['a whiteout of what is above', [[file('d/.wh...', '')]], 'a whiteout of ".."'],
    ['a path through a whiteout', [[file('.wh.d/f')]], 'its path leads through a whiteout'],
    ['a name with ..', [[file('d/../../f')]], 'its name contains ".."'],
    ['a path through its own link', [[link('d', '/etc'), file('d/f')]], 'through a symbolic link'],
    [
      'a directory made a link, and written through',
      [[dir('lib/')], [link('lib', '/etc')], [file('lib/f')]],
      'writes through the symbolic link /lib of a layer below',
    ],
    [
      'a whiteout through a link of a layer below',
      [[link('lib', '/etc')], [file('lib/.wh.passwd', '')]],
      'writes through the symbolic link /lib of a layer below',
    ],
    [
      'a path through a file of a layer below',
      [[file('f')], [file('f/x')]],
      'writes through what is no directory, /f of a layer below',
    ],
    [
      'a hard link to what only a lower layer has',
      [[file('a')], [{ name: 'b', typeflag: '1', linkName: 'a' }]],
      'which is not there',
    ],
    ['a root that is no directory', [[link('./', '/etc')]], 'the root file system is a symlink'],
    ['device 0/0', [[{ name: 'd', typeflag: '3' }]], 'an overlayfs whiteout'],
    [
      'overlayfs attributes',
      [[{ ...dir('d/'), pax: { 'SCHILY.xattr.trusted.overlay.redirect': '/etc' } }]],
      'would change what overlayfs shows',
    ],
  ])('is refused and leaves nothing: %s', async (_, layers, why) => {
    const store = emptyStore();
    const work = importOci(store, layers.map(layerOf));
    await expect(work).rejects.toMatchObject({ code: 'invalid-archive' });
    await expect(work).rejects.toThrow(why);
    expect(contentsOf(store)).toEqual([]);
  });

  it('is refused for what all layers unpack to together', async () => {
    const store = emptyStore();
    const layers = ['a', 'b'].map((name) => layerOf([file(name, name.repeat(6000))]));
    const work = importOci(store, layers, { limits: { ...wideLimits, maxUnpackedBytes: 10_000 } });
    await expect(work).rejects.toThrow(/layer sha256:.*: it unpacks to more than 10000 bytes/);
    expect(contentsOf(store)).toEqual([]);
  });
});
