import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { composeLayers } from '../../../src/store/layer-composition.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

/** Directories in directories, and a layer that goes through all of them. */
function deepLayer(name: string, chains: number, depth: number) {
  const tree = join(temporaryDirectory(), 'tree');
  const unmentioned: string[] = [''];
  for (let chain = 0; chain < chains; chain++) {
    const parts = Array.from({ length: depth }, () => 'd');
    parts[0] = `chain${chain}`;
    mkdirSync(join(tree, ...parts), { recursive: true });
    for (let length = 1; length <= depth; length++) {
      unmentioned.push(parts.slice(0, length).join('/'));
    }
  }
  return { name, tree, unmentioned };
}

describe('layers laid over each other', () => {
  it('take no longer the deeper the directories lie that one of them goes through', () => {
    const layers = [deepLayer('diff-sha256-a', 6, 400), deepLayer('diff-sha256-b', 6, 400)];
    const before = process.cpuUsage();
    const composed = composeLayers(layers, () => {
      throw new Error('nothing is to be adjusted');
    });
    expect(composed.map(({ name }) => name)).toEqual(['diff-sha256-a', 'diff-sha256-b']);
    const { user, system } = process.cpuUsage(before);
    // Looked up from the root each time it is a quarter of a minute's work.
    expect(user + system).toBeLessThan(5_000_000);
  });
});
