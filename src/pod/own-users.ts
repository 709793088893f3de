import { GantryError } from '../error.ts';
import type { Volume } from '../image/volume.ts';
import { USERS_OF_A_POD, type UserRange } from '../isolation/user-map.ts';
import { allotUsers } from '../isolation/user-ranges.ts';
import type { HostVolumeSettings } from '../stage1/settings.ts';
import { system } from '../system/binding.ts';
import type { Pod } from './pod.ts';
import type { PodRequest, Warnings } from './request.ts';

/**
 * Gives a pod of `--private-users` users of its own.
 * @throws GantryError `usage` for what does not go with them, `launch` when there are none left
 */
export function settleUsers(pod: Pod, request: PodRequest): UserRange {
  for (const volume of request.volumes ?? []) requireUsable(volume);
  return allotUsers(pod.dataDir, pod.uuid);
}

function requireUsable(volume: Volume): void {
  const refuse = (why: string) => new GantryError('usage', `--volume ${volume.name}: ${why}`);
  if (volume.kind === 'host') {
    if (volume.propagation !== 'shared') return;
    throw refuse(
      'propagation=shared: with --private-users no mounts of the pod travel to the host: use propagation=slave',
    );
  }
  const strange = [volume.uid, volume.gid].find((id) => id >= USERS_OF_A_POD);
  if (strange === undefined) return;
  throw refuse(
    `uid and gid: with --private-users a pod has ids up to ${USERS_OF_A_POD - 1}, not ${strange}`,
  );
}

/**
 * Whether overlays can have these layers as they are for other users: by idmapped mounts (Linux 5.12; which file
 * systems have them is the kernel's to say). Otherwise they have to be copied.
 */
export function canShareLayers(layers: readonly string[], report: Warnings): boolean {
  const strange = layers.find((layer) => !system.canMapUsers(layer, false));
  if (strange === undefined) return true;
  report.warn(
    `--private-users: the image is copied, which takes longer and room: the file system of ${strange} has no idmapped mounts`,
  );
  return false;
}

/** The host's volumes with files that belong to the same numbers in the pod; where that cannot be, to nobody. */
export function mapVolumes(
  volumes: readonly HostVolumeSettings[],
  report: Warnings,
): HostVolumeSettings[] {
  return volumes.map((volume) => {
    const { name, source, recursive } = volume;
    if (system.canMapUsers(source, recursive)) return { ...volume, mapped: true };
    report.warn(
      `--volume ${name}: with --private-users its files belong to nobody: the file system of ${source}${recursive ? ', or one mounted below,' : ''} has no idmapped mounts`,
    );
    return volume;
  });
}
