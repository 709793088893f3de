import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { link, read } from './proc.ts';

/** What a pod could leave on its host. Each set holds lines fit to be read in a failed comparison. */
export interface HostState {
  /** Mounts of this mount namespace, without their ids: a remount shows, a reordering does not. */
  readonly mounts: ReadonlySet<string>;
  /** Namespaces that a process, a descriptor or a bind mount keeps alive. */
  readonly namespaces: ReadonlySet<string>;
  readonly processes: ReadonlySet<string>;
  readonly cgroups: ReadonlySet<string>;
}

/**
 * What the host holds that has to do with `directory` (a pod data directory, absolute): mounts that
 * name it, processes that stand in it, were started with it in their arguments or have it among
 * their mounts, and the namespaces and cgroups of those. Other things that happen on the machine at
 * the same time stay out of the picture.
 */
export function readHost(directory: string): HostState {
  const processes = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => belongs(pid, directory));
  const mounts = lines('/proc/self/mountinfo').filter(
    (mount) => mount.includes(directory) || mount.includes(' - nsfs '),
  );
  return {
    mounts: new Set(mounts.map((mount) => mount.split(' ').slice(2).join(' '))),
    processes: new Set(processes.map((pid) => `${pid} ${commandLine(pid)}`)),
    namespaces: new Set(processes.flatMap(namespacesOf)),
    cgroups: new Set(listCgroups().filter((group) => isOfPodsOf(group, directory))),
  };
}

/** The UUIDs ever seen below a data directory: a pod may be gone when its group is looked for. */
const seen = new Map<string, Set<string>>();

/** Whether a cgroup is named after a pod of this data directory, and not of another test's. */
function isOfPodsOf(group: string, directory: string): boolean {
  const uuids = seen.get(directory) ?? new Set<string>();
  seen.set(directory, uuids);
  for (const phase of directoriesOf(join(directory, 'pods'))) {
    for (const uuid of directoriesOf(join(directory, 'pods', phase))) uuids.add(uuid);
  }
  return [...uuids].some((uuid) => group.includes(uuid));
}

/**
 * What is on the host now and was not in `before`; empty when nothing leaked. A process that was
 * just killed may take a moment to go, so what is found is looked at again for up to two seconds.
 */
export async function leaksSince(before: HostState, directory: string): Promise<string[]> {
  const deadline = Date.now() + 2000;
  for (;;) {
    const found = difference(before, readHost(directory));
    if (found.length === 0 || Date.now() > deadline) return found;
    await sleep(50);
  }
}

function difference(before: HostState, after: HostState): string[] {
  const kinds = ['mounts', 'processes', 'namespaces', 'cgroups'] as const;
  return kinds.flatMap((kind) => [
    ...[...after[kind]]
      .filter((entry) => !before[kind].has(entry))
      .map((e) => `${kind}: new: ${e}`),
    ...[...before[kind]]
      .filter((entry) => !after[kind].has(entry))
      .map((e) => `${kind}: gone: ${e}`),
  ]);
}

function belongs(pid: string, directory: string): boolean {
  if (commandLine(pid).includes(directory)) return true;
  if ([link(`/proc/${pid}/cwd`), link(`/proc/${pid}/root`)].some((p) => p?.startsWith(directory))) {
    return true;
  }
  // The pod's own processes have another root; what it is mounted from still names the directory.
  return (
    link(`/proc/${pid}/ns/mnt`) !== link('/proc/self/ns/mnt') &&
    lines(`/proc/${pid}/mountinfo`).some((mount) => mount.includes(directory))
  );
}

function namespacesOf(pid: string): string[] {
  const own = new Set(
    ['mnt', 'pid', 'net', 'ipc', 'uts', 'user', 'cgroup'].map((kind) =>
      link(`/proc/self/ns/${kind}`),
    ),
  );
  return ['mnt', 'pid', 'net', 'ipc', 'uts', 'user', 'cgroup']
    .map((kind) => link(`/proc/${pid}/ns/${kind}`))
    .filter((name): name is string => name !== undefined && !own.has(name));
}

/** Every cgroup that Gantry made, in whichever hierarchy. */
function listCgroups(): string[] {
  return cgroupRoots().flatMap((hierarchy) => gantryFolders(hierarchy, 4));
}

function cgroupRoots(): string[] {
  return lines('/proc/self/mountinfo')
    .filter((mount) => / - cgroup2? /.test(mount))
    .map((mount) => mount.split(' ')[4] ?? '/sys/fs/cgroup');
}

function gantryFolders(folder: string, depth: number): string[] {
  if (depth === 0) return [];
  const children = directoriesOf(folder).map((name) => `${folder}/${name}`);
  return [
    ...children.filter((child) => child.includes('gantry')),
    ...children.flatMap((child) => gantryFolders(child, depth - 1)),
  ];
}

function directoriesOf(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch {
    return [];
  }
}

function commandLine(pid: string): string {
  return read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim();
}

function lines(path: string): string[] {
  return read(path).split('\n').filter(Boolean);
}
