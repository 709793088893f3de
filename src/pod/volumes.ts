import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { join, posix } from 'node:path';
import { GantryError } from '../error.ts';
import { fillsVolumes } from '../image/app-spec.ts';
import { parseAppName } from '../image/identifier.ts';
import type { App, MountPoint } from '../image/image-manifest.ts';
import type { Mount } from '../image/pod-manifest.ts';
import { quote } from '../image/quotation.ts';
import type { EmptyVolume, HostVolume, Volume } from '../image/volume.ts';
import { LayerTree } from '../isolation/layer-tree.ts';
import { hostUser, type UserRange } from '../isolation/user-map.ts';
import type { Flavour } from '../stage1/flavour.ts';
import type { HostVolumeSettings } from '../stage1/settings.ts';
import type { GivenVolumes } from '../stage1/volume-mounts.ts';
import type { NamedApp } from './manifest.ts';
import type { AppRequest, PodRequest } from './request.ts';

/** A volume of a pod, and what it begins with. */
export interface PodVolume {
  readonly volume: EmptyVolume;
  /** Directories laid over each other, absolute, top first, whose content is copied; none: empty. */
  readonly content: readonly string[];
}

/**
 * The section of an app with its mount points named for the volumes they get. In appc a name stands for
 * what apps share. An OCI image does not choose its names, which are made of its paths: two databases in
 * one pod must not write to one volume because both keep their data in `/data`.
 * @throws GantryError `invalid-reference` where that makes a name too long
 */
export function withOwnVolumes(
  name: string,
  section: App,
  { volumes = [] }: Pick<PodRequest, 'volumes'>,
): App {
  if (section.entrypoint === undefined) return section;
  const given = new Set(volumes.map((volume) => volume.name));
  const mountPoints = section.mountPoints.map((point) =>
    given.has(point.name)
      ? point
      : { ...point, name: parseAppName(`${name}-${point.name}`, 'volume name') },
  );
  return { ...section, mountPoints };
}

/**
 * The request with each volume that a mount brings along (appc spec/pods.md, `appVolume`) as one of the
 * pod's, under a name that no other has: nobody but that mount gets it.
 * @param names of the apps, in order
 * @param taken names of volumes that the pod has already
 * @throws GantryError `invalid-reference` where that makes a name too long
 */
export function withAppVolumes(
  request: PodRequest,
  names: readonly string[],
  taken: readonly string[] = [],
): PodRequest {
  if (!request.apps.some(({ mounts = [] }) => mounts.some(({ appVolume }) => appVolume))) {
    return request;
  }
  const volumes = [...(request.volumes ?? [])];
  const apps = request.apps.map((app, index) => ({
    ...app,
    mounts: app.mounts?.map(({ appVolume, ...mount }): Mount => {
      if (appVolume === undefined) return mount;
      const name = freeName(`${names[index]}-${mount.volume}`, [
        ...taken,
        ...volumes.map(({ name }) => name),
      ]);
      volumes.push({ ...appVolume, name });
      return { ...mount, volume: name };
    }),
  }));
  return { ...request, apps: apps as PodRequest['apps'], volumes };
}

function freeName(wanted: string, taken: readonly string[]): string {
  let name = wanted;
  for (let count = 2; taken.includes(name); count++) name = `${wanted}-${count}`;
  return parseAppName(name, 'volume name');
}

/**
 * What is mounted into an app, `name` being that of the volume: what `--mount` says, after the image or
 * for all apps, and each mount point of the image whose path it does not name (rkt's rule).
 * @throws GantryError `usage` for a volume that is not there, and two of them at one path
 */
export function appMounts(
  name: string,
  section: App,
  app: Pick<AppRequest, 'mounts'>,
  pod: Pick<PodRequest, 'mounts' | 'volumes'>,
): MountPoint[] {
  const own = atPaths(name, app.mounts ?? []);
  const asked = new Map([...atPaths(name, pod.mounts ?? []), ...own]);
  const points = new Map(section.mountPoints.map((point) => [posix.resolve(point.path), point]));
  const volumes = new Map(pod.volumes?.map((volume) => [volume.name, volume]));
  const explicit = [...asked].map(([path, volume]): MountPoint => {
    if (!volumes.has(volume)) {
      throw new GantryError(
        'usage',
        `--mount: app ${quote(name)}: there is no volume ${quote(volume)}: give it with --volume ${volume},kind=host,source=PATH`,
      );
    }
    return { name: volume, path, readOnly: points.get(path)?.readOnly ?? false };
  });
  const others = section.mountPoints.filter(({ path }) => !asked.has(posix.resolve(path)));
  return [...explicit, ...others].map((mount) => ({
    ...mount,
    readOnly: mount.readOnly || volumes.get(mount.name)?.readOnly === true,
  }));
}

function atPaths(name: string, mounts: readonly Mount[]): Map<string, string> {
  const byPath = new Map<string, string>();
  for (const mount of mounts) {
    const path = posix.resolve(mount.path);
    if (byPath.has(path)) {
      throw new GantryError(
        'usage',
        `--mount: app ${quote(name)}: two volumes have the target ${quote(path)}`,
      );
    }
    byPath.set(path, mount.volume);
  }
  return byPath;
}

/** The volumes an operator gave that no app has a place for. */
export function unusedVolumes(apps: readonly NamedApp[], volumes: readonly Volume[]): Volume[] {
  const used = new Set(apps.flatMap(({ mounts }) => mounts.map((mount) => mount.name)));
  return volumes.filter(({ name }) => !used.has(name));
}

/**
 * The volumes that live as long as the pod: those the operator asked for, and one for each of its images'
 * mount points to which nobody assigned one: shared by the apps that name them alike (rkt's implicit
 * empty volumes). Each of those looks like the directory it is mounted over in the first app, so that the
 * app's user can write to it. Where images ask for it (`fillsVolumes`), those and the operator's begin with
 * what the first image has there: databases rely on it.
 */
export function podVolumes(
  apps: readonly (NamedApp & { readonly layers: readonly string[] })[],
  given: readonly Volume[] = [],
): PodVolume[] {
  const assigned = new Map(given.map((volume) => [volume.name, volume]));
  const volumes = new Map<string, PodVolume>();
  for (const { section, mounts, layers, request } of apps) {
    const tree = new LayerTree(layers);
    const fills = fillsVolumes(section, request.record.manifest);
    for (const { name, path } of mounts) {
      const volume = assigned.get(name) ?? emptyVolume(name, path, tree);
      if (volumes.has(name) || volume.kind === 'host') continue;
      volumes.set(name, { volume, content: fills ? tree.directories(path) : [] });
    }
  }
  return [...volumes.values()];
}

/**
 * What is decided about the volumes that are the host's.
 * @param option they were given by
 * @throws GantryError as `settleHostVolumes`
 */
export async function hostVolumeSettings(
  volumes: readonly HostVolume[],
  flavour: Pick<Flavour, 'plan'>,
  option?: string,
): Promise<HostVolumeSettings[]> {
  if (volumes.length === 0) return [];
  const { settleHostVolumes } = await import('./host-volumes.ts');
  return settleHostVolumes(volumes, flavour, option);
}

/** The volumes the operator named, as apps are decided about. */
export function givenVolumes(
  volumes: readonly Volume[] = [],
  hostVolumes: readonly HostVolumeSettings[],
): GivenVolumes {
  const given = new Map(volumes.map(({ name }) => [name, { directory: true }]));
  for (const { name, directory } of hostVolumes) given.set(name, { directory });
  return given;
}

function emptyVolume(name: string, path: string, tree: LayerTree): EmptyVolume {
  const stats = tree.stat(path);
  const mode = stats?.isDirectory() ? stats.mode & 0o7777 : 0o755;
  return {
    name,
    kind: 'empty',
    readOnly: false,
    mode: `0${mode.toString(8).padStart(3, '0')}`,
    uid: stats?.uid ?? 0,
    gid: stats?.gid ?? 0,
  };
}

/**
 * Makes the directories of a pod's volumes.
 * @param users whose they are; undefined: the host's own
 */
export async function makeVolumes(
  podDir: string,
  volumes: readonly PodVolume[],
  users: UserRange | undefined,
): Promise<void> {
  if (volumes.length > 0) mkdirSync(join(podDir, 'volumes'));
  for (const { volume, content } of volumes) {
    const directory = join(podDir, 'volumes', volume.name);
    if (content.length > 0) {
      const { flattenLayers } = await import('../store/tree-copy.ts');
      flattenLayers(content, directory, 'copy', (id) => hostUser(id, users));
    } else {
      mkdirSync(directory);
    }
    chownSync(directory, hostUser(volume.uid, users), hostUser(volume.gid, users));
    chmodSync(directory, Number.parseInt(volume.mode, 8));
  }
}
