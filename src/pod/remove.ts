import { existsSync, rmdirSync } from 'node:fs';
import { GantryError } from '../error.ts';
import { releaseUsers, releaseUsersOf } from '../isolation/user-ranges.ts';
import { collectGarbage } from '../stage1/garbage.ts';
import { requireAbandoned } from './leftovers.ts';
import type { Pod } from './pod.ts';
import { readRecord } from './record.ts';
import { emptyDirectory } from './removal.ts';

/**
 * Removes a pod that nothing is at work on, whatever its phase.
 * @param info gets the lines rkt prints on the way
 * @throws GantryError `wrong-phase` for one that runs, is being prepared or deleted
 */
export function removePod(pod: Pod, info: (line: string) => void = () => {}): void {
  requireIdle(pod);
  moveToGarbage(pod, info);
  deletePod(pod, info);
}

/** Takes the pod's lock, or says who has it. */
function requireIdle(pod: Pod): void {
  const locked = pod.lock();
  const found = pod.relocate();
  const name = `pod ${JSON.stringify(pod.uuid)}`;
  if (!found) throw new GantryError('not-found', `${name} is gone: it has been removed meanwhile`);
  if (locked) return;
  const doing = {
    embryo: 'being prepared',
    prepare: 'being prepared',
    prepared: 'about to be run',
    run: 'running: stop it first with gantry stop',
    'exited-garbage': 'being deleted',
    garbage: 'being deleted',
  }[pod.phase];
  throw new GantryError('wrong-phase', `${name} is currently ${doing}`);
}

/** Moves a locked pod to where deleting begins; one that is there stays. */
export function moveToGarbage(pod: Pod, info: (line: string) => void): void {
  const name = JSON.stringify(pod.uuid);
  switch (pod.phase) {
    case 'embryo':
    case 'prepare':
      info(`moving failed prepare ${name} to garbage`);
      pod.enter('garbage');
      return;
    case 'prepared':
      info(`moving expired prepared pod ${name} to garbage`);
      pod.enter('garbage');
      return;
    case 'run':
      info(`moving pod ${name} to garbage`);
      pod.enter('exited-garbage');
      return;
    case 'exited-garbage':
    case 'garbage':
      return;
  }
}

/**
 * Deletes a locked pod that lies in the garbage. Broken off, it leaves an unlocked rest there, which
 * the next one to come deletes.
 * @throws GantryError `busy` while something of the pod outside its directory cannot go yet, or processes
 *   work in it
 */
export function deletePod(pod: Pod, warn: (line: string) => void): void {
  if (pod.phase === 'exited-garbage') {
    removeTraces(pod, warn);
    requireAbandoned(pod);
  }
  const users = readRecord(pod)?.settings.users;
  emptyDirectory(pod.fd, pod.dir);
  rmdirSync(pod.dir);
  if (users !== undefined) releaseUsers(pod.dataDir, pod.uuid, users);
}

/**
 * Has the pod's stage1 remove what is left outside of the directory. One that cannot, since it has
 * been uninstalled or the pod is half deleted already, only matters while there is something left.
 */
function removeTraces(pod: Pod, warn: (line: string) => void): void {
  const failure = collect(pod);
  const cgroup = readRecord(pod)?.settings.cgroup;
  if (cgroup !== undefined && existsSync(cgroup)) {
    const why =
      failure?.message ?? `the stage1 of pod ${JSON.stringify(pod.uuid)} has not removed it`;
    throw new GantryError('busy', `${why}; ${cgroup} is still there: try again`, {
      cause: failure,
    });
  }
  if (failure !== undefined) warn(failure.message);
}

function collect(pod: Pod): GantryError | undefined {
  try {
    collectGarbage({ uuid: pod.uuid, directory: pod.dir, lockFd: pod.fd });
    return undefined;
  } catch (error) {
    if (error instanceof GantryError) return error;
    throw error;
  }
}

/** Deletes a locked pod that never came to be, and closes it. */
export function discardPod(pod: Pod): void {
  moveToGarbage(pod, () => {});
  deletePod(pod, () => {});
  // Its record may not have been written yet.
  releaseUsersOf(pod.dataDir, pod.uuid);
  pod.close();
}
