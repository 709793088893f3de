import { closeSync, fstatSync, openSync, readFileSync, type Stats } from 'node:fs';
import { errnoOf, GantryError } from '../error.ts';
import { quote } from '../image/quotation.ts';
import type { HostVolume } from '../image/volume.ts';
import { type DeviceNumber, deviceNumber } from '../isolation/device-access.ts';
import { type HostMount, parseMountInfo } from '../isolation/mount-info.ts';
import type { Flavour } from '../stage1/flavour.ts';
import type { HostVolumeSettings } from '../stage1/settings.ts';
import { O_PATH } from '../system/binding.ts';
import { isRootless } from '../system/ordinary-user.ts';

/** The launcher's slots (specs/launch-plan.md), in which those are kept while the pod is set up. */
const MAX_TRAVELLING = 64;

/**
 * Decides about the volumes that are the host's. Sources are looked at here, so that what is wrong with
 * them is said before anything starts; they are looked up again when the pod does.
 * @param option they were given by, for messages
 * @throws GantryError `launch` for a source that is not there, `usage` for one through which mounts
 *   cannot travel
 */
export function settleHostVolumes(
  volumes: readonly HostVolume[],
  flavour: Pick<Flavour, 'plan'>,
  option = '--volume',
): HostVolumeSettings[] {
  const travelling = volumes.filter(({ propagation = 'private' }) => propagation !== 'private');
  if (travelling.length > MAX_TRAVELLING) {
    throw new GantryError(
      'usage',
      `--volume: mounts travel through ${travelling.length} volumes, and at most ${MAX_TRAVELLING} may let them: leave propagation= out of some`,
    );
  }
  return volumes.map((volume) => settleHostVolume(volume, flavour.plan === 'chroot', option));
}

function settleHostVolume(
  volume: HostVolume,
  privileged: boolean,
  option: string,
): HostVolumeSettings {
  const { name, source, readOnly, propagation = 'private' } = volume;
  const fd = openSource(volume, option);
  try {
    const stats = fstatSync(fd);
    if (propagation !== 'private') requireShared(volume, mountOf(fd));
    const device = deviceOf(stats);
    return {
      name,
      source,
      directory: stats.isDirectory(),
      readOnly,
      // rkt's defaults: several privileged agents with all of the host's mounts, which mount more, add up.
      recursive: volume.recursive ?? !privileged,
      propagation,
      // A device that is named itself is meant to be used.
      devices: privileged || device !== undefined,
      ...(device === undefined ? {} : { device }),
    };
  } finally {
    closeSync(fd);
  }
}

function deviceOf(stats: Stats): DeviceNumber | undefined {
  if (stats.isCharacterDevice()) return deviceNumber('char', stats.rdev);
  return stats.isBlockDevice() ? deviceNumber('block', stats.rdev) : undefined;
}

/** Found without being opened, so that no device or pipe notices (open(2), O_PATH). */
function openSource({ name, source }: HostVolume, option: string): number {
  try {
    return openSync(source, O_PATH);
  } catch (cause) {
    const why = errnoOf(cause) === 'ENOENT' ? 'there is no such file' : errnoOf(cause);
    throw new GantryError('launch', `${option} ${name}: source ${quote(source)}: ${why}`, {
      cause,
    });
  }
}

/** The mount a file is found on; undefined where this kernel or /proc does not tell. */
function mountOf(fd: number): HostMount | undefined {
  const id = /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
  return parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8')).find(
    (mount) => mount.id === id,
  );
}

function requireShared({ name, source, propagation }: HostVolume, mount?: HostMount): void {
  if (isRootless()) {
    throw new GantryError(
      'usage',
      `--volume ${name}: propagation=${propagation}: mounts travel through volumes of root's pods only: leave it out`,
    );
  }
  if (mount?.shared) return;
  throw new GantryError(
    'usage',
    `--volume ${name}: propagation=${propagation}: ${source} lies on no shared mount of the host: make it one with ` +
      `"mount --make-shared ${mount?.point ?? source}"`,
  );
}
