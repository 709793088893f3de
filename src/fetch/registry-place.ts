import type { RegistryRules } from '../config/registries.ts';
import { dockerHub, type Repository, repositoryName } from '../image/repository.ts';
import type { TransportContext } from './context.ts';
import { isLoopback } from './proxy.ts';
import { type Site, type SiteTls, siteTls } from './site.ts';

/** One server's copy of a repository: the registry itself, or a mirror. */
export interface RegistryPlace {
  /** For messages: `docker://host/path`. */
  readonly shown: string;
  /** As credentials are kept under; Docker Hub's is `docker.io`. */
  readonly host: string;
  readonly path: string;
  /** `registries.d` has it that plain HTTP is good enough for this very host. */
  readonly http: boolean;
}

/** Docker Hub's name is not its registry's. */
const hubRegistry = 'registry-1.docker.io';

/**
 * Where a repository's content is to be had: its mirrors in their order, then the registry itself. A
 * name's part behind the rule's prefix is kept.
 */
export function placesOf(
  repository: Repository,
  rules: RegistryRules,
): { own: RegistryPlace; mirrors: RegistryPlace[] } {
  const name = repositoryName(repository);
  const moved = rules.find(name, 'location');
  const own = moved === undefined ? repository : placed(name, moved.prefix, moved.value);
  const mirrors = rules.find(name, 'mirrors');
  return {
    own: place(own, rules),
    mirrors: (mirrors?.value ?? []).map((mirror) => {
      const found = place(placed(name, mirrors?.prefix ?? '', mirror), rules);
      return { ...found, http: found.http || mirror.http };
    }),
  };
}

function placed(name: string, prefix: string, { host, path }: Repository): Repository {
  const rest = name.slice(prefix.length).replace(/^\//, '');
  return { host, path: [path, rest].filter((part) => part !== '').join('/') };
}

function place(repository: Repository, rules: RegistryRules): RegistryPlace {
  const name = repositoryName(repository);
  const http = rules.find(name, 'http')?.value === true;
  return { ...repository, shown: `docker://${name}`, http };
}

/** The host that answers for a place, as a URL has it. */
export function serverOf({ host }: RegistryPlace): string {
  return host === dockerHub ? hubRegistry : host;
}

/** Whether secrets may be shown to a place over plain HTTP. */
export function mayShowSecrets({ http, host }: RegistryPlace): boolean {
  return http || isLoopback(new URL(`http://${host}`).hostname);
}

/**
 * Whether a URL is on the place's own host. This machine has several names; but a registry elsewhere
 * must not send us to what listens here.
 */
export function isNear(place: RegistryPlace, { hostname }: URL): boolean {
  const own = new URL(`https://${serverOf(place)}`).hostname;
  return hostname === own || (isLoopback(own) && isLoopback(hostname));
}

/**
 * What holds for every host met while speaking to one place. Plain HTTP is for the place itself, where
 * that is allowed, and for its token server on the same host.
 */
export function sitesOf(
  place: RegistryPlace,
  rules: RegistryRules,
  context: TransportContext,
): (url: URL) => Site {
  const own = new URL(`https://${serverOf(place)}`);
  const known = new Map<string, SiteTls | undefined>();
  const tlsOf = (host: string) => {
    const name = host === own.host ? `${place.host}/${place.path}` : host;
    return siteTls(host, rules.find(name, 'tls')?.value, context.env);
  };
  return (url) => {
    if (!known.has(url.host)) known.set(url.host, tlsOf(url.host));
    return { http: place.http && isNear(place, url), tls: known.get(url.host) };
  };
}
