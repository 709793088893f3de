import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { GantryError } from '../error.ts';
import { openFlavour } from './flavour.ts';
import { ENTRY_PATH, type LockedPod } from './launch.ts';

/** A flavour's gc that takes longer hangs, and whoever collects must not hang with it. */
const PATIENCE_MS = 60_000;

/**
 * Has the flavour remove what it left outside the pod directory, such as control groups.
 * @throws GantryError `launch` saying how it failed
 */
export function collectGarbage(pod: LockedPod, patienceMs: number = PATIENCE_MS): void {
  const gc = openFlavour(`${pod.directory}/stage1`).entryPoint('gc');
  const result = spawnSync(gc, [pod.uuid], {
    cwd: pod.directory,
    env: { PATH: ENTRY_PATH, GANTRY_LOCK_FD: '3' },
    stdio: ['ignore', 'ignore', 'pipe', pod.lockFd],
    encoding: 'utf8',
    timeout: patienceMs,
    killSignal: 'SIGKILL',
  });
  if (result.status === 0 && result.error === undefined) return;
  const why = failureOf(result, patienceMs);
  throw new GantryError('launch', `stage1 gc of pod ${JSON.stringify(pod.uuid)}: ${why}`, {
    cause: result.error,
  });
}

function failureOf(
  { error, stderr, signal, status }: SpawnSyncReturns<string>,
  patienceMs: number,
): string {
  if (error !== undefined && 'code' in error && error.code === 'ETIMEDOUT') {
    return `it has not ended within ${patienceMs / 1000} seconds`;
  }
  const [line] = (stderr ?? '').trim().split('\n');
  return line || error?.message || `it ended with ${signal ?? `exit code ${status}`}`;
}
