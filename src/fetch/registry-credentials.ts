import { loadAuth, loadRegistryAuth } from '../config/auth.ts';
import { authFiles, findLogin } from '../config/registry-logins.ts';
import { GantryError } from '../error.ts';
import { dockerHub } from '../image/repository.ts';
import type { TransportContext } from './context.ts';
import { askCredentialHelper, type PlainLogin } from './credential-helper.ts';

/** What a registry, or the token server it names, is shown. */
export type RegistryCredentials =
  | PlainLogin
  /** A bearer token of the operator's own, for the registry itself. */
  | { readonly type: 'bearer'; readonly token: string };

/**
 * The credentials for a repository (`host/path`): those of `auth.d` (`dockerAuth`, then `auth`), else
 * what docker or podman keep. Undefined where there are none.
 *
 * @throws GantryError `config`, `unsupported`
 */
export async function findCredentials(
  name: string,
  context: TransportContext,
): Promise<RegistryCredentials | undefined> {
  const host = name.split('/', 1)[0] ?? name;
  const configured = findConfigured(host, context);
  if (configured !== undefined) return configured;
  for (const path of authFiles(context.env)) {
    const login = findLogin(path, name);
    if (login === undefined) continue;
    if (login.type !== 'helper') return login;
    const answered = await askCredentialHelper(login, context.env, context.signal);
    if (answered !== undefined) return answered;
  }
  return undefined;
}

/** Where credentials are looked for, for who has to put some there. */
export function credentialPlaces(host: string, env: NodeJS.ProcessEnv, refused = false): string {
  const files = authFiles(env);
  if (refused) {
    const places = ['auth.d', ...files].join(', ');
    return `the credentials for ${host} were shown, and are not enough: renew those in the first of ${places} that has some`;
  }
  const others = files.length === 0 ? '' : `, then in ${files.join(', ')}`;
  return `looked in auth.d${others}; put a dockerAuth for ${host} into auth.d, or log in with podman or docker`;
}

function findConfigured(
  host: string,
  { directories, report }: TransportContext,
): RegistryCredentials | undefined {
  const registries = loadRegistryAuth(directories);
  const servers = loadAuth(directories);
  for (const warning of new Set([...registries.warnings, ...servers.warnings]))
    report.warn(warning);
  const names =
    host === dockerHub ? ['index.docker.io', dockerHub, 'registry-1.docker.io'] : [host];
  for (const name of names) {
    const found = registries.get(name) ?? servers.get(name);
    if (found === undefined) continue;
    if (found.type === 'oauth') return { type: 'bearer', token: found.token };
    if (found.type === 'basic') {
      return { type: 'password', user: found.user, password: found.password };
    }
    throw new GantryError(
      'unsupported',
      `${name}: AWS credentials are not supported for registries: use the credential helper ecr-login, or a dockerAuth in auth.d`,
    );
  }
  return undefined;
}
