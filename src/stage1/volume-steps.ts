import type { SetupStep } from '../isolation/step.ts';
import type { AppSettings, HostVolumeSettings, PodSettings, VolumeMount } from './settings.ts';

/** Slots for what is taken along through an app's pivot-root (specs/launch-plan.md). */
export const RESOLV_SLOT = '1';
export const FIRST_VOLUME_SLOT = 2;

/** Whether mounts made later travel through the volume. */
export function travels({ propagation }: HostVolumeSettings): boolean {
  return propagation !== 'private';
}

/** The volume of the host that a mount names; undefined where it is one of the pod's own. */
export function hostVolume(
  { hostVolumes = [] }: PodSettings,
  { volume }: VolumeMount,
): HostVolumeSettings | undefined {
  return hostVolumes.find(({ name }) => name === volume);
}

/**
 * A copy of what the host has at a volume's source. One through which mounts travel has to be taken
 * before `private-mounts`, while this namespace still shares mounts with the host's.
 */
export function hostTreeStep(
  slot: string,
  { source, recursive }: Pick<HostVolumeSettings, 'source' | 'recursive'>,
): SetupStep {
  return recursive ? ['open-tree', slot, source, 'recursive'] : ['open-tree', slot, source];
}

/** The flags that make a copy what the volume is to be. */
function hostTreeFlags(volume: HostVolumeSettings): string[] {
  return [
    ...(travels(volume) ? [volume.propagation] : []),
    ...(volume.devices ? [] : ['nodev']),
    ...(volume.readOnly ? ['ro'] : []),
    ...(volume.mapped ? ['users'] : []),
  ];
}

/** Gives a copy in a slot its flags; what came along below it too. */
export function hostAttributeSteps(slot: string, volume: HostVolumeSettings): SetupStep[] {
  const flags = hostTreeFlags(volume).join(',');
  if (flags === '') return [];
  return volume.recursive
    ? [['tree-attributes', slot, flags, 'recursive']]
    : [['tree-attributes', slot, flags]];
}

/** Copies of the volumes of a pod through which mounts travel, before everything else of the pod. */
export function travellingTreeSteps(pod: PodSettings): SetupStep[] {
  return copySteps(pod, travels);
}

/**
 * Copies of the others with what is mounted below them, for a pod with users of its own: before anything of the pod is mounted.
 * Where a source has the data directory in it, that would come along, and mounts are given other owners once only.
 */
export function wholeTreeSteps(pod: PodSettings): SetupStep[] {
  return copySteps(pod, (volume) => !travels(volume));
}

function copySteps(pod: PodSettings, take: (volume: HostVolumeSettings) => boolean): SetupStep[] {
  return copied(pod).flatMap((volume, index): SetupStep[] =>
    take(volume) ? [hostTreeStep(String(index), volume)] : [],
  );
}

/** The volumes of which a copy is taken before; it is in the slot of its index. */
function copied({ hostVolumes = [], users }: PodSettings): HostVolumeSettings[] {
  return hostVolumes.filter(
    (volume) => travels(volume) || (users !== undefined && volume.recursive),
  );
}

/** Puts the host's volumes where the apps of a pod take theirs from: `volumes/NAME` below `root`. */
export function sharedVolumeSteps(pod: PodSettings, root = 'root'): SetupStep[] {
  const { hostVolumes = [] } = pod;
  if (hostVolumes.length === 0) return [];
  const copies = copied(pod);
  return [
    ['make-directory', `${root}/volumes`, '0755'],
    ...hostVolumes.flatMap((volume): SetupStep[] => {
      const target = `${root}/volumes/${volume.name}`;
      return [
        volume.directory ? ['make-directory', target, '0755'] : ['make-file', target, '0644'],
        ...(copies.includes(volume)
          ? attachSteps(String(copies.indexOf(volume)), volume, target)
          : [bindStep(volume, target)]),
      ];
    }),
  ];
}

function attachSteps(slot: string, volume: HostVolumeSettings, target: string): SetupStep[] {
  return [...hostAttributeSteps(slot, volume), ['move-tree', slot, target]];
}

/** Binds what the host has at a volume's source to `target`, as what the volume is to be. */
function bindStep(volume: HostVolumeSettings, target: string): SetupStep {
  const flags = ['bind', ...(volume.recursive ? ['rec'] : []), ...hostTreeFlags(volume)];
  return ['mount', volume.source, target, '-', flags.join(',')];
}

/** What an app takes of one of the volumes at /volumes of its pod. */
export function volumeTreeSteps(pod: PodSettings, mount: VolumeMount, slot: string): SetupStep[] {
  const source = `/volumes/${mount.volume}`;
  if (hostVolume(pod, mount) === undefined) {
    return [
      ['open-tree', slot, source],
      ...(mount.readOnly ? ([['tree-attributes', slot, 'ro']] as const) : []),
    ];
  }
  return [
    ['open-tree', slot, source, 'recursive'],
    ...(mount.readOnly ? ([['tree-attributes', slot, 'ro', 'recursive']] as const) : []),
  ];
}

/** Mounts an app's volumes out of their slots, inside its root; or those of them at the paths meant. */
export function attachedVolumeSteps(
  app: AppSettings,
  meant: (path: string) => boolean = () => true,
): SetupStep[] {
  return app.mounts.flatMap(({ path, file }, index): SetupStep[] => {
    if (!meant(path)) return [];
    return [
      ...(file ? fileTargetSteps(path) : ([['make-directory', path, '0755']] as const)),
      ['move-tree', String(FIRST_VOLUME_SLOT + index), path],
    ];
  });
}

function fileTargetSteps(path: string): SetupStep[] {
  const parent = path.slice(0, path.lastIndexOf('/'));
  return [
    ...(parent === '' ? [] : ([['make-directory', parent, '0755']] as const)),
    ['make-file', path, '0644'],
  ];
}
