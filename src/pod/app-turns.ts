import { GantryError } from '../error.ts';
import { callAppEntry } from '../stage1/app-entry.ts';
import { lockApps, readMutable, requireRunning } from './mutable-pod.ts';
import type { Pod } from './pod.ts';
import type { PodRecord } from './record.ts';

/**
 * Starts an app of a running mutable pod, for the first time or again, and returns when it runs; one that
 * runs already is left as it is.
 * @throws GantryError `launch` saying why it cannot be started, `not-found` without such an app,
 *   `unsupported` for an immutable pod, `wrong-phase` for one that does not run
 */
export async function startApp(pod: Pod, name: string): Promise<void> {
  const doing = 'cannot start application';
  readMutable(pod, doing);
  requireRunning(pod);
  // The app is there until it runs.
  using _lock = await lockApps(pod, 'shared');
  requireApp(readMutable(pod, doing), name);
  callAppEntry({ uuid: pod.uuid, directory: pod.dir }, 'app-start', name);
}

/**
 * Stops an app of a running mutable pod in order, and returns when it has ended.
 * @throws GantryError as `startApp`
 */
export function stopApp(pod: Pod, name: string): void {
  const record = readMutable(pod, 'cannot stop application');
  requireRunning(pod);
  requireApp(record, name);
  callAppEntry({ uuid: pod.uuid, directory: pod.dir }, 'app-stop', name);
}

/** @throws GantryError `not-found`, in rkt's words */
export function requireApp({ apps }: PodRecord, name: string): void {
  if (apps.some((app) => app.name === name)) return;
  throw new GantryError('not-found', `nonexistent app "${name}": gantry app list shows the apps`);
}
