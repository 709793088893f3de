import { describe, expect, it } from 'vitest';
import { openFlavour } from '../../../src/stage1/flavour.ts';
import { writeTree } from '../../support/file-tree.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

function flavour(manifest: unknown) {
  const directory = temporaryDirectory();
  writeTree(directory, { 'manifest.json': JSON.stringify(manifest) });
  return { directory, open: () => openFlavour(directory) };
}

const entrypoints = { run: 'run', gc: 'bin/gc' };

describe('a stage1 flavour', () => {
  it('says where its entry points are', () => {
    const { directory, open } = flavour({ name: 'x/y', interfaceVersion: 1, entrypoints });
    expect(open().name).toBe('x/y');
    expect(open().entryPoint('gc')).toBe(`${directory}/bin/gc`);
    expect(() => open().entryPoint('stop')).toThrow('stage1 x/y has no entry point "stop"');
  });

  it('is refused when it speaks another version', () => {
    const { open } = flavour({ name: 'x', interfaceVersion: 2, entrypoints });
    expect(open).toThrow(/it speaks interface version 2, this Gantry 1/);
  });

  it('is refused without run or gc', () => {
    const { open } = flavour({ name: 'x', interfaceVersion: 1, entrypoints: { run: 'run' } });
    expect(open).toThrow('stage1 x has no entry point "gc"');
  });

  it('is refused without a manifest, or with a damaged one', () => {
    expect(() => openFlavour(temporaryDirectory())).toThrow(/there is no manifest.json/);
    expect(flavour([]).open).toThrow(/is no object/);
  });
});
