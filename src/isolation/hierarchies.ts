import { join } from 'node:path';
import { type HostMount, parseMountInfo } from './mount-info.ts';

/** A hierarchy of control groups, as far as this process sees it. */
export interface Hierarchy {
  readonly version: 1 | 2;
  /** What is mounted with it (cgroups(7)): of v1 only; which ones v2 has each group says itself. */
  readonly controllers: readonly string[];
  /** Absolute: the topmost group that is seen. */
  readonly top: string;
  /** Absolute: the group of this process; undefined where that lies outside of what is mounted. */
  readonly own?: string;
}

const VERSIONS: ReadonlyMap<string, 1 | 2> = new Map([
  ['cgroup', 1],
  ['cgroup2', 2],
]);

/**
 * The writable hierarchies, each once, in the order they are mounted: of a host with v1, v2 or both. Pure.
 * @param mountinfo the text of /proc/self/mountinfo (proc_pid_mountinfo(5))
 * @param cgroups the text of /proc/self/cgroup (cgroups(7)), which also says what is a controller and what
 *   another mount option
 */
export function parseHierarchies(mountinfo: string, cgroups: string): Hierarchy[] {
  const groups = parseOwnGroups(cgroups);
  const found = new Map<string, Hierarchy>();
  for (const mount of parseMountInfo(mountinfo)) {
    const version = VERSIONS.get(mount.type);
    if (version === undefined || mount.readOnly) continue;
    const group = groups.find((one) =>
      version === 2
        ? one.controllers.length === 0
        : one.controllers.some((name) => mount.options.includes(name)),
    );
    if (group === undefined || found.has(group.controllers.join())) continue;
    const own = groupDirectory(mount, group.path);
    found.set(group.controllers.join(), {
      version,
      controllers: group.controllers,
      top: mount.point,
      ...(own === undefined ? {} : { own }),
    });
  }
  return [...found.values()];
}

/** `NUMBER:CONTROLLERS:PATH`; a hierarchy with a name and no controller (systemd's) limits nothing. */
function parseOwnGroups(text: string): { controllers: string[]; path: string }[] {
  return text.split('\n').flatMap((line) => {
    const [, number, names = '', path] = /^(\d+):([^:]*):(\/.*)$/.exec(line) ?? [];
    if (path === undefined || (number === '0') !== (names === '')) return [];
    const controllers = names.split(',').filter((name) => name !== '' && !name.includes('='));
    return number !== '0' && controllers.length === 0 ? [] : [{ controllers, path }];
  });
}

/** Where the group at `path` is visible below a mount of its hierarchy; undefined when it lies outside of it. */
export function groupDirectory(
  { root, point }: Pick<HostMount, 'root' | 'point'>,
  path: string,
): string | undefined {
  if (path.split('/').includes('..')) return undefined;
  if (root === path) return point;
  if (root === '/') return join(point, path);
  return path.startsWith(`${root}/`) ? join(point, path.slice(root.length)) : undefined;
}
