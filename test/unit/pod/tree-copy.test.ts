import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { copyTree } from '../../../src/pod/tree-copy.ts';
import { system } from '../../../src/system/binding.ts';
import { needs, root } from '../../support/requirements.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

beforeEach((context) => needs(context, root));

/** Copies a tree that `make` fills. */
function copied(make: (from: string) => void): { from: string; to: string } {
  const directory = temporaryDirectory();
  const from = join(directory, 'from');
  const to = join(directory, 'to');
  mkdirSync(from);
  make(from);
  copyTree(from, to);
  return { from, to };
}

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

  it('is refused where something is already, by name', () => {
    const directory = temporaryDirectory();
    expect(() => copyTree(directory, directory)).toThrow(/^cannot copy .*: EEXIST$/);
  });
});
