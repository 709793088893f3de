import { fstatSync, readdirSync, readFileSync, statSync } from 'node:fs';
import type { Pod } from './pod.ts';

/** The processes of a running pod, on the host. */
export interface PodProcesses {
  /** The pod's init. */
  readonly pid?: number;
  /** The process that keeps the pod: the one that was started. */
  readonly supervisor?: number;
}

/**
 * Checks what the file `pid` says, which may be of a process long gone whose number another has now:
 * the supervisor is the one that has the pod's directory open, and init descends from it. Neither where
 * that does not hold, or cannot be seen.
 */
export function runningProcesses(pod: Pod, pidFile: string | undefined): PodProcesses {
  const match = /^(\d{1,10}) (\d{1,10})\s*$/.exec(pidFile ?? '');
  if (match === null) return {};
  const supervisor = Number(match[1]);
  const pid = Number(match[2]);
  if (!hasOpen(supervisor, pod) || !descends(pid, supervisor)) return {};
  return { pid, supervisor };
}

function hasOpen(process: number, pod: Pod): boolean {
  const directory = fstatSync(pod.fd, { bigint: true });
  try {
    return readdirSync(`/proc/${process}/fd`).some((fd) => {
      const stats = statSync(`/proc/${process}/fd/${fd}`, { bigint: true, throwIfNoEntry: false });
      return stats?.ino === directory.ino && stats.dev === directory.dev;
    });
  } catch {
    return false;
  }
}

/** Whether the supervisor is at most three generations before init: between them may be what init lives in. */
function descends(init: number, supervisor: number): boolean {
  let parent: number | undefined = init;
  for (let generation = 0; generation < 3; generation++) {
    parent = parentOf(parent);
    if (parent === supervisor) return true;
    if (parent === undefined || parent <= 1) return false;
  }
  return false;
}

/** The parent of a process (proc_pid_stat(5), field 4); the name before may hold anything. */
function parentOf(process: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${process}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}
