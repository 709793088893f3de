import { describe, expect, it } from 'vitest';
import { groupDirectory, parseHierarchies } from '../../../src/isolation/hierarchies.ts';
import { V1_GROUPS, V1_MOUNTS, V2_MOUNT } from './hierarchy-texts.ts';

describe('the hierarchies of a host', () => {
  it('of v1 are those with a controller, each with our group in it', () => {
    expect(parseHierarchies(V1_MOUNTS.join('\n'), V1_GROUPS.join('\n'))).toEqual([
      {
        version: 1,
        controllers: ['cpu', 'cpuacct'],
        top: '/sys/fs/cgroup/cpu,cpuacct',
        own: '/sys/fs/cgroup/cpu,cpuacct',
      },
      {
        version: 1,
        controllers: ['memory'],
        top: '/sys/fs/cgroup/memory',
        own: '/sys/fs/cgroup/memory/m/one',
      },
      {
        version: 1,
        controllers: ['blkio'],
        top: '/sys/fs/cgroup/blkio',
        own: '/sys/fs/cgroup/blkio',
      },
    ]);
  });

  it('is one where there is only v2', () => {
    expect(parseHierarchies(V2_MOUNT, '0::/system.slice/web.service\n')).toEqual([
      {
        version: 2,
        controllers: [],
        top: '/sys/fs/cgroup',
        own: '/sys/fs/cgroup/system.slice/web.service',
      },
    ]);
  });

  it('are both of a hybrid host', () => {
    const mounts = [...V1_MOUNTS, V2_MOUNT.replace('/sys/fs/cgroup', '/sys/fs/cgroup/unified')];
    const found = parseHierarchies(mounts.join('\n'), [...V1_GROUPS, '0::/x'].join('\n'));
    expect(found.map(({ version }) => version)).toEqual([1, 1, 1, 2]);
    expect(found.at(-1)?.own).toBe('/sys/fs/cgroup/unified/x');
  });

  it('leave out what is mounted read-only', () => {
    expect(parseHierarchies(V2_MOUNT.replace('rw,nosuid', 'ro,nosuid'), '0::/')).toEqual([]);
  });

  it('have no group of ours where that lies outside of what is mounted', () => {
    const inside = V2_MOUNT.replace('0:38 /', '0:38 /docker/1');
    expect(parseHierarchies(inside, '0::/elsewhere')[0]).not.toHaveProperty('own');
    expect(parseHierarchies(V2_MOUNT, '0::/../elsewhere')[0]).not.toHaveProperty('own');
  });

  it('have our group where a part of them is mounted', () => {
    const part = { root: '/docker/1', point: '/sys/fs/cgroup' };
    expect(groupDirectory(part, '/docker/1/init')).toBe('/sys/fs/cgroup/init');
    expect(groupDirectory(part, '/docker/1')).toBe('/sys/fs/cgroup');
    expect(groupDirectory(part, '/docker/11')).toBeUndefined();
  });
});
