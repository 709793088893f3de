import { type App, type Port, readApp, readPort } from './app.ts';
import type { ImageId } from './digest.ts';
import { type DocumentKind, type Field, parseDocument, refuseDuplicates } from './document.ts';
import { readImageId, readKind, readVersion } from './image-manifest.ts';
import { type Isolator, readIsolators } from './isolator.ts';
import {
  type Annotation,
  type Label,
  readAnnotations,
  readAppName,
  readImageName,
  readLabels,
} from './label.ts';
import { quote } from './quotation.ts';
import { readVolume, type Volume } from './volume.ts';

export type { EmptyVolume, HostVolume, Volume } from './volume.ts';

/** What a pod consists of (appc spec/pods.md, "Pod Manifest Schema"). */
export interface PodManifest {
  acKind: 'PodManifest';
  acVersion: string;
  apps: RuntimeApp[];
  volumes: Volume[];
  isolators: Isolator[];
  annotations: Annotation[];
  ports: ExposedPort[];
  userAnnotations: Record<string, string>;
  userLabels: Record<string, string>;
}

/** An app of a pod. */
export interface RuntimeApp {
  /** Unique in the pod. */
  name: string;
  image: RuntimeImage;
  /** Takes the place of the image's own `app`. */
  app?: App;
  mounts: Mount[];
  readOnlyRootFS: boolean;
  annotations: Annotation[];
}

/** The image an app runs in. */
export interface RuntimeImage {
  name?: string;
  /**
   * Whole in every manifest Gantry writes; a manifest from outside may hold an ID shortened as rkt
   * does, which the store completes.
   */
  id: ImageId;
  labels: Label[];
}

/** A volume at a path of an app. */
export interface Mount {
  volume: string;
  /** Absolute, in the app's root. */
  path: string;
  /** Used in place of the pod's volume of that name. */
  appVolume?: Volume;
}

/** A port of the host that leads to an app. */
export interface ExposedPort {
  name: string;
  hostPort: number;
  /** IPv4; every address of the host where absent. */
  hostIP?: string;
  podPort?: Port;
}

const kind: DocumentKind = { what: 'pod manifest', code: 'invalid-manifest' };

/**
 * Validates a pod manifest, field by field.
 * @throws GantryError `invalid-manifest`, naming the field: `pod manifest: apps[1].name: …`
 */
export function parsePodManifest(bytes: Uint8Array): PodManifest {
  const root = parseDocument(bytes, kind);
  readKind(root, 'PodManifest');
  return {
    acKind: 'PodManifest',
    acVersion: readVersion(root.member('acVersion')),
    apps: readNamed(root.member('apps'), readRuntimeApp),
    volumes: readNamed(root.member('volumes'), readVolume),
    isolators: readIsolators(root.member('isolators')),
    annotations: readAnnotations(root.member('annotations')),
    ports: readNamed(root.member('ports'), readExposedPort),
    userAnnotations: root.member('userAnnotations').stringMap(),
    userLabels: root.member('userLabels').stringMap(),
  };
}

function readNamed<T extends { name: string }>(list: Field, read: (item: Field) => T): T[] {
  const items = list.list().map(read);
  refuseDuplicates(
    list,
    items.map((item) => item.name),
  );
  return items;
}

function readRuntimeApp(item: Field): RuntimeApp {
  const app = item.member('app').optional(readApp);
  return {
    name: readAppName(item.member('name')),
    image: readRuntimeImage(item.member('image')),
    ...(app === undefined ? {} : { app }),
    mounts: item.member('mounts').list().map(readMount),
    readOnlyRootFS: item.member('readOnlyRootFS').optional((field) => field.boolean()) ?? false,
    annotations: readAnnotations(item.member('annotations')),
  };
}

function readRuntimeImage(field: Field): RuntimeImage {
  const name = field.member('name').optional(readImageName);
  return {
    ...(name === undefined ? {} : { name }),
    id: readImageId(field.member('id')),
    labels: readLabels(field.member('labels')),
  };
}

function readMount(item: Field): Mount {
  const appVolume = item.member('appVolume').optional(readVolume);
  return {
    volume: readAppName(item.member('volume')),
    path: item.member('path').absolutePath(),
    ...(appVolume === undefined ? {} : { appVolume }),
  };
}

function readExposedPort(item: Field): ExposedPort {
  const hostIP = item.member('hostIP').optional(readIPv4);
  const podPort = item.member('podPort').optional(readPort);
  return {
    name: readAppName(item.member('name')),
    hostPort: item.member('hostPort').integer(1, 65_535),
    ...(hostIP === undefined ? {} : { hostIP }),
    ...(podPort === undefined ? {} : { podPort }),
  };
}

function readIPv4(field: Field): string {
  const text = field.string();
  if (!/^((25[0-5]|2[0-4]\d|1?\d?\d)(\.|$)){4}$/.test(text) || text.endsWith('.')) {
    throw field.refuse(`must be an IPv4 address, not ${quote(text)}`);
  }
  return text;
}
