import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, GantryError, reasonOf } from '../error.ts';
import { type Field, parseDocument } from '../image/document.ts';
import { dockerHub } from '../image/repository.ts';

/** What somebody logged in to a registry with. */
export type RegistryLogin =
  | { readonly type: 'password'; readonly user: string; readonly password: string }
  /** An OAuth2 refresh token, good at the registry's token server alone. */
  | { readonly type: 'identity-token'; readonly token: string }
  /** Ask the program `docker-credential-NAME` for `server`. */
  | { readonly type: 'helper'; readonly name: string; readonly server: string };

/** What an auth file, docker's or podman's, has for a repository, and which file it was. */
export interface FoundLogin {
  readonly path: string;
  readonly login: RegistryLogin;
}

const helperName = /^[a-z0-9._-]+$/;
const maxBytes = 1024 * 1024;

/** What the registry that answers for Docker Hub is called by `docker login`. */
const hubServer = 'https://index.docker.io/v1/';

/**
 * The auth files of docker and podman, in the order they are asked (containers-auth.json.5): podman's
 * for this environment, for this login, for this user; docker's.
 */
export function authFiles(env: NodeJS.ProcessEnv): string[] {
  const runtime = env['XDG_RUNTIME_DIR'];
  const home = env['HOME'];
  const docker = env['DOCKER_CONFIG'] || (home ? join(home, '.docker') : '');
  return [
    env['REGISTRY_AUTH_FILE'] ?? '',
    runtime ? join(runtime, 'containers/auth.json') : '',
    home ? join(home, '.config/containers/auth.json') : '',
    docker ? join(docker, 'config.json') : '',
  ].filter((path) => path !== '');
}

/**
 * What one auth file has for a repository (`host/path`), the longest key first: an entry of its own, a
 * helper for its host, the helper for everything. Undefined where it has nothing, or is not there.
 *
 * @throws GantryError `config`; the message never holds a secret
 */
export function findLogin(path: string, name: string): RegistryLogin | undefined {
  const bytes = readOptional(path);
  if (bytes === undefined) return undefined;
  const root = parseDocument(bytes, { what: path, code: 'config', confidential: true, maxBytes });
  const host = name.split('/', 1)[0] ?? name;
  const helpers = root.member('credHelpers').stringMap();
  const helper = hostKeys(host).find((key) => helpers[key]);
  if (helper !== undefined) {
    return {
      type: 'helper',
      name: checkedHelper(root, helpers[helper] ?? ''),
      server: serverOf(host),
    };
  }
  const own = findEntry(root.member('auths'), name);
  if (own !== undefined) return own;
  const store = root.member('credsStore').optional((field) => field.string());
  return store
    ? { type: 'helper', name: checkedHelper(root, store), server: serverOf(host) }
    : undefined;
}

/** What a credential helper calls a registry. */
function serverOf(host: string): string {
  return host === dockerHub ? hubServer : host;
}

/** The names one host goes by. */
function hostKeys(host: string): string[] {
  return host === dockerHub ? [dockerHub, 'index.docker.io', 'registry-1.docker.io'] : [host];
}

/** docker writes an empty entry where it keeps the secret in its credential store. */
function findEntry(auths: Field, name: string): RegistryLogin | undefined {
  if (!auths.given) return undefined;
  const entries = Object.keys(auths.object()).map((key) => ({ key, place: placeOf(key) }));
  for (const wanted of prefixesOf(name)) {
    for (const { key } of entries.filter(({ place }) => place === wanted)) {
      const login = readEntry(auths.member(key));
      if (login !== undefined) return login;
    }
  }
  return undefined;
}

/** `host/team/app`, `host/team`, `host`; a host by each of its names. */
function prefixesOf(name: string): string[] {
  const [host = '', ...rest] = name.split('/');
  const paths = rest.map((_, index) => rest.slice(0, rest.length - index).join('/'));
  return hostKeys(host).flatMap((key) => [...paths.map((path) => `${key}/${path}`), key]);
}

/** What a key means: docker's old ones are URLs, whose path says only which API it was. */
function placeOf(key: string): string {
  const [, host = '', path = ''] = /^https?:\/\/([^/]+)\/?(.*)$/.exec(key) ?? [];
  if (host === '') return key;
  return /^(v[12]\/?)?$/.test(path) ? host : `${host}/${path}`;
}

function readEntry(entry: Field): RegistryLogin | undefined {
  const text = (name: string) =>
    entry.member(name).optional((field) => field.string()) || undefined;
  const token = text('identitytoken');
  if (token !== undefined) return { type: 'identity-token', token };
  const encoded = text('auth');
  if (encoded === undefined) {
    const [user, password] = [text('username'), text('password')];
    return user && password ? { type: 'password', user, password } : undefined;
  }
  const decoded = Buffer.from(encoded, 'base64').toString('utf8').replace(/\0+$/, '');
  const colon = decoded.indexOf(':');
  if (colon < 1) throw entry.member('auth').refuse('is not the base64 of user:password');
  return { type: 'password', user: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
}

/** The name becomes part of a program's. */
function checkedHelper(root: Field, name: string): string {
  if (helperName.test(name)) return name;
  throw root.member('credHelpers').refuse('names a credential helper that cannot be a program');
}

function readOptional(path: string): Uint8Array | undefined {
  try {
    return readFileSync(path);
  } catch (cause) {
    const errno = errnoOf(cause);
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return undefined;
    throw new GantryError('config', `${path}: cannot be read: ${reasonOf(cause)}`, { cause });
  }
}
