import type { AppSpec } from '../image/app-spec.ts';
import type { Credentials } from '../isolation/users.ts';

/** appc spec/ace.md, Execution Environment. */
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** One variable of an environment. */
export type Variable = readonly [name: string, value: string];

/**
 * An app's whole environment: what every app has (appc spec/ace.md, Execution Environment), over it
 * what the manifest and the operator set, over that what names the app and its executor, which is
 * not the image's to say.
 */
export function appEnvironment(spec: AppSpec, credentials: Credentials): Variable[] {
  const environment = new Map([
    ['PATH', DEFAULT_PATH],
    ['HOME', credentials.home],
    ['LOGNAME', credentials.name],
    ['SHELL', credentials.shell],
    ['USER', credentials.name],
    ...spec.environment,
    ['AC_APP_NAME', spec.name],
    ['container', 'gantry'],
  ]);
  return [...environment];
}

/** The environment of an app on a terminal: what kind it is, unless the app says so itself. */
export function withTerminal(environment: readonly Variable[], kind = 'xterm'): Variable[] {
  if (environment.some(([name]) => name === 'TERM')) return [...environment];
  return [...environment, ['TERM', kind]];
}
