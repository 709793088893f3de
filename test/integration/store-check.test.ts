import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { beforeEach, describe, expect, it } from 'vitest';
import type { ImageRecord } from '../../src/image/image-record.ts';
import type { Store } from '../../src/store/store.ts';
import { differenceBetween } from '../../src/store/tree-comparison.ts';
import { system } from '../../src/system/binding.ts';
import { needs, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { aciOf, manifestOf } from '../unit/store/image-archive.ts';
import { emptyStore, importImage, pathsBelow } from './store-fixture.ts';

beforeEach((context) => needs(context, root));

const archive = aciOf([
  { name: 'rootfs/bin/', typeflag: '5', mode: 0o755 },
  { name: 'rootfs/bin/app', content: 'binary', mode: 0o4755 },
  { name: 'rootfs/bin/alias', typeflag: '1', linkName: 'rootfs/bin/app' },
  { name: 'rootfs/bin/link', typeflag: '2', linkName: 'app' },
  { name: 'rootfs/null', typeflag: '3', major: 1, minor: 3 },
  { name: 'rootfs/large', content: Buffer.alloc(700_000, 'z') },
]);
const plain = { overwrite: false, rootfsOnly: false } as const;

interface Stored {
  readonly store: Store;
  readonly record: ImageRecord;
  readonly tree: string;
  readonly blob: string;
}

async function stored(): Promise<Stored> {
  const store = emptyStore();
  const record = await importImage(store, gzipSync(archive));
  const { layout } = store;
  return { store, record, tree: layout.layer(record.id), blob: layout.blob(record.blob) };
}

/** Changes content and nothing else that can be seen from outside. */
function overwrite(path: string, content: string): void {
  const { atimeNs, mtimeNs } = lstatSync(path, { bigint: true });
  writeFileSync(path, content);
  utimesSync(path, Number(atimeNs) / 1e9, Number(mtimeNs) / 1e9);
}

describe('verifying an image', () => {
  it('finds nothing wrong with what was just stored', async () => {
    const { store, record } = await stored();
    await store.verifyImage(record);
    expect(pathsBelow(store.layout.staging)).toEqual([]);
  });

  it.each<[string, (tree: string) => void, string]>([
    ['content', (t) => overwrite(join(t, 'bin/app'), 'hinary'), '/bin/a'],
    ['the end of a large file', (t) => truncateSync(join(t, 'large'), 699_999), '/large'],
    ['a mode', (t) => chmodSync(join(t, 'bin/app'), 0o755), '/bin/alias has mode 0755, not 4755'],
    ['an owner', (t) => system.chownAt(-100, join(t, 'null'), 1, 0), '/null belongs to 1:0'],
    ['a time', (t) => utimesSync(join(t, 'large'), 1, 1), '/large was changed at another time'],
    [
      'an attribute',
      (t) => system.setXattr(join(t, 'large'), 'user.x', Buffer.from('y')),
      'user.x',
    ],
    ['a file more', (t) => writeFileSync(join(t, 'bin/new'), 'x'), '/bin/new is not part of'],
    ['a directory more', (t) => mkdirSync(join(t, 'bin/sub')), '/bin/sub is not part of the image'],
    ['a file less', (t) => unlinkSync(join(t, 'large')), '/large is missing'],
    ['the tree gone', (t) => rmSync(t, { recursive: true }), 'is missing'],
    [
      'a link that points elsewhere',
      (t) => {
        unlinkSync(join(t, 'bin/link'));
        symlinkSync('alias', join(t, 'bin/link'));
        system.setTimesAt(-100, join(t, 'bin/link'), 1_500_000_000, 0);
      },
      '/bin/link points elsewhere',
    ],
    [
      'a device that is another',
      (t) => {
        unlinkSync(join(t, 'null'));
        system.mknodAt(-100, join(t, 'null'), 0o020644, 2 ** 32 + 5);
        system.setTimesAt(-100, join(t, 'null'), 1_500_000_000, 0);
      },
      '/null is another device',
    ],
    [
      'a file in place of a link',
      (t) => {
        unlinkSync(join(t, 'bin/link'));
        writeFileSync(join(t, 'bin/link'), 'app');
      },
      '/bin/link is of another type',
    ],
    [
      'a hard link taken apart',
      (t) => {
        unlinkSync(join(t, 'bin/alias'));
        writeFileSync(join(t, 'bin/alias'), 'binary');
        chmodSync(join(t, 'bin/alias'), 0o4755);
        system.setTimesAt(-100, join(t, 'bin/alias'), 1_500_000_000, 0);
      },
      'no longer linked to its other names',
    ],
  ])('notices %s', async (_, alter, what) => {
    const { store, record, tree } = await stored();
    alter(tree);
    const failure = await store.verifyImage(record).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'store' });
    const { message } = failure as Error;
    expect(message).toContain(`tree cache verification failed for image ${record.id}: `);
    expect(message).toContain(what);
  });

  it('does not mind that a rendering shares its files', async () => {
    const { store, record, tree } = await stored();
    linkSync(join(tree, 'large'), join(temporaryDirectory(), 'large'));
    await store.verifyImage(record);
  });
});

describe('a blob altered behind the back of the store', () => {
  const damages: readonly (readonly [string, (blob: string) => void])[] = [
    ['a byte flipped', (blob) => flip(blob, 200)],
    ['its checksum flipped', (blob) => flip(blob, -6)],
    ['cut short', (blob) => truncateSync(blob, 300)],
    ['emptied', (blob) => truncateSync(blob, 0)],
    ['gone', (blob) => unlinkSync(blob)],
    ['another image', (blob) => writeFileSync(blob, gzipSync(aciOf([], manifestOf('evil'))))],
    ['the same compressed anew', (blob) => writeFileSync(blob, recompressed(blob))],
  ];

  it.each(damages)('(%s) is noticed by verify, export, extract and render', async (_, damage) => {
    const { store, record, blob } = await stored();
    const out = temporaryDirectory();
    damage(blob);
    const attempts = [
      store.verifyImage(record),
      store.exportImage(record, join(out, 'a.aci'), { overwrite: false }),
      store.extractImage(record, join(out, 'a'), plain),
      store.renderImage(record, join(out, 'b'), { ...plain, dependencies: () => undefined }),
    ];
    for (const result of await Promise.allSettled(attempts)) {
      expect(result).toMatchObject({
        status: 'rejected',
        reason: {
          code: 'store',
          message: expect.stringContaining(`${blob} is not what was stored`) as string,
        },
      });
    }
    expect(pathsBelow(out)).toEqual([]);
    expect(pathsBelow(store.layout.staging)).toEqual([]);
  });

  function flip(path: string, at: number): void {
    const bytes = readFileSync(path);
    const index = at < 0 ? bytes.length + at : at;
    bytes[index] = (bytes[index] ?? 0) ^ 1;
    writeFileSync(path, bytes);
  }

  function recompressed(path: string): Buffer {
    return gzipSync(gunzipSync(readFileSync(path)), { level: 1 });
  }
});

describe('exporting an image', () => {
  it('writes the uncompressed archive', async () => {
    const { store, record } = await stored();
    const path = join(temporaryDirectory(), 'out.aci');
    await store.exportImage(record, path, { overwrite: false });
    expect(readFileSync(path).equals(archive)).toBe(true);
    expect(lstatSync(path).mode & 0o777).toBe(0o644);
  });

  it('replaces a file only when asked to', async () => {
    const { store, record } = await stored();
    const path = join(temporaryDirectory(), 'out.aci');
    writeFileSync(path, 'precious');
    await expect(store.exportImage(record, path, { overwrite: false })).rejects.toThrow(
      'output ACI file exists (try --overwrite)',
    );
    expect(readFileSync(path, 'utf8')).toBe('precious');
    await store.exportImage(record, path, { overwrite: true });
    expect(readFileSync(path).equals(archive)).toBe(true);
  });

  it('names the directory it cannot write to', async () => {
    const { store, record } = await stored();
    const dir = join(temporaryDirectory(), 'missing');
    await expect(
      store.exportImage(record, join(dir, 'out.aci'), { overwrite: false }),
    ).rejects.toMatchObject({
      code: 'store',
      message: expect.stringContaining(`in ${dir}`) as string,
    });
  });
});

describe('extracting an image', () => {
  it('writes the manifest and the root file system', async () => {
    const { store, record, tree } = await stored();
    const dir = join(temporaryDirectory(), 'out');
    await store.extractImage(record, dir, plain);
    expect(readFileSync(join(dir, 'manifest'), 'utf8')).toBe(manifestOf('example.com/t'));
    expect(differenceBetween(tree, join(dir, 'rootfs'))).toBeUndefined();
    expect(lstatSync(join(dir, 'rootfs/large')).ino).not.toBe(lstatSync(join(tree, 'large')).ino);
  });

  it('writes the root file system alone when asked to', async () => {
    const { store, record, tree } = await stored();
    const dir = join(temporaryDirectory(), 'out');
    await store.extractImage(record, dir, { overwrite: false, rootfsOnly: true });
    expect(differenceBetween(tree, dir)).toBeUndefined();
  });

  it('replaces a directory only when asked to, and never the root', async () => {
    const { store, record } = await stored();
    const parent = temporaryDirectory();
    const dir = join(parent, 'out');
    mkdirSync(dir);
    writeFileSync(join(dir, 'precious'), 'x');
    await expect(store.extractImage(record, dir, plain)).rejects.toThrow(
      'output directory exists (try --overwrite)',
    );
    await store.extractImage(record, dir, { overwrite: true, rootfsOnly: false });
    expect(existsSync(join(dir, 'precious'))).toBe(false);
    expect(existsSync(join(dir, 'manifest'))).toBe(true);
    expect(pathsBelow(parent).filter((path) => path.startsWith('.'))).toEqual([]);
    await expect(
      store.extractImage(record, '/tmp/..', { overwrite: true, rootfsOnly: false }),
    ).rejects.toThrow('this would delete your root filesystem');
  });
});
