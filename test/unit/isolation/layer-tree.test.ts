import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { LayerTree } from '../../../src/isolation/layer-tree.ts';
import { system } from '../../../src/system/binding.ts';
import { writeTree } from '../../support/file-tree.ts';
import { needs, root } from '../../support/requirements.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

function layer(files: Record<string, string>): string {
  const directory = temporaryDirectory();
  writeTree(directory, files);
  return directory;
}

describe('a tree of one layer', () => {
  it('gives the bytes of a file, and nothing for a directory or what is absent', () => {
    const tree = new LayerTree([layer({ 'etc/passwd': 'root' })]);
    expect(tree.readFile('/etc/passwd')?.toString()).toBe('root');
    expect(tree.readFile('/etc')).toBeUndefined();
    expect(tree.readFile('/etc/group')).toBeUndefined();
    expect(tree.readFile('/etc/passwd/x')).toBeUndefined();
  });

  it('follows absolute and relative links inside itself', () => {
    const directory = layer({ 'usr/etc/passwd': 'inside' });
    symlinkSync('/usr/etc', join(directory, 'etc'));
    symlinkSync('../../../usr/etc/passwd', join(directory, 'usr/up'));
    const tree = new LayerTree([directory]);
    expect(tree.readFile('/etc/passwd')?.toString()).toBe('inside');
    expect(tree.readFile('/usr/up')?.toString()).toBe('inside');
  });

  it('never leaves itself, however many times a path goes up', () => {
    const directory = layer({});
    symlinkSync('/../../../../etc/passwd', join(directory, 'out'));
    const tree = new LayerTree([directory]);
    expect(tree.readFile('/out')).toBeUndefined();
    expect(tree.readFile('../../../../etc/passwd')).toBeUndefined();
  });

  it('gives up on links that lead to each other', () => {
    const directory = layer({});
    symlinkSync('b', join(directory, 'a'));
    symlinkSync('a', join(directory, 'b'));
    expect(new LayerTree([directory]).stat('/a')).toBeUndefined();
  });

  it('tells a link from what it leads to', () => {
    const directory = layer({});
    symlinkSync('nowhere', join(directory, 'mtab'));
    const tree = new LayerTree([directory]);
    expect(tree.lstat('/mtab')?.isSymbolicLink()).toBe(true);
    expect(tree.stat('/mtab')).toBeUndefined();
  });

  it('says where a directory is, links followed', () => {
    const directory = layer({ 'srv/data/x': '' });
    symlinkSync('/srv/data', join(directory, 'data'));
    const tree = new LayerTree([directory]);
    expect(tree.directories('/data')).toEqual([join(directory, 'srv/data')]);
    expect(tree.directories('/data/x')).toEqual([]);
    expect(tree.directories('/gone')).toEqual([]);
  });

  it('is a directory itself', () => {
    expect(new LayerTree([layer({ a: '' })]).stat('/')?.isDirectory()).toBe(true);
    expect(new LayerTree([layer({ a: '', b: '' })]).entries('/').sort()).toEqual(['a', 'b']);
  });
});

describe('a tree of several layers', () => {
  beforeEach((context) => needs(context, root));

  it('shows a file of the upper layer before one of the lower', () => {
    const tree = new LayerTree([layer({ 'a/x': 'upper' }), layer({ 'a/x': 'lower', 'a/y': 'y' })]);
    expect(tree.readFile('/a/x')?.toString()).toBe('upper');
    expect(tree.readFile('/a/y')?.toString()).toBe('y');
    expect(tree.entries('/a').sort()).toEqual(['x', 'y']);
  });

  it('follows a link of the upper layer to a file of the lower', () => {
    const upper = layer({});
    symlinkSync('usr/bin', join(upper, 'bin'));
    expect(new LayerTree([upper, layer({ 'usr/bin/sh': 'sh' })]).stat('/bin/sh')?.isFile()).toBe(
      true,
    );
  });

  it('hides what a whiteout removes', () => {
    const upper = layer({ 'a/keep': '' });
    system.mknodAt(-100, join(upper, 'a/gone'), 0o020000, 0);
    const tree = new LayerTree([upper, layer({ 'a/gone': 'x' })]);
    expect(tree.stat('/a/gone')).toBeUndefined();
    expect(tree.entries('/a')).toEqual(['keep']);
  });

  it('hides what lies below an opaque directory', () => {
    const upper = layer({});
    mkdirSync(join(upper, 'a'));
    system.setXattr(join(upper, 'a'), 'trusted.overlay.opaque', Buffer.from('y'));
    expect(new LayerTree([upper, layer({ 'a/x': '' })]).stat('/a/x')).toBeUndefined();
  });

  it('does not look below a file that takes the place of a directory', () => {
    const tree = new LayerTree([layer({ a: 'file' }), layer({ 'a/x': '' })]);
    expect(tree.stat('/a/x')).toBeUndefined();
  });
});
