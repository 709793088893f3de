import { describe, expect, it } from 'vitest';
import type { Dependency } from '../../../src/image/image-manifest.ts';
import type { ImageRecord } from '../../../src/image/image-record.ts';
import { PathWhitelist, renderingId, renderSteps } from '../../../src/store/render-order.ts';

interface Parts {
  readonly needs?: readonly string[];
  readonly only?: readonly string[];
}

/** Images named by a letter, each with what it depends on and its path whitelist. */
function stored(images: Readonly<Record<string, Parts>>): (name: string) => ImageRecord {
  return (name) => {
    const parts = images[name];
    if (parts === undefined) throw new Error(`no image ${name}`);
    const dependencies = (parts.needs ?? []).map((imageName) => ({ imageName, labels: [] }));
    return {
      id: `sha512-${name.repeat(128)}`,
      name,
      manifest: { dependencies, pathWhitelist: parts.only ?? [] },
    } as unknown as ImageRecord;
  };
}

function order(images: Readonly<Record<string, Parts>>): string[] {
  const get = stored(images);
  return renderSteps(get('a'), ({ imageName }) => get(imageName)).map(({ record }) => record.name);
}

describe('renderSteps', () => {
  it('lays a later dependency over an earlier one, and the image over both', () => {
    expect(order({ a: { needs: ['b', 'c'] }, b: {}, c: {} })).toEqual(['b', 'c', 'a']);
  });

  it('goes depth first', () => {
    expect(order({ a: { needs: ['b', 'c'] }, b: {}, c: { needs: ['d'] }, d: {} })).toEqual([
      'b',
      'd',
      'c',
      'a',
    ]);
  });

  it('takes an image reached on two ways twice', () => {
    const images = { a: { needs: ['b', 'c'] }, b: { needs: ['d'] }, c: { needs: ['d'] }, d: {} };
    expect(order(images)).toEqual(['d', 'b', 'd', 'c', 'a']);
  });

  it('gives each image the whitelists on its way only', () => {
    const get = stored({
      a: { needs: ['b', 'c'], only: ['/x'] },
      b: { needs: ['d'], only: ['/y'] },
      c: { needs: ['d'] },
      d: {},
    });
    const steps = renderSteps(get('a'), ({ imageName }) => get(imageName));
    const lists = steps.map(({ whitelists }) => whitelists.map((list) => list.paths[0]));
    expect(lists).toEqual([['x', 'y'], ['x', 'y'], ['x'], ['x'], ['x']]);
  });

  it('refuses dependencies that go round in a circle', () => {
    const images = { a: { needs: ['b'] }, b: { needs: ['a'] } };
    expect(() => order(images)).toThrow('go round in a circle');
  });

  it('says which image needs what is missing, and how to get it', () => {
    const get = stored({ a: { needs: ['b'] } });
    expect(() => renderSteps(get('a'), () => undefined)).toThrow(
      'image a needs b, which is not in the store: gantry fetch a',
    );
  });

  it('refuses a dependency whose ID is another than the manifest says', () => {
    const get = stored({ a: {}, b: {} });
    const image = get('a');
    const dependency: Dependency = {
      imageName: 'b',
      imageId: `sha512-${'c'.repeat(64)}`,
      labels: [],
    };
    image.manifest.dependencies.push(dependency);
    expect(() => renderSteps(image, () => get('b'))).toThrow('with the ID');
  });
});

describe('renderingId', () => {
  const idOf = (images: Readonly<Record<string, Parts>>): string => {
    const get = stored(images);
    return renderingId(renderSteps(get('a'), ({ imageName }) => get(imageName)));
  };

  it('depends on the order of dependencies and on whitelists, not on how these are written', () => {
    const one = idOf({ a: { needs: ['b', 'c'], only: ['/x', '/y/'] }, b: {}, c: {} });
    expect(idOf({ a: { needs: ['b', 'c'], only: ['/y', '//x'] }, b: {}, c: {} })).toBe(one);
    expect(idOf({ a: { needs: ['c', 'b'], only: ['/x', '/y'] }, b: {}, c: {} })).not.toBe(one);
    expect(idOf({ a: { needs: ['b', 'c'], only: ['/x'] }, b: {}, c: {} })).not.toBe(one);
  });
});

describe('PathWhitelist', () => {
  const list = new PathWhitelist(['/usr/bin/app', '/etc/']);

  it('admits exactly what is listed', () => {
    expect(['usr/bin/app', 'etc', 'usr/bin', 'etc/passwd'].map((p) => list.admits(p))).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });

  it('knows the directories on the way', () => {
    expect(['usr', 'usr/bin', 'usr/lib', 'etc'].map((p) => list.leadsOn(p))).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });
});
