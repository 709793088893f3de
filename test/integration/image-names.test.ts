import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Store } from '../../src/store/store.ts';
import { needs, root } from '../support/requirements.ts';
import { contentsOf, emptyStore } from './store-fixture.ts';
import { importOci, layerOf } from './store-oci-fixture.ts';

beforeEach((context) => needs(context, root));

const program = join(import.meta.dirname, '../../bin/gantry');
const layers = [layerOf([{ name: 'file' }])];

/** A store with one image under these names. */
async function named(...names: string[]): Promise<{ store: Store; id: string }> {
  const store = emptyStore();
  let id = '';
  for (const name of names) ({ id } = await importOci(store, layers, { name }));
  return { store, id };
}

function image(store: Store, ...words: string[]) {
  const { status, stdout, stderr } = spawnSync(program, [`--dir=${store.dir}`, 'image', ...words], {
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

const list = (store: Store): string[] =>
  image(store, 'list', '--no-legend', '--fields=name', '--sort=name')
    .stdout.split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');

describe('an image of several names', () => {
  it('is listed under each of them', async () => {
    const { store, id } = await named('a.example/one', 'b.example/two');
    expect(list(store)).toEqual(['a.example/one:1', 'b.example/two:1']);
    const objects: unknown = JSON.parse(image(store, 'list', '--format=json').stdout);
    expect(objects).toMatchObject([{ id }, { id }]);
  });

  it('loses the name it is removed by, and goes with the last', async () => {
    const { store, id } = await named('a.example/one', 'b.example/two');
    expect(image(store, 'rm', 'docker://a.example/one:1')).toEqual({
      status: 0,
      stdout: `successfully removed name "a.example/one:1" of image: "${id}"\n`,
      stderr: '',
    });
    expect(list(store)).toEqual(['b.example/two:1']);
    expect(image(store, 'rm', 'b.example/two:1')).toEqual({
      status: 0,
      stdout: `successfully removed aci for image: "${id}"\n`,
      stderr: 'rm: 1 image(s) successfully removed\n',
    });
    expect(contentsOf(store)).toEqual([]);
  });

  it.each<[string, (id: string) => string[]]>([
    ['its id', (id) => [id]],
    ['its digest', (id) => [`docker://a.example/one@${id.replace('-', ':')}`]],
    ['all its names', () => ['a.example/one:1', 'docker://b.example/two:1', 'a.example/one:1']],
    ['its id and a name', (id) => ['docker://a.example/one:1', id]],
  ])('is removed by %s', async (_, operands) => {
    const { store, id } = await named('a.example/one', 'b.example/two');
    const { status, stdout, stderr } = image(store, 'rm', ...operands(id));
    expect({ status, stderr }).toEqual({
      status: 0,
      stderr: 'rm: 1 image(s) successfully removed\n',
    });
    expect(stdout).toContain(`successfully removed aci for image: "${id}"\n`);
    expect(contentsOf(store)).toEqual([]);
  });
});
