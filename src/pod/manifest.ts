import { readFileSync } from 'node:fs';
import { errnoOf, GantryError } from '../error.ts';
import { parseIdentifier } from '../image/identifier.ts';
import type { Annotation, App, Label, MountPoint } from '../image/image-manifest.ts';
import type { ImageRecord } from '../image/image-record.ts';
import {
  type PodManifest,
  parsePodManifest,
  type RuntimeApp,
  type Volume,
} from '../image/pod-manifest.ts';
import type { Credentials } from '../isolation/users.ts';
import type { PodSettings } from '../stage1/settings.ts';
import { isVariableName } from './app-section.ts';
import type { Pod } from './pod.ts';
import type { AppRequest, PodRequest } from './request.ts';

/** The version of the App Container specification pod manifests are written in. */
const AC_VERSION = '0.8.11';

/** rkt's mark of a pod whose apps come and go. */
const MUTABLE: Annotation = { name: 'coreos.com/rkt/stage1/mutable', value: 'true' };

function readManifestText(pod: Pod): string {
  try {
    return readFileSync(pod.file('pod.json'), 'utf8');
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    throw new GantryError(
      'wrong-phase',
      `pod ${JSON.stringify(pod.uuid)} has no manifest: it is ${pod.state()}`,
    );
  }
}

/** The pod manifest, checked. @throws GantryError `wrong-phase`, `invalid-manifest` */
export function readManifest(pod: Pod): PodManifest {
  return parsePodManifest(Buffer.from(readManifestText(pod)));
}

/**
 * The pod manifest where it says anything of mounts or of the user's own annotations and labels: most pods
 * have none, and checking a manifest takes longer than all else `list` does with a pod.
 * @throws as `readManifest`
 */
export function readManifestWithExtras(pod: Pod): PodManifest | undefined {
  const text = readManifestText(pod);
  if (!/"(mounts|userAnnotations|userLabels)":/.test(text)) return undefined;
  return parsePodManifest(Buffer.from(text));
}

/** An app of a pod to be: what was asked, and what came of it. */
export interface NamedApp {
  readonly name: string;
  readonly request: AppRequest;
  readonly section: App;
  /** Its mount points and `--mount`: `name` is that of the volume. */
  readonly mounts: readonly MountPoint[];
}

/**
 * The manifest of a pod in which every volume and every app's section is said (appc spec/pods.md).
 * @param settings what was decided about the apps, in the same order
 */
export function podManifest(
  request: PodRequest,
  apps: readonly NamedApp[],
  settings: PodSettings,
  volumes: readonly Volume[],
): PodManifest {
  return {
    acVersion: AC_VERSION,
    acKind: 'PodManifest',
    apps: apps.map((app, index) => runtimeApp(app, settings.apps[index]?.credentials)),
    volumes: [...volumes],
    isolators: [...(request.isolators ?? [])],
    annotations: [...named(request.annotations), ...(settings.mutable ? [MUTABLE] : [])],
    ports: [...(request.ports ?? [])],
    userAnnotations: { ...request.userAnnotations },
    userLabels: { ...request.userLabels },
  };
}

function runtimeApp(
  { name, request, section, mounts }: NamedApp,
  credentials: Credentials | undefined,
): RuntimeApp {
  const { record } = request;
  return {
    name,
    image: { name: record.name, id: record.id, labels: labelsOf(record) },
    app: asAppc(section, credentials),
    mounts: mounts.map((mount) => ({ volume: mount.name, path: mount.path })),
    readOnlyRootFS: request.readOnlyRootfs ?? false,
    annotations: named(request.annotations),
  };
}

/**
 * What appc's manifest can hold of an OCI image: every app of its names a group there, so it is what came
 * of naming none; and variables have the names of a shell's. The plan holds them all.
 */
function asAppc(section: App, credentials: Credentials | undefined): App {
  const groups =
    section.group === ''
      ? {
          group: String(credentials?.gid ?? 0),
          supplementaryGids: [...(credentials?.gids ?? [])],
        }
      : {};
  const environment = section.environment.filter(({ name }) => isVariableName(name));
  return { ...section, ...groups, environment };
}

/** The labels of the name the image was found by. */
function labelsOf({ labels }: ImageRecord): Label[] {
  return Object.entries(labels).map(([name, value]) => ({ name, value }));
}

function named(annotations: ReadonlyMap<string, string> | undefined): Annotation[] {
  return [...(annotations ?? [])].map(([name, value]) => ({
    name: parseIdentifier(name, 'annotation name'),
    value,
  }));
}
