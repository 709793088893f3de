import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { layerDialect } from '../../../src/store/entry-name.ts';
import type { TarEntry } from '../../../src/store/tar-reader.ts';
import { TreeWriter } from '../../../src/store/tree-writer.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

function entry(name: string, type: TarEntry['type'], mode = 0o700): TarEntry {
  return {
    name,
    type,
    linkName: '',
    size: 0,
    mode,
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    modified: { seconds: 0, nanoseconds: 0 },
    deviceMajor: 0,
    deviceMinor: 0,
    xattrs: new Map(),
  };
}

function writer() {
  const directory = join(temporaryDirectory(), 'tree');
  mkdirSync(directory);
  return { directory, tree: new TreeWriter(directory, layerDialect, () => {}) };
}

describe('a directory that gives way to a file of its name', () => {
  it('takes with it what was to become of it and of what was in it', () => {
    const { directory, tree } = writer();
    tree.entry(entry('a/b/c/', 'directory', 0o711), 'a/b/c');
    tree.entry(entry('a', 'file'), 'a');
    expect(tree.unmentioned()).toEqual(['']);
    tree.entry(entry('a/', 'directory', 0o750), 'a');
    tree.entry(entry('a/b/x', 'file'), 'a/b/x');
    expect(tree.unmentioned().sort()).toEqual(['', 'a/b']);
    tree.finish();
    tree.close();
    expect(readdirSync(join(directory, 'a/b'))).toEqual(['x']);
    expect(statSync(join(directory, 'a')).mode & 0o777).toBe(0o750);
    expect(statSync(join(directory, 'a/b')).mode & 0o777).toBe(0o755);
  });
});
