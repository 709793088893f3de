import type { App, EnvironmentVariable, MountPoint, Port } from './app.ts';
import type { Digest } from './digest.ts';
import { type DocumentKind, type Field, parseDocument } from './document.ts';
import type { ImageManifest } from './image-manifest.ts';
import type { Label } from './label.ts';
import { type Platform, readDigest } from './oci-manifest.ts';
import { archLabel } from './platform.ts';
import { quote } from './quotation.ts';

/** An OCI image configuration (image-spec config.md), as far as running it goes. */
export interface OciConfig {
  platform: Platform;
  /** One for each layer, lowest first. */
  diffIds: Digest[];
  entrypoint: string[];
  cmd: string[];
  environment: EnvironmentVariable[];
  /** `user`, `uid`, `user:group`, `uid:gid`, or empty. */
  user: string;
  workingDirectory: string;
  exposedPorts: string[];
  volumes: string[];
  /** `SIGTERM` or a number, or empty. */
  stopSignal: string;
  labels: Record<string, string>;
  /** RFC 3339, where it is given. */
  created?: string;
}

/** A configuration is read whole; one larger than this is an attack. */
export const maxConfigBytes = 4 * 1024 * 1024;

/** Each volume is a mount, and each port a line; no image has a tenth of this. */
const maxNames = 1000;

const kind: DocumentKind = {
  what: 'image configuration',
  code: 'invalid-manifest',
  maxBytes: maxConfigBytes,
};

/** What appc says the version of its specification is that the manifests below follow. */
const AC_VERSION = '0.8.11';

/**
 * Reads an image configuration.
 * @throws GantryError `invalid-manifest`, naming the field
 */
export function parseOciConfig(bytes: Uint8Array): OciConfig {
  const root = parseDocument(bytes, kind);
  const config = root.member('config').given ? root.member('config') : undefined;
  const rootfs = root.member('rootfs');
  const type = rootfs.member('type').string();
  if (type !== 'layers') throw rootfs.member('type').refuse('must be "layers"');
  const text = (name: string) => config?.member(name).optional((field) => field.string()) ?? '';
  const created = root.member('created').optional((field) => field.string());
  const variant = root.member('variant').optional((field) => field.string());
  return {
    platform: {
      os: root.member('os').filledString(),
      architecture: root.member('architecture').filledString(),
      ...(variant ? { variant } : {}),
    },
    diffIds: rootfs.member('diff_ids').list().map(readDigest),
    entrypoint: config?.member('Entrypoint').strings() ?? [],
    cmd: config?.member('Cmd').strings() ?? [],
    environment: readEnvironment(config),
    user: text('User'),
    workingDirectory: readWorkingDirectory(config),
    exposedPorts: keys(config, 'ExposedPorts'),
    volumes: keys(config, 'Volumes'),
    stopSignal: text('StopSignal'),
    labels: config?.member('Labels').stringMap() ?? {},
    ...(created ? { created } : {}),
  };
}

/**
 * The configuration in appc's terms, so that one AppSpec comes of either (image-spec
 * conversion.md has the same table for the runtime's configuration).
 * @param name of the repository; @param version the tag, where there is one
 */
export function appcManifest(
  config: OciConfig,
  name: string,
  version: string | undefined,
): ImageManifest {
  const labels: Label[] = [
    ...(version === undefined ? [] : [{ name: 'version', value: version }]),
    { name: 'os', value: config.platform.os },
    { name: 'arch', value: archLabel(config.platform) },
  ];
  return {
    acKind: 'ImageManifest',
    acVersion: AC_VERSION,
    name,
    labels,
    app: appOf(config),
    dependencies: [],
    pathWhitelist: [],
    annotations: isTimestamp(config.created) ? [{ name: 'created', value: config.created }] : [],
  };
}

function appOf(config: OciConfig): App {
  const { entrypoint, cmd, stopSignal } = config;
  const [user, group] = splitUser(config.user);
  return {
    exec: [...entrypoint, ...cmd],
    entrypoint,
    ...(stopSignal === '' ? {} : { stopSignal }),
    user,
    group,
    supplementaryGids: [],
    workingDirectory: config.workingDirectory,
    environment: config.environment,
    mountPoints: mountPoints(config.volumes),
    ports: ports(config.exposedPorts),
    isolators: [],
    eventHandlers: [],
    userAnnotations: {},
    userLabels: config.labels,
  };
}

/** Without a group it is the user's own in the image's /etc/passwd (config.md, `User`). */
function splitUser(text: string): [user: string, group: string] {
  const colon = text.indexOf(':');
  const user = colon === -1 ? text : text.slice(0, colon);
  return [user === '' ? '0' : user, colon === -1 ? '' : text.slice(colon + 1)];
}

/** Named after their paths; of paths that would give one name, the later ones get a number. */
function mountPoints(volumes: readonly string[]): MountPoint[] {
  const taken = new Set<string>();
  return volumes.map((path) => {
    const word = path
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^-+|-+$/g, '')
      .slice(0, 200);
    const base = word === '' ? 'volume' : `volume-${word}`;
    let name = base;
    for (let number = 2; taken.has(name); number++) name = `${base}-${number}`;
    taken.add(name);
    return { name, path, readOnly: false };
  });
}

/** Each once: `80` and `80/tcp` are the same port. */
function ports(texts: readonly string[]): Port[] {
  const found = texts.map(port).filter((given) => given !== undefined);
  return [...new Map(found.map((given) => [given.name, given])).values()];
}

/** `8080`, `8080/tcp`, `8000-8010/udp`; what is none of these says nothing about ports. */
function port(text: string): Port | undefined {
  const [, first = '', last = first, protocol = 'tcp'] =
    /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/.exec(text) ?? [];
  const [low, high] = [Number(first), Number(last)];
  if (first === '' || low < 1 || high > 65_535 || high < low) return undefined;
  const name = high === low ? `${low}-${protocol}` : `${low}-${high}-${protocol}`;
  return { name, protocol, port: low, count: high - low + 1, socketActivated: false };
}

function readEnvironment(config: Field | undefined): EnvironmentVariable[] {
  const variables = new Map<string, string>();
  for (const item of config?.member('Env').list() ?? []) {
    const text = item.string();
    const equals = text.indexOf('=');
    // What has no "=" sets nothing (docker says of it: taken from the host, which images may not).
    if (equals > 0) variables.set(text.slice(0, equals), text.slice(equals + 1));
  }
  return [...variables].map(([name, value]) => ({ name, value }));
}

function readWorkingDirectory(config: Field | undefined): string {
  const field = config?.member('WorkingDir');
  if (field === undefined || !field.given || field.string() === '') return '/';
  // BuildKit on Windows leaves a relative one; it is meant from the root.
  const text = field.string();
  if (text.split('/').includes('..')) throw field.refuse('must not hold ".."');
  return text.startsWith('/') ? text : `/${text}`;
}

/** The names of a set, which OCI writes as an object of empty objects. */
function keys(config: Field | undefined, name: string): string[] {
  const field = config?.member(name);
  if (field === undefined || !field.given) return [];
  const given = Object.keys(field.object());
  if (given.length > maxNames) throw field.refuse(`holds more than ${maxNames} of them`);
  const found = given.map((key) => (name === 'Volumes' ? volume(field, key) : key));
  return [...new Set(found)].sort();
}

function volume(field: Field, path: string): string {
  const bad = path === '' || path.includes('\0') || path.split('/').includes('..');
  if (bad) throw field.refuse(`${quote(path)} is not a path without ".."`);
  return path.startsWith('/') ? path : `/${path}`;
}

function isTimestamp(text: string | undefined): text is string {
  return text !== undefined && /^\d{4}-\d\d-\d\dT/.test(text) && !Number.isNaN(Date.parse(text));
}
