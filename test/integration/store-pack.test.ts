import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  linkSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { compressionOf } from '../../src/store/compression.ts';
import { type PackOptions, packImage } from '../../src/store/packing.ts';
import { differenceBetween } from '../../src/store/tree-comparison.ts';
import { system } from '../../src/system/binding.ts';
import { needs, program, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { manifestOf } from '../unit/store/image-archive.ts';
import { emptyStore, importImage, pathsBelow } from './store-fixture.ts';

beforeEach((context) => needs(context, root));

const AT_FDCWD = -100;

/** A tree with one of everything an image can hold, and what to pack it with. */
function workshop(): PackOptions & { readonly dir: string } {
  const dir = temporaryDirectory();
  const rootfs = join(dir, 'rootfs');
  const deep = join(rootfs, 'd'.repeat(90), 'é'.repeat(60));
  mkdirSync(deep, { recursive: true });
  writeFileSync(join(deep, 'file'), 'deep');
  mkdirSync(join(rootfs, 'bin'));
  writeFileSync(join(rootfs, 'bin/app'), Buffer.alloc(1_000_000, 'app'));
  linkSync(join(rootfs, 'bin/app'), join(rootfs, 'bin/zapp'));
  system.chownAt(AT_FDCWD, join(rootfs, 'bin/app'), 3_000_000, 70_000);
  chmodSync(join(rootfs, 'bin/app'), 0o6755);
  const capability = Buffer.from('0100000280200000000000000000000000000000', 'hex');
  system.setXattr(join(rootfs, 'bin/app'), 'security.capability', capability);
  system.setXattr(rootfs, 'user.root', Buffer.from([0xff, 0x0a]));
  symlinkSync('x'.repeat(200), join(rootfs, 'long-link'));
  symlinkSync('app', join(rootfs, 'bin/link'));
  system.mknodAt(AT_FDCWD, join(rootfs, 'fifo'), 0o010600, 0);
  system.mknodAt(AT_FDCWD, join(rootfs, 'disk'), 0o060600, 259 * 2 ** 32 + 70_000);
  system.setTimesAt(AT_FDCWD, join(rootfs, 'fifo'), -5, 250_000_000);
  writeFileSync(join(rootfs, 'empty'), '');
  const manifest = join(dir, 'manifest.json');
  writeFileSync(manifest, manifestOf('example.com/packed'));
  return { dir, rootfs, manifest, output: join(dir, 'out.aci'), compression: 'gzip' };
}

describe('packing an image', () => {
  it.each(['gzip', 'zstd', 'none'] as const)('unpacks to the same tree, with %s', async (kind) => {
    const options = { ...workshop(), compression: kind };
    const id = await packImage(options);
    const bytes = readFileSync(options.output);
    expect(compressionOf(bytes)).toBe(kind);
    const store = emptyStore();
    const record = await importImage(store, bytes);
    expect(record.id).toBe(id);
    expect(record.name).toBe('example.com/packed');
    expect(differenceBetween(options.rootfs, store.layout.layer(id))).toBeUndefined();
  });

  it('gives the same bytes for the same tree, wherever and whenever', async () => {
    const first = workshop();
    await packImage(first);
    const copy = join(temporaryDirectory(), 'copy');
    cpSync(first.manifest, `${copy}.json`);
    utimesSync(`${copy}.json`, 1, 1);
    execFileSync('cp', ['-a', first.rootfs, copy]);
    const output = `${copy}.aci`;
    await packImage({ ...first, rootfs: copy, manifest: `${copy}.json`, output });
    expect(readFileSync(output).equals(readFileSync(first.output))).toBe(true);
  });

  it('writes what tar unpacks to the same tree', async (context) => {
    needs(context, program('tar'));
    const options = workshop();
    await packImage(options);
    const out = join(options.dir, 'tar');
    mkdirSync(out);
    const args = ['--xattrs', '--xattrs-include=*', '--numeric-owner', '-xpf', options.output];
    // GNU tar reads a fraction of a second before the epoch otherwise than POSIX has it.
    execFileSync('tar', [...args, '--exclude=rootfs/fifo', '-C', out], { stdio: 'pipe' });
    execFileSync('cp', ['-a', join(options.rootfs, 'fifo'), join(out, 'rootfs/fifo')]);
    execFileSync('touch', ['-r', options.rootfs, join(out, 'rootfs')]);
    expect(differenceBetween(options.rootfs, join(out, 'rootfs'))).toBeUndefined();
  });

  it('replaces a file only when asked to', async () => {
    const options = workshop();
    writeFileSync(options.output, 'precious');
    await expect(packImage(options)).rejects.toThrow('try --overwrite');
    await packImage({ ...options, overwrite: true });
    expect(readFileSync(options.output, 'utf8')).not.toBe('precious');
  });

  it.each<[string, (options: PackOptions) => void, string, string]>([
    [
      'a manifest that is none',
      ({ manifest }) => writeFileSync(manifest, '{}'),
      'invalid-manifest',
      'image manifest',
    ],
    [
      'a link out of the root',
      ({ rootfs }) => symlinkSync('../../x', join(rootfs, 'l')),
      'invalid-archive',
      'leaves the root',
    ],
    [
      'an overlayfs whiteout',
      ({ rootfs }) => system.mknodAt(AT_FDCWD, join(rootfs, 'w'), 0o020600, 0),
      'usage',
      'whiteout',
    ],
    [
      "overlayfs's attributes",
      ({ rootfs }) => system.setXattr(rootfs, 'trusted.overlay.opaque', Buffer.from('y')),
      'usage',
      'trusted.overlay.opaque',
    ],
  ])('refuses %s, and writes nothing', async (_, spoil, code, why) => {
    const options = workshop();
    spoil(options);
    await expect(packImage(options)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(why) as string,
    });
    expect(pathsBelow(options.dir).filter((path) => !path.startsWith('rootfs'))).toEqual([
      'manifest.json',
    ]);
  });

  it.each([
    ['rootfs', 'cannot pack'],
    ['manifest', 'cannot read the manifest'],
  ])('names a %s that is not there', async (what, message) => {
    const options = { ...workshop(), [what]: '/nowhere/at/all' };
    await expect(packImage(options)).rejects.toThrow(message);
  });
});
