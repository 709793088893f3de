import type { AppSpec } from '../image/app-spec.ts';
import type { Credentials } from '../isolation/users.ts';

/** appc spec/ace.md, Execution Environment. */
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * An app's whole environment: what every app has (appc spec/ace.md, Execution Environment), over it
 * what the manifest and the operator set, over that what names the app and its executor, which is
 * not the image's to say.
 * @param terminal TERM for an app on a terminal that does not set it itself
 */
export function appEnvironment(
  spec: AppSpec,
  credentials: Credentials,
  terminal: string | undefined,
): [name: string, value: string][] {
  const environment = new Map([
    ['PATH', DEFAULT_PATH],
    ['HOME', credentials.home],
    ['LOGNAME', credentials.name],
    ['SHELL', credentials.shell],
    ['USER', credentials.name],
    ...(terminal === undefined ? [] : [['TERM', terminal] as const]),
    ...spec.environment,
    ['AC_APP_NAME', spec.name],
    ['container', 'gantry'],
  ]);
  return [...environment];
}
