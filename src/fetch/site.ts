import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TlsFiles } from '../config/registries.ts';
import { errnoOf, GantryError, reasonOf } from '../error.ts';

/** What holds for one host, beyond what holds for all. */
export interface Site {
  /** Plain HTTP may be spoken to it. */
  readonly http: boolean;
  readonly tls?: SiteTls | undefined;
}

/** How one host is known, and how it knows us; everything PEM. */
export interface SiteTls {
  /** Tells two of them apart: connections are shared between requests that have the same. */
  readonly key: string;
  readonly authorities: readonly string[];
  /** Nobody but these authorities is believed; otherwise they add to the ones for every host. */
  readonly exclusive: boolean;
  readonly certificate?: string;
  readonly privateKey?: string;
}

/** Where docker and podman have it, the user's own first (containers-certs.d.5). */
function certificateFolders(env: NodeJS.ProcessEnv): string[] {
  const home = env['HOME'] ? [join(env['HOME'], '.config/containers/certs.d')] : [];
  return [...home, '/etc/containers/certs.d', '/etc/docker/certs.d'];
}

/**
 * The TLS settings of a host: what `registries.d` says, else what lies for it in the folders docker and
 * podman read (`HOST:PORT/*.crt`, `*.cert` with `*.key`); undefined where neither says anything.
 *
 * @throws GantryError `config` for a file that cannot be read
 */
export function siteTls(
  host: string,
  files: TlsFiles | undefined,
  env: NodeJS.ProcessEnv,
): SiteTls | undefined {
  if (files !== undefined) return fromFiles(files);
  for (const folder of certificateFolders(env)) {
    const found = fromFolder(join(folder, host));
    if (found !== undefined) return found;
  }
  return undefined;
}

function fromFiles({ ca, certificate, key }: TlsFiles): SiteTls {
  return {
    key: JSON.stringify([ca, certificate, key]),
    authorities: ca === undefined ? [] : [readPem(ca)],
    exclusive: ca !== undefined,
    ...(certificate === undefined || key === undefined
      ? {}
      : { certificate: readPem(certificate), privateKey: readPem(key) }),
  };
}

function fromFolder(folder: string): SiteTls | undefined {
  const names = namesIn(folder);
  const authorities = names.filter((name) => name.endsWith('.crt')).sort();
  const certificate = names.filter((name) => name.endsWith('.cert')).sort()[0];
  if (authorities.length === 0 && certificate === undefined) return undefined;
  const key = certificate?.replace(/\.cert$/, '.key');
  return {
    key: folder,
    authorities: authorities.map((name) => readPem(join(folder, name))),
    exclusive: false,
    ...(certificate === undefined || key === undefined
      ? {}
      : {
          certificate: readPem(join(folder, certificate)),
          privateKey: readPem(join(folder, key)),
        }),
  };
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (cause) {
    const errno = errnoOf(cause);
    if (errno === 'ENOENT' || errno === 'ENOTDIR' || errno === 'EACCES') return [];
    throw unreadable(folder, cause);
  }
}

function readPem(path: string): string {
  try {
    const text = readFileSync(path, 'utf8');
    if (text.includes('-----BEGIN ')) return text;
  } catch (cause) {
    throw unreadable(path, cause);
  }
  throw new GantryError('config', `${path} holds nothing in PEM`);
}

function unreadable(path: string, cause: unknown): GantryError {
  return new GantryError('config', `${path}: cannot be read: ${reasonOf(cause)}`, { cause });
}
