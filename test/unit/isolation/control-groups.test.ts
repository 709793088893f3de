import { describe, expect, it } from 'vitest';
import {
  type GroupHost,
  type Placement,
  placeGroups,
  usableGroups,
} from '../../../src/isolation/control-groups.ts';
import { parseHierarchies } from '../../../src/isolation/hierarchies.ts';
import { V1_GROUPS, V1_MOUNTS, V2_MOUNT } from './hierarchy-texts.ts';

/** A host of these mounts and groups, whose control files have these texts. */
function hostOf(
  mounts: readonly string[],
  groups: readonly string[],
  files: Readonly<Record<string, string>> = {},
  others: Partial<GroupHost> = {},
): GroupHost {
  return {
    hierarchies: parseHierarchies(mounts.join('\n'), groups.join('\n')),
    read: (path) => files[path],
    writable: () => true,
    filesBelow: () => [],
    ...others,
  };
}

const TOP = '/sys/fs/cgroup';
const SERVICE = `${TOP}/web.service`;

/** A v2 host whose root has these controllers, and so has our group, with the processes given. */
function unifiedHost(controllers: string, processes: string, given = ''): GroupHost {
  return hostOf([V2_MOUNT], ['0::/web.service'], {
    [`${TOP}/cgroup.controllers`]: 'cpu io memory pids\n',
    [`${TOP}/cgroup.subtree_control`]: 'memory\n',
    [`${SERVICE}/cgroup.controllers`]: `${controllers}\n`,
    [`${SERVICE}/cgroup.type`]: 'domain\n',
    [`${SERVICE}/cgroup.subtree_control`]: `${given}\n`,
    [`${SERVICE}/cgroup.procs`]: processes,
  });
}

function place(host: GroupHost, controllers: readonly string[], pid?: number): Placement {
  return placeGroups(host, { uuid: 'U', controllers, ...(pid === undefined ? {} : { pid }) });
}

describe('the groups of a pod', () => {
  it('lie below our own in v1, in the hierarchies that are needed', () => {
    expect(place(hostOf(V1_MOUNTS, V1_GROUPS), ['memory', 'cpu', 'io'], 7)).toEqual({
      groups: [
        { version: 1, controllers: ['memory'], directory: `${TOP}/memory/m/one/gantry-U` },
        { version: 1, controllers: ['cpu'], directory: `${TOP}/cpu,cpuacct/gantry-U` },
        { version: 1, controllers: ['blkio'], directory: `${TOP}/blkio/gantry-U` },
      ],
      missing: [],
    });
  });

  it('lie at the top where somebody else will start it', () => {
    const { groups } = place(hostOf(V1_MOUNTS, V1_GROUPS), ['memory']);
    expect(groups[0]?.directory).toBe(`${TOP}/memory/gantry-U`);
  });

  it('lie at the top where ours cannot be written to', () => {
    const writable = (path: string) => !path.includes('/m/one');
    const { groups } = place(hostOf(V1_MOUNTS, V1_GROUPS, {}, { writable }), ['memory'], 7);
    expect(groups[0]?.directory).toBe(`${TOP}/memory/gantry-U`);
  });

  it('are none in v2 where v1 has all that is needed', () => {
    const host = hostOf([...V1_MOUNTS, V2_MOUNT], [...V1_GROUPS, '0::/']);
    expect(place(host, ['memory'], 7).groups.map(({ version }) => version)).toEqual([1]);
  });

  it('are one where controllers are mounted together', () => {
    const mounts = ['35 31 0:32 / /c rw - cgroup cgroup rw,memory,pids'];
    const { groups } = place(hostOf(mounts, ['4:memory,pids:/']), ['memory', 'pids'], 7);
    expect(groups).toEqual([
      { version: 1, controllers: ['memory', 'pids'], directory: '/c/gantry-U' },
    ]);
  });

  it('lie below our own in v2 when we are alone in it, and leave it for a leaf', () => {
    expect(place(unifiedHost('cpu memory pids', '7\n'), ['memory', 'pids'], 7)).toEqual({
      groups: [
        {
          version: 2,
          controllers: ['memory', 'pids'],
          directory: `${SERVICE}/gantry-U`,
          above: { directory: SERVICE, leaf: `${SERVICE}/gantry-supervisor` },
        },
      ],
      missing: [],
    });
  });

  it('lie at the top of v2 when others are in our group', () => {
    const { groups } = place(unifiedHost('cpu memory pids', '7\n8\n'), ['memory'], 7);
    expect(groups).toEqual([
      {
        version: 2,
        controllers: ['memory'],
        directory: `${TOP}/gantry-U`,
        above: { directory: TOP },
      },
    ]);
  });

  it('lie at the top of v2 when ours has not the controllers', () => {
    const { groups } = place(unifiedHost('memory', '7\n'), ['memory', 'pids'], 7);
    expect(groups[0]?.directory).toBe(`${TOP}/gantry-U`);
  });

  it('are in v1 for what is there, and in v2 for the rest', () => {
    const mounts = [V1_MOUNTS[2] ?? '', V2_MOUNT];
    const files = { [`${TOP}/cgroup.controllers`]: 'pids\n' };
    const { groups } = place(hostOf(mounts, ['4:memory:/', '0::/'], files), ['memory', 'pids'], 7);
    expect(groups.map(({ directory }) => directory)).toEqual([
      `${TOP}/memory/gantry-U`,
      `${TOP}/gantry-U`,
    ]);
  });

  it('are not to be had where a host has no such controller', () => {
    expect(place(hostOf(V1_MOUNTS, V1_GROUPS), ['pids', 'memory'], 7).missing).toEqual(['pids']);
    expect(place(hostOf([], []), ['pids'], 7)).toEqual({ groups: [], missing: ['pids'] });
  });

  it('are not to be had in a container whose topmost group has processes', () => {
    const files = {
      [`${TOP}/cgroup.controllers`]: 'memory\n',
      [`${TOP}/cgroup.type`]: 'domain\n',
      [`${TOP}/cgroup.procs`]: '1\n7\n',
    };
    expect(place(hostOf([V2_MOUNT], ['0::/'], files), ['memory'], 7).missing).toEqual(['memory']);
  });

  it('have no weights where the kernel has none', () => {
    const host = (files: readonly string[]) =>
      hostOf(V1_MOUNTS, V1_GROUPS, {}, { filesBelow: () => files });
    const wishes = { uuid: 'U', controllers: ['io'], pid: 7 };
    expect(usableGroups(host(['blkio.throttle.io_serviced']), wishes)).toEqual({
      groups: [],
      missing: ['io'],
    });
    expect(usableGroups(host(['blkio.bfq.weight']), wishes).missing).toEqual([]);
  });
});
