import { GantryError } from '../error.ts';
import { removeAppGroups } from '../isolation/control-groups.ts';
import { callAppEntry } from '../stage1/app-entry.ts';
import { removeLeftovers } from './app-leftovers.ts';
import { requireApp } from './app-turns.ts';
import {
  keepManifest,
  lockApps,
  readMutable,
  replaceRecord,
  requireRunning,
} from './mutable-pod.ts';
import type { Pod } from './pod.ts';
import type { PodRecord } from './record.ts';

const DOING = 'cannot remove application';

/**
 * Removes an app of a mutable pod, stopping it first. The pod may have ended.
 * @throws GantryError `not-found` without such an app, `unsupported` for an immutable pod, `wrong-phase`
 *   for one that is neither running nor exited
 */
export async function removeApp(pod: Pod, name: string): Promise<void> {
  requireApp(readMutable(pod, DOING), name);
  if (pod.state() === 'exited') {
    holdExited(pod);
    await drop(pod, name);
    return;
  }
  requireRunning(pod);
  const running = { uuid: pod.uuid, directory: pod.dir };
  callAppEntry(running, 'app-stop', name);
  await drop(pod, name, () => callAppEntry(running, 'app-rm', name));
}

/** With the pod's lock held neither gc nor rm is at it. */
function holdExited(pod: Pod): void {
  if (pod.lock() && pod.relocate() && pod.phase === 'run') return;
  throw new GantryError('busy', `pod ${JSON.stringify(pod.uuid)} is just being removed`);
}

/** The record first: from then on what there is of the app is a leftover. */
async function drop(pod: Pod, name: string, forget = () => {}): Promise<void> {
  using _lock = await lockApps(pod, 'exclusive');
  const before = readMutable(pod, DOING);
  requireApp(before, name);
  forget();
  const record = recordWithout(before, name);
  replaceRecord(pod, record);
  // What cannot be removed, for a process hides in it, goes with the pod.
  removeAppGroups(before.settings.groups ?? [], name);
  keepManifest(pod, record);
  removeLeftovers(pod, record);
}

/** A volume is the pod's as long as an app has it. */
function recordWithout(before: PodRecord, removed: string): PodRecord {
  const apps = before.apps.filter(({ name }) => name !== removed);
  const settings = before.settings.apps.filter(({ name }) => name !== removed);
  const mounted = new Set(settings.flatMap(({ mounts }) => mounts.map(({ volume }) => volume)));
  const { hostVolumes } = before.settings;
  const users = [...apps, ...(before.stage1 === undefined ? [] : [before.stage1])];
  return {
    ...before,
    apps,
    images: [...new Set(users.flatMap(({ images = [] }) => images))],
    trees: [...new Set(users.flatMap(({ trees = [] }) => trees))],
    settings: {
      ...before.settings,
      apps: settings,
      volumes: before.settings.volumes.filter((volume) => mounted.has(volume)),
      ...(hostVolumes === undefined
        ? {}
        : { hostVolumes: hostVolumes.filter(({ name }) => mounted.has(name)) }),
    },
  };
}
