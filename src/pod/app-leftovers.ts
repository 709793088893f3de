import { closeSync, constants, openSync, readdirSync, rmdirSync } from 'node:fs';
import { errnoOf } from '../error.ts';
import type { Pod } from './pod.ts';
import type { PodRecord } from './record.ts';
import { emptyDirectory } from './removal.ts';

/**
 * Removes of a mutable pod's directory every app and every volume that its record does not name: what was
 * removed, or was being added or removed by a process that did not get to the end. The lock on the apps
 * must be held exclusively.
 * @throws GantryError as `emptyDirectory`
 */
export function removeLeftovers(pod: Pod, record: PodRecord): void {
  const apps = new Set(record.apps.map(({ name }) => name));
  const volumes = new Set(record.settings.volumes);
  for (const name of namesIn(pod, 'apps')) if (!apps.has(name)) removeTree(pod, `apps/${name}`);
  for (const name of namesIn(pod, 'volumes')) {
    if (!volumes.has(name)) removeTree(pod, `volumes/${name}`);
  }
}

function namesIn(pod: Pod, directory: string): string[] {
  try {
    return readdirSync(pod.file(directory));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

function removeTree(pod: Pod, path: string): void {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
  const fd = openSync(pod.file(path), flags);
  try {
    emptyDirectory(fd, `${pod.dir}/${path}`);
  } finally {
    closeSync(fd);
  }
  rmdirSync(pod.file(path));
}
