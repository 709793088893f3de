import { accessSync, constants, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { unescapePath } from './mount-info.ts';

/**
 * The absolute directory of this process's own group in the cgroup v2 hierarchy, unified or hybrid;
 * undefined where there is none, or none that groups can be made in.
 */
export function ownCgroup(): string | undefined {
  const mount = cgroup2Mount(readFileSync('/proc/self/mountinfo', 'utf8'));
  const path = ownPath(readFileSync('/proc/self/cgroup', 'utf8'));
  if (mount === undefined || path === undefined) return undefined;
  const directory = groupDirectory(mount, path);
  return directory === undefined ? undefined : ifWritable(directory);
}

/** The absolute directory of the topmost group that this process sees, as `ownCgroup`. */
export function rootCgroup(): string | undefined {
  const mount = cgroup2Mount(readFileSync('/proc/self/mountinfo', 'utf8'));
  return mount === undefined ? undefined : ifWritable(mount.point);
}

function ifWritable(directory: string): string | undefined {
  try {
    accessSync(join(directory, 'cgroup.procs'), constants.W_OK);
    accessSync(directory, constants.W_OK);
    return directory;
  } catch {
    return undefined;
  }
}

/** A mount of the v2 hierarchy: which directory of it is mounted where. */
export interface Cgroup2Mount {
  readonly root: string;
  readonly point: string;
}

/** The first writable cgroup2 mount in the text of /proc/self/mountinfo (proc_pid_mountinfo(5)). */
export function cgroup2Mount(mountinfo: string): Cgroup2Mount | undefined {
  for (const line of mountinfo.split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    if (!after.startsWith('cgroup2 ')) continue;
    const [, , , root, point, options] = before.split(' ');
    if (root === undefined || point === undefined || options?.split(',').includes('ro')) continue;
    return { root: unescapePath(root), point: unescapePath(point) };
  }
  return undefined;
}

/** Our path in the v2 hierarchy, from the text of /proc/self/cgroup: the line of hierarchy 0. */
export function ownPath(cgroups: string): string | undefined {
  return /^0::(\/.*)$/m.exec(cgroups)?.[1];
}

/** Where the group at `path` is visible below the mount; undefined when it lies outside of it. */
export function groupDirectory(mount: Cgroup2Mount, path: string): string | undefined {
  if (path.split('/').includes('..')) return undefined;
  if (mount.root === '/') return join(mount.point, path);
  if (path !== mount.root && !path.startsWith(`${mount.root}/`)) return undefined;
  return join(mount.point, path.slice(mount.root.length));
}
