import { errnoOf, GantryError } from '../error.ts';
import { system } from '../system/binding.ts';
import type { Flavour } from './flavour.ts';

/** Entry points find programs here, whatever the caller's PATH is. */
export const ENTRY_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** What a supervisor gets of its caller's environment: its service manager, its terminal. */
const PASSED_ON = ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID', 'TERM'] as const;

/** A locked pod directory, as an entry point needs it. */
export interface LockedPod {
  readonly uuid: string;
  /** Absolute. */
  readonly directory: string;
  /** The open pod directory the flock is held on. */
  readonly lockFd: number;
}

/**
 * Becomes the pod's supervisor: the process id stays, the lock goes with it.
 * @param flavour what the pod's `stage1` leads to, whose `run` has been found sound
 * @throws GantryError `launch` when the entry point cannot be executed
 */
export function becomeSupervisor(
  pod: LockedPod,
  flavour: Pick<Flavour, 'programs'>,
  environment: NodeJS.ProcessEnv,
): never {
  const run = `${pod.directory}/stage1/${flavour.programs.get('run')}`;
  const passed = PASSED_ON.flatMap((name) =>
    environment[name] === undefined ? [] : [`${name}=${environment[name]}`],
  );
  try {
    process.chdir(pod.directory);
    return system.execve(
      run,
      [run, pod.uuid],
      [`PATH=${ENTRY_PATH}`, `GANTRY_LOCK_FD=${pod.lockFd}`, ...passed],
      [pod.lockFd],
    );
  } catch (error) {
    throw new GantryError('launch', `cannot start ${run}: ${errnoOf(error) ?? 'failed'}`, {
      cause: error,
    });
  }
}
