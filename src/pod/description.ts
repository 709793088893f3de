import type { Mount, PodManifest, RuntimeApp } from '../image/pod-manifest.ts';
import type { Volume } from '../image/volume.ts';
import { readManifestWithExtras } from './manifest.ts';
import type { Pod } from './pod.ts';

/** A volume at its place in an app. */
export interface MountStatus {
  /** Of the volume. */
  readonly name: string;
  readonly path: string;
  /** Where it is on the host; empty for a volume of the pod's own. */
  readonly source: string;
  readonly readOnly: boolean;
}

/** What a pod's manifest says of an app, beside what runs. */
export interface AppDescription {
  readonly mounts: readonly MountStatus[];
  readonly userAnnotations: Readonly<Record<string, string>>;
  readonly userLabels: Readonly<Record<string, string>>;
}

/** The same of the pod, and of its apps by their names. */
export interface PodDescription extends Omit<AppDescription, 'mounts'> {
  readonly apps: ReadonlyMap<string, AppDescription>;
}

export const NOTHING_SAID: AppDescription = { mounts: [], userAnnotations: {}, userLabels: {} };

/** What a pod's manifest says; nothing where there is none yet, or a crash of the machine took it. */
export function describePod(pod: Pod): PodDescription {
  const manifest = readExtras(pod);
  if (manifest === undefined) return { ...NOTHING_SAID, apps: new Map() };
  const { apps, volumes, userAnnotations, userLabels } = manifest;
  return {
    apps: new Map(apps.map((app) => [app.name, describeApp(app, volumes)])),
    userAnnotations,
    userLabels,
  };
}

function readExtras(pod: Pod): PodManifest | undefined {
  try {
    return readManifestWithExtras(pod);
  } catch {
    return undefined;
  }
}

function describeApp({ mounts, app }: RuntimeApp, volumes: readonly Volume[]): AppDescription {
  return {
    mounts: mounts.map((mount) => describeMount(mount, volumes)),
    userAnnotations: app?.userAnnotations ?? {},
    userLabels: app?.userLabels ?? {},
  };
}

function describeMount(
  { volume, path, appVolume }: Mount,
  volumes: readonly Volume[],
): MountStatus {
  const found = appVolume ?? volumes.find(({ name }) => name === volume);
  return {
    name: volume,
    path,
    source: found?.kind === 'host' ? found.source : '',
    readOnly: found?.readOnly ?? false,
  };
}
