import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { ImageRecord } from '../../src/image/image-record.ts';
import { parseReference } from '../../src/image/reference.ts';
import type { DependencyFinder, Store } from '../../src/store/store.ts';
import { system } from '../../src/system/binding.ts';
import { needs, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { aciOf, type Member, manifestOf } from '../unit/store/image-archive.ts';
import { emptyStore, importImage, pathsBelow } from './store-fixture.ts';

beforeEach((context) => needs(context, root));

interface Parts {
  readonly needs?: readonly string[];
  readonly only?: readonly string[];
  readonly members: readonly Member[];
}

const file = (name: string, content: string): Member => ({ name: `rootfs/${name}`, content });
const directory = (name: string, more: Partial<Member> = {}): Member => ({
  name: `rootfs/${name}/`,
  typeflag: '5',
  mode: 0o755,
  ...more,
});

async function put(store: Store, name: string, parts: Parts): Promise<ImageRecord> {
  const dependencies = (parts.needs ?? []).map((imageName) => ({ imageName }));
  const manifest = manifestOf(name, { dependencies, pathWhitelist: parts.only ?? [] });
  return importImage(store, aciOf(parts.members, manifest));
}

const finder =
  (store: Store): DependencyFinder =>
  ({ imageName }) =>
    store.findImage(parseReference(imageName));

/** Stores the images, renders the last, and answers its tree. */
async function rendered(images: Readonly<Record<string, Parts>>): Promise<string> {
  const store = emptyStore();
  let record: ImageRecord | undefined;
  for (const [name, parts] of Object.entries(images)) record = await put(store, name, parts);
  if (record === undefined) throw new Error('no image');
  const [tree, ...others] = await store.layerPaths(record, finder(store));
  expect(others).toEqual([]);
  return tree ?? '';
}

describe('the tree of an image', () => {
  it('without dependencies is its own', async () => {
    const store = emptyStore();
    const record = await put(store, 'a', { members: [file('x', 'a')] });
    expect(await store.layerPaths(record, finder(store))).toEqual([store.layout.layer(record.id)]);
  });

  it('has the files of its dependencies, the later over the earlier, its own over all', async () => {
    const tree = await rendered({
      b: { members: [file('1', 'b'), file('2', 'b'), file('3', 'b'), file('only-b', 'b')] },
      d: { members: [file('2', 'd'), file('3', 'd'), file('4', 'd')] },
      c: { needs: ['d'], members: [file('3', 'c'), file('4', 'c')] },
      a: { needs: ['b', 'c'], members: [file('4', 'a')] },
    });
    const contents = ['1', '2', '3', '4', 'only-b'].map((f) => readFileSync(join(tree, f), 'utf8'));
    expect(contents).toEqual(['b', 'd', 'c', 'a', 'b']);
  });

  it('replaces whatever a later image has as something else, following no link', async () => {
    const tree = await rendered({
      b: {
        members: [
          directory('real'),
          { name: 'rootfs/link', typeflag: '2', linkName: 'real' },
          file('file', 'b'),
          directory('dir'),
          file('dir/inside', 'b'),
        ],
      },
      a: {
        needs: ['b'],
        members: [
          directory('link'),
          file('link/new', 'a'),
          directory('file'),
          file('file/new', 'a'),
          file('dir', 'a'),
        ],
      },
    });
    expect(pathsBelow(tree)).toEqual(['dir', 'file', 'file/new', 'link', 'link/new', 'real']);
    expect(lstatSync(join(tree, 'link')).isDirectory()).toBe(true);
    expect(readFileSync(join(tree, 'dir'), 'utf8')).toBe('a');
  });

  it('takes the metadata of a directory from the last image that has it', async () => {
    const tree = await rendered({
      b: {
        members: [
          directory('d', { mode: 0o700, uid: 1, pax: { 'SCHILY.xattr.user.b': 'b' } }),
          file('d/b', 'b'),
          directory('e', { mode: 0o711, seconds: 1_111_111_111 }),
        ],
      },
      a: {
        needs: ['b'],
        members: [
          directory('d', { mode: 0o1777, uid: 2, pax: { mtime: '1234567890.5' } }),
          file('d/a', 'a'),
        ],
      },
    });
    const d = lstatSync(join(tree, 'd'), { bigint: true });
    expect([d.mode & 0o7777n, d.uid, d.mtimeNs]).toEqual([0o1777n, 2n, 1234567890500000000n]);
    expect(system.listXattr(join(tree, 'd'))).toEqual([]);
    expect(lstatSync(join(tree, 'e')).mtimeMs).toBe(1_111_111_111_000);
    expect(readdirSync(join(tree, 'd'))).toEqual(['a', 'b']);
  });

  it('shares its files with the images', async () => {
    const store = emptyStore();
    const base = await put(store, 'b', { members: [file('x', 'b')] });
    const record = await put(store, 'a', { needs: ['b'], members: [file('y', 'a')] });
    const [tree = ''] = await store.layerPaths(record, finder(store));
    const inode = (path: string): number => statSync(path).ino;
    expect(inode(join(tree, 'x'))).toBe(inode(join(store.layout.layer(base.id), 'x')));
  });

  it('keeps links and devices', async () => {
    const tree = await rendered({
      b: {
        members: [
          { name: 'rootfs/l', typeflag: '2', linkName: 'x', uid: 3 },
          { name: 'rootfs/null', typeflag: '3', major: 1, minor: 3 },
          { name: 'rootfs/fifo', typeflag: '6' },
        ],
      },
      a: { needs: ['b'], members: [] },
    });
    expect(readlinkSync(join(tree, 'l'))).toBe('x');
    expect(lstatSync(join(tree, 'l')).uid).toBe(3);
    expect(lstatSync(join(tree, 'null')).isCharacterDevice()).toBe(true);
    expect(lstatSync(join(tree, 'fifo')).isFIFO()).toBe(true);
  });
});

describe('a path whitelist', () => {
  const base = [
    directory('etc', { mode: 0o750 }),
    file('etc/app.conf', 'b'),
    file('etc/passwd', 'b'),
    directory('usr'),
    directory('usr/lib'),
    file('usr/lib/a.so', 'b'),
    directory('var'),
  ];

  it('leaves the paths it names and the directories on the way', async () => {
    const tree = await rendered({
      b: { members: base },
      a: {
        needs: ['b'],
        only: ['/etc/app.conf', '/bin/app', '/nothing/here', '/var/'],
        members: [directory('bin'), file('bin/app', 'a'), file('bin/other', 'a')],
      },
    });
    expect(pathsBelow(tree)).toEqual(['bin', 'bin/app', 'etc', 'etc/app.conf', 'var']);
    expect(lstatSync(join(tree, 'etc')).mode & 0o7777).toBe(0o750);
  });

  it('holds for an image without dependencies too', async () => {
    const tree = await rendered({ a: { only: ['/etc/passwd'], members: base } });
    expect(pathsBelow(tree)).toEqual(['etc', 'etc/passwd']);
  });

  it('of a dependency holds for what comes through it only', async () => {
    const tree = await rendered({
      d: { members: [file('1', 'd'), file('2', 'd')] },
      b: { needs: ['d'], only: ['/1'], members: [file('b', 'b')] },
      c: { members: [file('3', 'c')] },
      a: { needs: ['b', 'c'], members: [file('4', 'a')] },
    });
    expect(pathsBelow(tree)).toEqual(['1', '3', '4']);
  });
});

describe('a rendering', () => {
  it('is made once, by whoever comes first', async () => {
    const store = emptyStore();
    await put(store, 'b', { members: [file('x', 'b')] });
    const record = await put(store, 'a', { needs: ['b'], members: [file('y', 'a')] });
    const find = finder(store);
    const both = await Promise.all([
      store.layerPaths(record, find),
      store.layerPaths(record, find),
    ]);
    const [tree = ''] = both[0];
    expect(both[1]).toEqual([tree]);
    const { ino } = statSync(tree);
    await store.layerPaths(record, find);
    expect(statSync(tree).ino).toBe(ino);
    expect(readdirSync(store.layout.staging)).toEqual([]);
  });

  it('is another once a dependency is replaced', async () => {
    const store = emptyStore();
    await put(store, 'b', { members: [file('x', 'old')] });
    const record = await put(store, 'a', { needs: ['b'], members: [] });
    const [old = ''] = await store.layerPaths(record, finder(store));
    await put(store, 'b', { members: [file('x', 'new')] });
    const [tree = ''] = await store.layerPaths(record, finder(store));
    expect(readFileSync(join(tree, 'x'), 'utf8')).toBe('new');
    expect(readFileSync(join(old, 'x'), 'utf8')).toBe('old');
  });

  it('says which dependency is missing', async () => {
    const store = emptyStore();
    const record = await put(store, 'a', { needs: ['b'], members: [] });
    await expect(store.layerPaths(record, finder(store))).rejects.toThrow(
      'image a needs b, which is not in the store',
    );
    expect(existsSync(store.layout.staging) && readdirSync(store.layout.staging)).toEqual([]);
  });
});

describe('rendering into a directory', () => {
  it('writes what a pod would see, sharing nothing with the store', async () => {
    const store = emptyStore();
    await put(store, 'b', { members: [directory('d', { mode: 0o700 }), file('d/x', 'b')] });
    const record = await put(store, 'a', { needs: ['b'], members: [file('y', 'a')] });
    const out = join(temporaryDirectory(), 'out');
    const options = { overwrite: false, rootfsOnly: false, dependencies: finder(store) };
    await store.renderImage(record, out, options);
    expect(pathsBelow(out)).toEqual(['manifest', 'rootfs', 'rootfs/d', 'rootfs/d/x', 'rootfs/y']);
    expect(JSON.parse(readFileSync(join(out, 'manifest'), 'utf8')).name).toBe('a');
    expect(statSync(join(out, 'rootfs/d/x')).nlink).toBe(1);
    expect(lstatSync(join(out, 'rootfs/d')).mode & 0o7777).toBe(0o700);
  });
});
