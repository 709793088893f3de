import { GantryError } from '../error.ts';
import { parseAppName, sanitizeAppName } from '../image/identifier.ts';
import type { App, ImageManifest } from '../image/image-manifest.ts';
import type { Isolator } from '../image/isolator.ts';
import { quote } from '../image/quotation.ts';
import { CAPABILITY_ISOLATORS, removeIsolator, retainIsolator } from '../isolation/isolators.ts';
import type { AppRequest, PodRequest } from './request.ts';

/** What an image without an app section starts from, when --exec says what to run. */
const BARE: App = {
  exec: [],
  user: '0',
  group: '0',
  supplementaryGids: [],
  workingDirectory: '/',
  environment: [],
  mountPoints: [],
  ports: [],
  isolators: [],
  eventHandlers: [],
  userAnnotations: {},
  userLabels: {},
};

/** The launcher's, which puts it before every line of output (specs/launch-plan.md, Sections). */
const MAX_NAME_LENGTH = 128;

/**
 * The name of each app, in order: the one asked for, or one made from the image's name.
 * @throws GantryError `usage` when two apps would have one name, `invalid-reference` for a bad one
 */
export function appNames(apps: readonly AppRequest[]): string[] {
  const names = apps.map(({ name, record }) =>
    name === undefined ? sanitizeAppName(record.name) : parseAppName(name, '--name'),
  );
  const long = names.find((name) => name.length > MAX_NAME_LENGTH);
  if (long !== undefined) {
    throw new GantryError(
      'invalid-reference',
      `app name ${quote(long)} has ${long.length} characters, and an app of a pod at most ${MAX_NAME_LENGTH}: give it a shorter one with --name`,
    );
  }
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice === undefined) return names;
  throw new GantryError(
    'usage',
    `apps[${names.lastIndexOf(twice)}].name: multiple apps with name ${twice}: give each its own with --name`,
  );
}

/**
 * The app section an app runs with: the image's own, with what the command line says over it.
 * @throws GantryError `usage` when there is nothing to run, or options exclude each other
 */
export function appSection(app: AppRequest, pod: PodRequest): App {
  const base = app.record.manifest.app ?? BARE;
  const exec = execOf(base, app);
  const { workingDirectory = base.workingDirectory } = app;
  if (!workingDirectory.startsWith('/')) {
    throw new GantryError('usage', `--working-dir: ${quote(workingDirectory)} is no absolute path`);
  }
  return {
    ...base,
    exec,
    user: app.user ?? base.user,
    group: app.group ?? groupOf(base, app),
    supplementaryGids: [...(app.supplementaryGids ?? base.supplementaryGids)],
    workingDirectory,
    environment: environment(base, app, pod),
    isolators: isolators(base, app),
    userAnnotations: { ...(app.userAnnotations ?? base.userAnnotations) },
    userLabels: { ...(app.userLabels ?? base.userLabels) },
  };
}

/**
 * What is executed. Arguments follow the exec of an appc image, as in rkt; of an OCI image they take the
 * place of its default arguments (image-spec config.md, `Cmd`). A program named by --exec takes the
 * place of all the image says, as it does of docker's `--entrypoint`.
 */
function execOf(base: App, app: AppRequest): string[] {
  const { exec, args } = app;
  if (exec !== undefined) return [exec, ...args];
  // Without an entrypoint the first of them is the program.
  if (base.entrypoint !== undefined && args.length > 0) return [...base.entrypoint, ...args];
  if (base.exec.length > 0) return [...base.exec, ...args];
  throw new GantryError(
    'usage',
    `image ${app.record.name} has ${lackOf(app.record.manifest)} and --exec argument is not provided`,
  );
}

/** Why an image does not say what to execute. */
function lackOf({ app }: ImageManifest): string {
  if (app === undefined) return 'no app section';
  return app.entrypoint === undefined ? 'no exec in its app section' : 'neither entrypoint nor cmd';
}

/** In an OCI image user and group are one setting, so another user comes with that one's own group. */
function groupOf(base: App, app: AppRequest): string {
  return base.entrypoint !== undefined && app.user !== undefined ? '' : base.group;
}

/** appc spec/aci.md, `environment`. */
export function isVariableName(name: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_.-]*$/.test(name);
}

/** From the lowest rank to the highest, as rkt has it: inherited, image, app, every app. */
function environment(base: App, app: AppRequest, pod: PodRequest): App['environment'] {
  // Shells export names of their own making, such as BASH_FUNC_x%%: those are not passed on.
  const inherited = [...(pod.inheritedEnvironment ?? [])].filter(([name]) => isVariableName(name));
  const asked = [...(app.environment ?? []), ...(pod.setEnvironment ?? [])];
  const bad = asked.find(([name]) => !isVariableName(name));
  if (bad !== undefined) {
    throw new GantryError(
      'usage',
      `environment variable ${quote(bad[0])}: a name has letters, digits, "_", "." and "-", no digit first`,
    );
  }
  const own = base.environment.map(({ name, value }): [string, string] => [name, value]);
  return [...new Map([...inherited, ...own, ...asked])].map(([name, value]) => ({ name, value }));
}

function isolators(base: App, app: AppRequest): Isolator[] {
  if (app.capsRetain !== undefined && app.capsRemove !== undefined) {
    throw new GantryError(
      'usage',
      `image ${app.record.name}: cannot use both --caps-retain and --caps-remove on the same image`,
    );
  }
  if (app.capsRetain === undefined && app.capsRemove === undefined) return base.isolators;
  const chosen =
    app.capsRetain === undefined
      ? removeIsolator(app.capsRemove ?? [])
      : retainIsolator(app.capsRetain);
  return [...base.isolators.filter(({ name }) => !CAPABILITY_ISOLATORS.includes(name)), chosen];
}
