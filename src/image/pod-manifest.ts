import { type App, type Port, readApp, readPort } from './app.ts';
import type { ImageId } from './digest.ts';
import { type DocumentKind, type Field, parseDocument, refuseDuplicates } from './document.ts';
import { readKind, readVersion } from './image-manifest.ts';
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
   * Whole in every manifest Gantry writes; a manifest from outside may hold the beginning of one, which
   * the store completes.
   */
  id: ImageId;
  labels: Label[];
}

/** A volume at a path of an app. */
export interface Mount {
  volume: string;
  /** Absolute, in the app's root. */
  path: string;
  /** Used in place of the pod's volume of that name, by this mount alone. */
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

const manifestKind: DocumentKind = { what: 'pod manifest', code: 'invalid-manifest' };

/** No more than that is read of a pod manifest. */
export const MAX_POD_MANIFEST_BYTES = 4 * 1024 * 1024;

/**
 * Validates a pod manifest, field by field.
 * @param what it is, as refusals begin
 * @throws GantryError `invalid-manifest`, naming the field: `pod manifest: apps[1].name: …`
 */
export function parsePodManifest(bytes: Uint8Array, what: string = manifestKind.what): PodManifest {
  const root = parseDocument(bytes, { ...manifestKind, what, maxBytes: MAX_POD_MANIFEST_BYTES });
  readKind(root, 'PodManifest');
  return {
    acKind: 'PodManifest',
    acVersion: readVersion(root.member('acVersion')),
    apps: readRuntimeApps(root.member('apps')),
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

function readRuntimeApps(list: Field): RuntimeApp[] {
  const items = list.list();
  const apps = items.map(readRuntimeApp);
  const names = apps.map(({ name }) => name);
  const twice = names.findIndex((name, index) => names.indexOf(name) !== index);
  const again = items[twice]?.member('name');
  if (again !== undefined) throw again.refuse(`multiple apps with same name ${names[twice]}`);
  return apps;
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
    id: readImageIdPrefix(field.member('id')),
    labels: readLabels(field.member('labels')),
  };
}

/** What `gantry image list` shows of an ID does as well as all of it. */
function readImageIdPrefix(field: Field): string {
  const id = field.string();
  if (/^(sha512-[0-9a-f]{2,128}|sha256-[0-9a-f]{2,64})$/.test(id)) return id;
  throw field.refuse(
    `${quote(id)} is no image ID: sha512- and 2 to 128, or sha256- and 2 to 64 lower-case hex digits`,
  );
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
