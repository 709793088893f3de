import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoOf } from '../error.ts';
import { isWritableGroup, readHierarchies } from './cgroup.ts';
import type { Hierarchy } from './hierarchies.ts';

/**
 * Where a pod's control groups are, in one hierarchy. This is the layout:
 *
 *     …/gantry-UUID                 the pod: what bounds all of it is set here
 *     …/gantry-UUID/init            v2, where apps have groups: init, and the apps without
 *     …/gantry-UUID/app-NAME        an app that has limits
 *
 * In v1 a hierarchy has a pod's group only where one of its controllers is needed, and init is in it only
 * where the pod itself is bound by it.
 */
export interface PodGroup {
  readonly version: 1 | 2;
  /** Those that are needed: `memory`, `cpu`, `pids`, `io` (v1: `blkio`), `devices` (v1 only). */
  readonly controllers: readonly string[];
  /** Absolute: the pod's own group. */
  readonly directory: string;
  /** It is made inside of the pod's machine, and `directory` is there. */
  readonly inside?: true;
  /** v2: what has to be done first for that group to have the controllers. */
  readonly above?: GroupAbove;
}

/** A v2 group that hands controllers down to those below it. */
export interface GroupAbove {
  readonly directory: string;
  /**
   * Where whoever starts the pod goes, who is alone in the group: one that hands controllers down has no
   * processes of its own ("No Internal Process Constraint", Documentation/admin-guide/cgroup-v2.rst).
   */
  readonly leaf?: string;
}

/** What the pod's groups are called. */
export function podGroupName(uuid: string): string {
  return `gantry-${uuid}`;
}

/** The group of an app that has limits. */
export function appGroup(group: PodGroup, app: string): string {
  return join(group.directory, `app-${app}`);
}

/** Where init, and with it apps without limits, are born in v2 while apps have groups. */
export function initGroup(group: PodGroup): string {
  return join(group.directory, 'init');
}

/** How long a process that has ended may take to be out of its group. */
const PATIENCE_MS = 500;

/**
 * Removes the groups of an app that has ended, wherever the pod has them.
 * @returns the one that cannot be removed, since somebody is in it
 */
export function removeAppGroups(groups: readonly PodGroup[], app: string): string | undefined {
  return groups.map((group) => appGroup(group, app)).find((directory) => !isRemoved(directory));
}

function isRemoved(directory: string): boolean {
  for (const deadline = Date.now() + PATIENCE_MS; ; ) {
    try {
      removeGroup(directory);
      return true;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return true;
      if (errnoOf(error) !== 'EBUSY' || Date.now() > deadline) return false;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}

/** With the groups below it, which an app may have made. */
function removeGroup(directory: string): void {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) removeGroup(join(directory, entry.name));
  }
  rmdirSync(directory);
}

/** What a host has of control groups. */
export interface GroupHost {
  readonly hierarchies: readonly Hierarchy[];
  /** The text of a control file; undefined where there is none. */
  read(path: string): string | undefined;
  /** Whether groups can be made in a directory, and its controllers handed down. */
  writable(directory: string): boolean;
  /** The control files that a group there would have, by making it and removing it again; none where it cannot be made. */
  filesBelow(directory: string): readonly string[];
}

/** This one. */
export function groupHost(): GroupHost {
  return {
    hierarchies: readHierarchies(),
    read(path) {
      return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
    },
    writable: isWritableGroup,
    filesBelow(directory) {
      const trial = join(directory, `gantry-trial-${process.pid}`);
      try {
        mkdirSync(trial);
        const files = readdirSync(trial);
        rmdirSync(trial);
        return files;
      } catch {
        return [];
      }
    },
  };
}

/** What is to be placed. */
export interface PlacementWishes {
  readonly uuid: string;
  /** By their names in v2 (`io` is v1's blkio). */
  readonly controllers: readonly string[];
  /** This process, when it is what starts the pod; others may start it in any group: then the top. */
  readonly pid?: number;
}

export interface Placement {
  readonly groups: readonly PodGroup[];
  /** Controllers that the host lacks, or that cannot be used. */
  readonly missing: readonly string[];
}

/**
 * Where the groups of a pod go. A controller is in one hierarchy: of v1 where it is mounted, else of v2. In
 * v1 they go below the group of whoever starts the pod; in v2 below that as well where it can have
 * controllers, otherwise at the top, as other runtimes without systemd have theirs.
 */
export function placeGroups(host: GroupHost, wishes: PlacementWishes): Placement {
  const missing: string[] = [];
  const unified: string[] = [];
  const groups = new Map<string, PodGroup>();
  for (const controller of wishes.controllers) {
    const name = controller === 'io' ? 'blkio' : controller;
    const hierarchy = host.hierarchies.find(({ controllers }) => controllers.includes(name));
    if (hierarchy === undefined) {
      unified.push(controller);
      continue;
    }
    const own = wishes.pid === undefined ? undefined : hierarchy.own;
    const parent = [own, hierarchy.top].find((at) => at !== undefined && host.writable(at));
    if (parent === undefined) {
      missing.push(controller);
      continue;
    }
    const directory = join(parent, podGroupName(wishes.uuid));
    const there = groups.get(directory)?.controllers ?? [];
    groups.set(directory, { version: 1, controllers: [...there, name], directory });
  }
  const v2 = host.hierarchies.find(({ version }) => version === 2);
  const { group, lacking } = placeUnified(host, v2, unified, wishes);
  return {
    groups: [...groups.values(), ...(group === undefined ? [] : [group])],
    missing: [...missing, ...lacking],
  };
}

interface UnifiedPlacement {
  readonly group?: PodGroup;
  readonly lacking: readonly string[];
}

function placeUnified(
  host: GroupHost,
  hierarchy: Hierarchy | undefined,
  controllers: readonly string[],
  { uuid, pid }: PlacementWishes,
): UnifiedPlacement {
  if (hierarchy === undefined || controllers.length === 0) return { lacking: controllers };
  const { own, top } = hierarchy;
  const placed = (above: GroupAbove, usable: readonly string[]): PodGroup => ({
    version: 2,
    controllers: usable,
    directory: join(above.directory, podGroupName(uuid)),
    above,
  });
  if (pid !== undefined && own !== undefined && has(host, own, controllers)) {
    const above = handingDown(host, own, controllers, pid);
    if (above !== undefined) return { group: placed(above, controllers), lacking: [] };
  }
  const usable = controllers.filter((name) => has(host, top, [name]));
  const above = usable.length === 0 ? undefined : handingDown(host, top, usable, pid);
  if (above === undefined) return { lacking: controllers };
  const lacking = controllers.filter((name) => !usable.includes(name));
  return { group: placed(above, usable), lacking };
}

function has(host: GroupHost, group: string, controllers: readonly string[]): boolean {
  const there = words(host.read(join(group, 'cgroup.controllers')));
  return controllers.every((name) => there.includes(name));
}

/** How a group comes to hand these down; undefined where it cannot. */
function handingDown(
  host: GroupHost,
  directory: string,
  controllers: readonly string[],
  pid: number | undefined,
): GroupAbove | undefined {
  if (!host.writable(directory)) return undefined;
  const given = words(host.read(join(directory, 'cgroup.subtree_control')));
  if (controllers.every((name) => given.includes(name))) return { directory };
  // Only the root of all groups has no type, and may have processes as well.
  if (host.read(join(directory, 'cgroup.type')) === undefined) return { directory };
  const processes = words(host.read(join(directory, 'cgroup.procs')));
  if (processes.length === 0) return { directory };
  const alone = processes.length === 1 && processes[0] === String(pid);
  return alone ? { directory, leaf: join(directory, 'gantry-supervisor') } : undefined;
}

function words(text: string | undefined): string[] {
  return (text ?? '').split(/\s+/).filter(Boolean);
}

/** Schedulers with weights, and what both versions call them. */
const WEIGHTS = ['io.weight', 'io.bfq.weight', 'blkio.bfq.weight'];

/**
 * As `placeGroups`, but for a controller of disks that has no weights: not every kernel is built with a scheduler
 * that has. A v2 group that has not handed `io` down yet does not tell; then it is taken to be so.
 */
export function usableGroups(host: GroupHost, wishes: PlacementWishes): Placement {
  const { groups, missing } = placeGroups(host, wishes);
  const isDisks = (name: string) => name === 'io' || name === 'blkio';
  const group = groups.find(({ controllers }) => controllers.some(isDisks));
  if (group === undefined) return { groups, missing };
  const files = host.filesBelow(dirname(group.directory));
  const tells = group.version === 1 || files.some((file) => file.startsWith('io.'));
  if (!tells || files.some((file) => WEIGHTS.includes(file))) return { groups, missing };
  const left = groups.map((one) => ({
    ...one,
    controllers: one.controllers.filter((name) => !isDisks(name)),
  }));
  return {
    groups: left.filter(({ controllers }) => controllers.length > 0),
    missing: [...missing, 'io'],
  };
}
