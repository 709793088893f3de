import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { flattenLayers } from '../../../src/store/tree-copy.ts';
import { system } from '../../../src/system/binding.ts';
import { writeTree } from '../../support/file-tree.ts';
import { needs, root } from '../../support/requirements.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

beforeEach((context) => needs(context, root));

/** The files below a directory: their contents by their paths. */
function readTree(directory: string): Record<string, string> {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(
    files.sort().map((file) => [relative(directory, file), readFileSync(file, 'utf8')]),
  );
}

/** Copies a tree that `make` fills. */
function copied(make: (from: string) => void): { from: string; to: string } {
  const directory = temporaryDirectory();
  const from = join(directory, 'from');
  const to = join(directory, 'to');
  mkdirSync(from);
  make(from);
  flattenLayers([from], to);
  return { from, to };
}

describe('a copy for other owners', () => {
  it('is theirs, access lists too, and changes users as the original does', () => {
    const directory = temporaryDirectory();
    const [from, to] = [join(directory, 'from'), join(directory, 'to')];
    mkdirSync(from);
    writeFileSync(join(from, 'f'), '');
    chownSync(join(from, 'f'), 7, 8);
    chmodSync(join(from, 'f'), 0o4755);
    symlinkSync('f', join(from, 'l'));
    // rwx for the owner, r-x for user 9 and group 10, a mask of r-x, nothing for others.
    const entries = [
      [1, 7, 0xffffffff],
      [2, 5, 9],
      [4, 5, 0xffffffff],
      [8, 5, 10],
      [16, 5, 0xffffffff],
      [32, 0, 0xffffffff],
    ];
    const list = (shift: number) => {
      const bytes = Buffer.alloc(4 + 8 * entries.length);
      bytes.writeUInt32LE(2);
      for (const [index, [tag = 0, permissions = 0, id = 0]] of entries.entries()) {
        bytes.writeUInt16LE(tag, 4 + 8 * index);
        bytes.writeUInt16LE(permissions, 6 + 8 * index);
        bytes.writeUInt32LE(id === 0xffffffff ? id : id + shift, 8 + 8 * index);
      }
      return bytes;
    };
    system.setXattr(join(from, 'f'), 'system.posix_acl_access', list(0));
    flattenLayers([from], to, 'copy', (id) => id + 600_000);
    const { uid, gid, mode } = lstatSync(join(to, 'f'));
    expect([uid, gid, mode & 0o7000]).toEqual([600_007, 600_008, 0o4000]);
    expect(lstatSync(join(to, 'l')).uid).toBe(600_000);
    expect(lstatSync(to).gid).toBe(600_000);
    expect(system.getXattr(join(to, 'f'), 'system.posix_acl_access')).toEqual(list(600_000));
  });
});

describe('a copy of a tree', () => {
  it('has contents, owners, modes and times', () => {
    const { to } = copied((from) => {
      mkdirSync(join(from, 'd'));
      writeFileSync(join(from, 'd/f'), 'content');
      chownSync(join(from, 'd/f'), 7, 8);
      chmodSync(join(from, 'd/f'), 0o6751);
      utimesSync(join(from, 'd/f'), 1000.5, 1000.5);
      chmodSync(join(from, 'd'), 0o1777);
      utimesSync(join(from, 'd'), 2000, 2000);
    });
    const file = lstatSync(join(to, 'd/f'));
    expect([file.uid, file.gid, file.mode & 0o7777, file.mtimeMs]).toEqual([7, 8, 0o6751, 1000500]);
    const folder = lstatSync(join(to, 'd'));
    expect([folder.mode & 0o7777, folder.mtimeMs]).toEqual([0o1777, 2000000]);
    expect(readFileSync(join(to, 'd/f'), 'utf8')).toBe('content');
  });

  it('has the same names for one file', () => {
    const { to } = copied((from) => {
      writeFileSync(join(from, 'a'), '');
      linkSync(join(from, 'a'), join(from, 'b'));
    });
    expect(lstatSync(join(to, 'a')).ino).toBe(lstatSync(join(to, 'b')).ino);
  });

  it('has symbolic links as they are, with their owners', () => {
    const { to } = copied((from) => {
      symlinkSync('/etc/shadow', join(from, 'l'));
      system.chownAt(-100, join(from, 'l'), 5, 6);
    });
    expect(readlinkSync(join(to, 'l'))).toBe('/etc/shadow');
    expect(lstatSync(join(to, 'l')).uid).toBe(5);
  });

  it('has devices and fifos', () => {
    const { from, to } = copied((from) => {
      system.mknodAt(-100, join(from, 'null'), 0o020640, 1 * 2 ** 32 + 3);
      system.mknodAt(-100, join(from, 'large'), 0o060600, 259 * 2 ** 32 + 70000);
      system.mknodAt(-100, join(from, 'fifo'), 0o010604, 0);
    });
    for (const name of ['null', 'large', 'fifo']) {
      const [before, after] = [lstatSync(join(from, name)), lstatSync(join(to, name))];
      expect([after.mode, after.rdev]).toEqual([before.mode, before.rdev]);
    }
  });

  it('has extended attributes and file capabilities, but not overlayfs’s own', () => {
    // VFS_CAP_REVISION_2 with CAP_NET_RAW (linux/capability.h).
    const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');
    const { to } = copied((from) => {
      const file = join(from, 'ping');
      writeFileSync(file, '');
      chownSync(file, 5, 5);
      system.setXattr(file, 'security.capability', capability);
      system.setXattr(file, 'user.note', Buffer.from('x'));
      system.setXattr(from, 'trusted.overlay.opaque', Buffer.from('y'));
    });
    expect(system.getXattr(join(to, 'ping'), 'security.capability')).toEqual(capability);
    expect(system.getXattr(join(to, 'ping'), 'user.note')?.toString()).toBe('x');
    expect(system.listXattr(to)).not.toContain('trusted.overlay.opaque');
  });

  it('of several layers is what an overlay of them shows', () => {
    const directory = temporaryDirectory();
    const [top, middle, bottom] = ['top', 'middle', 'bottom'].map((n) => join(directory, n));
    if (!top || !middle || !bottom) throw new Error('three layers');
    writeTree(top, { 'd/new': 'top', 'opaque/own': '', link: '' });
    writeTree(middle, { 'd/new': 'middle', 'd/kept': 'middle', file: 'a file' });
    writeTree(bottom, {
      'd/gone': '',
      'd/kept': 'b',
      'opaque/old': '',
      'file/below': '',
      gone: '',
    });
    for (const path of ['d/gone', 'gone']) system.mknodAt(-100, join(top, path), 0o020000, 0);
    system.setXattr(join(top, 'opaque'), 'trusted.overlay.opaque', Buffer.from('y'));
    chmodSync(join(top, 'd'), 0o711);
    const to = join(directory, 'to');
    flattenLayers([top, middle, bottom], to);
    expect(readTree(to)).toEqual({
      'd/kept': 'middle',
      'd/new': 'top',
      file: 'a file',
      link: '',
      'opaque/own': '',
    });
    expect(lstatSync(join(to, 'd')).mode & 0o7777).toBe(0o711);
    expect(system.listXattr(join(to, 'opaque'))).toEqual([]);
  });

  it('is refused where something is already, by name', () => {
    const directory = temporaryDirectory();
    expect(() => flattenLayers([directory], directory)).toThrow(/^cannot copy .*: EEXIST$/);
  });
});
