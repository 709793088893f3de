import { readFileSync } from 'node:fs';
import { errnoOf, GantryError } from '../error.ts';
import { parseIdentifier } from '../image/identifier.ts';
import type { Annotation, App } from '../image/image-manifest.ts';
import { type PodManifest, parsePodManifest, type RuntimeApp } from '../image/pod-manifest.ts';
import type { EmptyVolume } from '../image/volume.ts';
import type { Pod } from './pod.ts';
import type { AppRequest, PodRequest } from './request.ts';

/** The version of the App Container specification pod manifests are written in. */
const AC_VERSION = '0.8.11';

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

/** An app of a pod to be: what was asked, and what came of it. */
export interface NamedApp {
  readonly name: string;
  readonly request: AppRequest;
  readonly section: App;
}

/** The manifest of a pod in which every volume and every app's section is said (appc spec/pods.md). */
export function podManifest(
  request: PodRequest,
  apps: readonly NamedApp[],
  volumes: readonly EmptyVolume[],
): PodManifest {
  return {
    acVersion: AC_VERSION,
    acKind: 'PodManifest',
    apps: apps.map(runtimeApp),
    volumes: [...volumes],
    isolators: [],
    annotations: named(request.annotations),
    ports: [],
    userAnnotations: { ...request.userAnnotations },
    userLabels: { ...request.userLabels },
  };
}

function runtimeApp({ name, request, section }: NamedApp): RuntimeApp {
  const { record } = request;
  return {
    name,
    image: { name: record.name, id: record.id, labels: record.manifest.labels },
    app: section,
    mounts: section.mountPoints.map((point) => ({ volume: point.name, path: point.path })),
    readOnlyRootFS: request.readOnlyRootfs ?? false,
    annotations: named(request.annotations),
  };
}

function named(annotations: ReadonlyMap<string, string> | undefined): Annotation[] {
  return [...(annotations ?? [])].map(([name, value]) => ({
    name: parseIdentifier(name, 'annotation name'),
    value,
  }));
}
