import { type Credentials, loadAuth, loadRegistryAuth } from './auth.ts';
import type { Directories } from './directories.ts';
import { loadKvm } from './kvm.ts';
import { loadLimits } from './limits.ts';
import { loadPaths } from './paths.ts';
import { loadRegistries, type RegistryRule } from './registries.ts';
import { loadStage1, type Stage1Settings } from './stage1.ts';

/** One configuration entry, as a file would hold it. */
export interface ConfigEntry {
  rktVersion: 'v1';
  rktKind: string;
  [field: string]: unknown;
}

/** What `gantry config` prints as JSON. */
export interface ConfigDescription {
  stage0: ConfigEntry[];
}

/**
 * The configuration in force, in the shape `rkt config` prints: one `auth` or `dockerAuth` entry for
 * each host, then `paths` (empty strings where nothing is set) and `stage1`, then Gantry's `limits`, `kvm` and
 * one `registries` entry for each prefix.
 * It holds the credentials, as rkt's does: it is for whoever can read the files anyway.
 */
export function describeConfig(
  directories: Directories,
  defaultStage1: Required<Pick<Stage1Settings, 'name' | 'version'>>,
): ConfigDescription {
  const paths = loadPaths(directories);
  const configured = loadStage1(directories);
  const stage1 =
    Object.keys(configured).length === 0 ? { ...defaultStage1, location: '' } : configured;
  return {
    stage0: [
      ...describeAuth(directories),
      ...describeRegistryAuth(directories),
      entry('paths', { data: paths.data ?? '', 'stage1-images': paths.stage1Images ?? '' }),
      entry('stage1', {
        name: stage1.name ?? '',
        version: stage1.version ?? '',
        location: stage1.location ?? '',
      }),
      entry('limits', { ...loadLimits(directories) }),
      entry('kvm', { ...loadKvm(directories) }),
      ...loadRegistries(directories).all.map(describeRegistry),
    ],
  };
}

function entry(kind: string, fields: Record<string, unknown>): ConfigEntry {
  return { rktVersion: 'v1', rktKind: kind, ...fields };
}

function describeAuth(directories: Directories): ConfigEntry[] {
  return byHost(loadAuth(directories)).map(([host, credentials]) =>
    entry('auth', {
      domains: [host],
      type: credentials.type,
      credentials: describeCredentials(credentials),
    }),
  );
}

function describeRegistryAuth(directories: Directories): ConfigEntry[] {
  return byHost(loadRegistryAuth(directories)).map(([host, credentials]) =>
    entry('dockerAuth', { registries: [host], credentials: describeCredentials(credentials) }),
  );
}

function describeRegistry({ location, mirrors, lookaside, ...rule }: RegistryRule): ConfigEntry {
  return entry('registries', {
    ...rule,
    ...(location === undefined ? {} : { location: placeText(location) }),
    ...(mirrors === undefined
      ? {}
      : { mirrors: mirrors.map((mirror) => ({ location: placeText(mirror), http: mirror.http })) }),
    ...(lookaside === undefined ? {} : { lookaside: lookaside.href }),
  });
}

function placeText({ host, path }: { host: string; path: string }): string {
  return path === '' ? host : `${host}/${path}`;
}

/** By host name, so that two runs print the same. */
function byHost<C>(credentials: ReadonlyMap<string, C>): [string, C][] {
  return [...credentials].sort(([a], [b]) => (a < b ? -1 : 1));
}

function describeCredentials(credentials: Credentials): Record<string, string> {
  switch (credentials.type) {
    case 'basic':
      return { user: credentials.user, password: credentials.password };
    case 'oauth':
      return { token: credentials.token };
    case 'aws':
      return {
        accessKeyID: credentials.accessKeyId,
        secretAccessKey: credentials.secretAccessKey,
        awsRegion: credentials.region ?? '',
      };
  }
}
