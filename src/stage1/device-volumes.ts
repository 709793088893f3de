import { GantryError } from '../error.ts';
import type { AllowedDevice } from '../isolation/device-access.ts';
import type { PodSettings } from './settings.ts';
import { hostVolume } from './volume-steps.ts';

/** A device that is a volume of a pod. */
export interface GivenDevice extends AllowedDevice {
  /** The volume's name. */
  readonly volume: string;
}

/**
 * The devices that a pod's apps were given as volumes, each once.
 * @throws GantryError `usage` for one that is read-only in one place and not in another: what may be opened is said
 *   for a whole pod, and a read-only mount does not keep a device from being written to
 */
export function givenDevices(pod: PodSettings): GivenDevice[] {
  const found = new Map<string, GivenDevice>();
  for (const mount of pod.apps.flatMap(({ mounts }) => mounts)) {
    const volume = hostVolume(pod, mount);
    if (volume?.device === undefined) continue;
    const { device } = volume;
    const key = `${device.kind} ${device.major}:${device.minor}`;
    const access = volume.readOnly || mount.readOnly ? 'r' : 'rw';
    const before = found.get(key);
    if (before !== undefined && before.access !== access) {
      throw new GantryError(
        'usage',
        `--volume ${mount.volume}: the device ${volume.source} is read-only in one place and not in another, which cannot be told apart within a pod: make it readOnly everywhere or nowhere`,
      );
    }
    found.set(key, { ...device, access, volume: mount.volume });
  }
  return [...found.values()];
}
