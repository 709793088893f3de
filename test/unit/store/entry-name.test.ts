import { describe, expect, it } from 'vitest';
import { checkSymlinkTarget, placeOf } from '../../../src/store/entry-name.ts';

describe('placeOf', () => {
  it.each([
    ['manifest', { kind: 'manifest' }],
    ['./manifest', { kind: 'manifest' }],
    ['rootfs', { kind: 'rootfs', path: '' }],
    ['./rootfs/', { kind: 'rootfs', path: '' }],
    ['rootfs//etc/./passwd', { kind: 'rootfs', path: 'etc/passwd' }],
    ['rootfs/..dots/...', { kind: 'rootfs', path: '..dots/...' }],
    ['./', { kind: 'archive' }],
  ])('knows where %s belongs', (name, place) => {
    expect(placeOf(name)).toEqual(place);
  });

  it.each([
    ['rootfs/../etc/passwd', 'its name contains ".."'],
    ['rootfs/a/..', 'its name contains ".."'],
    ['..', 'its name contains ".."'],
    ['/etc/passwd', 'its name is absolute'],
    ['', 'it has no name'],
    ['rootfs/a\0b', 'its name holds a NUL'],
    [`rootfs/${'x'.repeat(256)}`, 'its name is too long'],
    [`rootfs/${'ü'.repeat(128)}`, 'its name is too long'],
    [`rootfs${'/abcdefg'.repeat(520)}`, 'its name is too long'],
    ['etc/passwd', 'only "manifest" and "rootfs" may be at the top of an image'],
    ['rootfs2/x', 'only "manifest" and "rootfs" may be at the top of an image'],
    ['manifest/x', 'only "manifest" and "rootfs" may be at the top of an image'],
  ])('refuses %j and says why', (name, why) => {
    expect(() => placeOf(name)).toThrow(expect.objectContaining({ code: 'invalid-archive' }));
    expect(() => placeOf(name)).toThrow(`refused: ${why}`);
  });

  it('keeps its message to one line of bearable length', () => {
    try {
      placeOf(`/${'a\n'.repeat(3000)}`);
      expect.unreachable();
    } catch (error) {
      expect((error as Error).message).not.toContain('\n');
      expect((error as Error).message.length).toBeLessThan(600);
    }
  });
});

describe('checkSymlinkTarget', () => {
  it.each([
    ['bin', 'usr/bin'],
    ['etc/mtab', '../proc/self/mounts'],
    ['a/b/c', '../../x'],
    ['link', '/etc/alternatives/link'],
    ['link', '/../../etc/passwd'],
    ['a/b', './../c/../d'],
  ])('accepts %s -> %s, which stays inside', (path, target) => {
    expect(() => checkSymlinkTarget(`rootfs/${path}`, path, target)).not.toThrow();
  });

  it.each([
    ['link', '../etc/passwd', 'leaves the root'],
    ['a/b', '../../etc', 'leaves the root'],
    ['a/b', '../c/../../../etc', 'leaves the root'],
    ['link', '', 'a symbolic link to nothing'],
    ['link', 'a\0b', 'holds a NUL'],
    ['link', 'x'.repeat(5000), 'too long'],
  ])('refuses %s -> %s', (path, target, why) => {
    expect(() => checkSymlinkTarget(`rootfs/${path}`, path, target)).toThrow(why);
  });
});
