import { readdirSync, statSync } from 'node:fs';
import { link, read } from '../support/proc.ts';

/** A process and what tells it from a later one of the same number. */
export interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly session: number;
  /** In clock ticks since the machine started. */
  readonly started: string;
  readonly name: string;
}

/** All processes there are. */
export function allProcesses(): Process[] {
  return readdirSync('/proc').flatMap((entry) => {
    const found = /^\d+$/.test(entry) ? findProcess(Number(entry)) : undefined;
    return found === undefined ? [] : [found];
  });
}

/** The process of a number, zombies left out. */
export function findProcess(pid: number): Process | undefined {
  // The name, in parentheses, may hold anything (proc_pid_stat(5)).
  const match = /^\d+ \((.*)\) (\S) (.*)$/s.exec(read(`/proc/${pid}/stat`));
  const [, name = '', state, rest = ''] = match ?? [];
  if (match === null || state === 'Z' || state === 'X') return undefined;
  const fields = rest.split(' ');
  return {
    pid,
    parent: Number(fields[0]),
    session: Number(fields[2]),
    started: fields[18] ?? '',
    name,
  };
}

/** A process's descendants, whatever generation. */
export function descendantsOf(pid: number): Process[] {
  const all = allProcesses();
  const family = new Set([pid]);
  for (let size = 0; size !== family.size; ) {
    size = family.size;
    for (const process of all) if (family.has(process.parent)) family.add(process.pid);
  }
  return all.filter((process) => process.pid !== pid && family.has(process.pid));
}

/** The processes that have a word among their arguments. */
export function processesWith(word: string): Process[] {
  return allProcesses().filter(({ pid }) =>
    read(`/proc/${pid}/cmdline`).split('\0').includes(word),
  );
}

/** The processes whose working directory, root or program lies in `directory`. */
export function processesIn(directory: string): Process[] {
  return allProcesses().filter(({ pid }) =>
    ['cwd', 'root', 'exe'].some((name) =>
      link(`/proc/${pid}/${name}`)?.startsWith(`${directory}/`),
    ),
  );
}

/** Ends a process, if it is still there. */
export function killProcess(target: Process): void {
  if (!isSame(target)) return;
  try {
    process.kill(target.pid, 'SIGKILL');
  } catch {
    // It went meanwhile.
  }
}

/** Whether a process is still there. */
export function isSame(process: Process): boolean {
  return findProcess(process.pid)?.started === process.started;
}

/** The descriptors by which a process holds a flock(2) on `directory`, by its open file descriptions. */
export function lockDescriptors(pid: number, directory: string): string[] {
  const { dev, ino } = statSync(directory);
  return list(`/proc/${pid}/fd`).filter((fd) => {
    try {
      const there = statSync(`/proc/${pid}/fd/${fd}`);
      if (there.dev !== dev || there.ino !== ino) return false;
    } catch {
      return false;
    }
    return /^lock:.*FLOCK/m.test(read(`/proc/${pid}/fdinfo/${fd}`));
  });
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
