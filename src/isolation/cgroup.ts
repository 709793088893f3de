import { accessSync, constants, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Hierarchy, parseHierarchies } from './hierarchies.ts';

/** The control groups that this process sees, of v1, v2 or both. */
export function readHierarchies(): Hierarchy[] {
  return parseHierarchies(
    readFileSync('/proc/self/mountinfo', 'utf8'),
    readFileSync('/proc/self/cgroup', 'utf8'),
  );
}

/**
 * The absolute directory of this process's own group in the cgroup v2 hierarchy, unified or hybrid;
 * undefined where there is none, or none that groups can be made in.
 */
export function ownCgroup(): string | undefined {
  return ifWritable(unified()?.own);
}

/** The absolute directory of the topmost group that this process sees, as `ownCgroup`. */
export function rootCgroup(): string | undefined {
  return ifWritable(unified()?.top);
}

function unified(): Hierarchy | undefined {
  return readHierarchies().find(({ version }) => version === 2);
}

function ifWritable(directory: string | undefined): string | undefined {
  return directory !== undefined && isWritableGroup(directory) ? directory : undefined;
}

/** Whether groups can be made in a group, and its controllers handed down. */
export function isWritableGroup(directory: string): boolean {
  try {
    accessSync(join(directory, 'cgroup.procs'), constants.W_OK);
    accessSync(directory, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
