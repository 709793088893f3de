import { describe, expect, it } from 'vitest';
import { layerDialect, placeInLayer } from '../../../src/store/entry-name.ts';

describe('placeInLayer', () => {
  it.each([
    ['etc/passwd', { kind: 'entry', path: 'etc/passwd' }],
    ['./etc//passwd', { kind: 'entry', path: 'etc/passwd' }],
    ['/etc/passwd', { kind: 'entry', path: 'etc/passwd' }],
    ['./', { kind: 'entry', path: '' }],
    ['/', { kind: 'entry', path: '' }],
    ['a/.whatever', { kind: 'entry', path: 'a/.whatever' }],
    ['a.wh.b', { kind: 'entry', path: 'a.wh.b' }],
    ['a/.wh.b', { kind: 'whiteout', path: 'a/b' }],
    ['.wh.....', { kind: 'whiteout', path: '....' }],
    ['.wh.b/', { kind: 'whiteout', path: 'b' }],
    ['a/.wh..wh..opq', { kind: 'opaque', path: 'a' }],
    ['.wh..wh..opq', { kind: 'opaque', path: '' }],
    ['.wh..wh.aufs', { kind: 'bookkeeping' }],
    ['.wh..wh.plnk/1.2', { kind: 'bookkeeping' }],
  ])('%j', (name, place) => {
    expect(placeInLayer(name)).toEqual(place);
  });

  it.each([
    ['.wh.', 'a whiteout of nothing'],
    ['a/.wh..', 'a whiteout of "."'],
    ['a/.wh...', 'a whiteout of ".."'],
    ['.wh.a/b', 'its path leads through a whiteout'],
    ['a/../b', 'its name contains ".."'],
    ['/../b', 'its name contains ".."'],
    ['a\0b', 'its name holds a NUL'],
  ])('refuses %j', (name, why) => {
    expect(() => placeInLayer(name)).toThrow(`refused: ${why}`);
  });
});

describe('a hard link of a layer', () => {
  it('means a member of the same layer, from the root on or not', () => {
    expect(layerDialect.targetOf('/a/b')).toBe('a/b');
    expect(layerDialect.targetOf('./a/b')).toBe('a/b');
    expect(layerDialect.targetOf('/')).toBeUndefined();
    expect(() => layerDialect.targetOf('../a')).toThrow('its name contains ".."');
  });
});
