import { spawnSync } from 'node:child_process';
import { GantryError } from '../error.ts';
import { openFlavour } from './flavour.ts';
import { ENTRY_PATH, type LockedPod } from './launch.ts';

/**
 * Has the flavour remove what it left outside the pod directory, such as control groups.
 * @throws GantryError `launch` saying how it failed
 */
export function collectGarbage(pod: LockedPod): void {
  const gc = openFlavour(`${pod.directory}/stage1`).entryPoint('gc');
  const result = spawnSync(gc, [pod.uuid], {
    cwd: pod.directory,
    env: { PATH: ENTRY_PATH, GANTRY_LOCK_FD: '3' },
    stdio: ['ignore', 'ignore', 'pipe', pod.lockFd],
    encoding: 'utf8',
  });
  if (result.status === 0) return;
  const why = result.stderr?.trim().split('\n')[0] || result.error?.message || 'failed';
  throw new GantryError('launch', `stage1 gc of pod ${JSON.stringify(pod.uuid)}: ${why}`, {
    cause: result.error,
  });
}
