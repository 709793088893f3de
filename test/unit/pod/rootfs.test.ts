import { mkdirSync, readlinkSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { linkLayers, podRoots } from '../../../src/pod/rootfs.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

const POD = '/var/lib/gantry/pods/prepare/UUID';

/** Layers by number, as the store names them. */
function layers(count: number, first = 0): string[] {
  return Array.from({ length: count }, (_, index) => {
    const hex = String(first + index).padStart(64, '0');
    return `/var/lib/gantry/layers/diff-sha256-${hex}`;
  });
}

describe('the roots of a pod', () => {
  it('name a single layer as it is', () => {
    const { rootfs, links } = podRoots(POD, [['/var/lib/gantry/layers/sha512-1']], true);
    expect(rootfs).toEqual([{ kind: 'overlay', lowers: ['../../../layers/sha512-1'] }]);
    expect(links).toEqual([]);
  });

  it('name several by links, which apps of the same layers share', () => {
    const [a = '', b = '', c = ''] = layers(3);
    const { rootfs, links } = podRoots(POD, [[a, b], [c, b], [a]], true);
    expect(rootfs).toEqual([
      { kind: 'overlay', lowers: ['l/0', 'l/1'] },
      { kind: 'overlay', lowers: ['l/2', 'l/1'] },
      { kind: 'overlay', lowers: [`../../..${a.slice('/var/lib/gantry'.length)}`] },
    ]);
    expect(links).toEqual([a, b, c]);
  });

  it('use links for as many as one mount option holds, and for no more', () => {
    const most = podRoots(POD, [layers(53)], true);
    expect(most.links).toHaveLength(53);
    const { rootfs, links } = podRoots(POD, [layers(54), layers(2, 60)], true);
    expect(links).toEqual(layers(2, 60));
    const lowers = rootfs.map((root) => (root.kind === 'overlay' ? root.lowers : []));
    expect(lowers[0]?.[53]).toMatch(/^\.\.\/\.\.\/\.\.\/layers\/diff-sha256-0+53$/);
    expect(lowers[1]).toEqual(['l/0', 'l/1']);
  });

  it('of an app that comes later are in its own directory', () => {
    const { rootfs, links } = podRoots(POD, [layers(2)], true, 'apps/late/l');
    expect(rootfs).toEqual([{ kind: 'overlay', lowers: ['apps/late/l/0', 'apps/late/l/1'] }]);
    expect(links).toHaveLength(2);
  });

  it('name nothing that is copied', () => {
    expect(podRoots(POD, [layers(2)], false)).toEqual({ rootfs: [{ kind: 'copy' }], links: [] });
  });

  it('have links that lead to the layers in every phase', () => {
    const base = temporaryDirectory();
    const [layer, pod] = [join(base, 'layers/a'), join(base, 'pods/prepare/UUID')];
    for (const path of [layer, pod, join(base, 'pods/run')]) mkdirSync(path, { recursive: true });
    linkLayers(join(pod, 'l'), [layer]);
    expect(readlinkSync(join(pod, 'l/0'))).toBe('../../../../layers/a');
    renameSync(pod, join(base, 'pods/run/UUID'));
    expect(statSync(join(base, 'pods/run/UUID/l/0')).ino).toBe(statSync(layer).ino);
  });
});
