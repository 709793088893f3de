import { GantryError } from '../error.ts';
import { parseAppName, sanitizeAppName } from '../image/identifier.ts';
import type { App, ImageManifest } from '../image/image-manifest.ts';
import { type Isolator, lastIsolator } from '../image/isolator.ts';
import { quote } from '../image/quotation.ts';
import { CAPABILITY_ISOLATORS, SECCOMP_ISOLATORS } from '../isolation/isolators.ts';
import { RLIMITS } from '../isolation/process-limits.ts';
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
  const base = baseOf(app);
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
 * What the command line is laid over. Appc has no words for what makes an OCI image one, so a section that
 * takes the place of its own leaves it that: the rules, and what signal asks the app to end.
 */
function baseOf({ section, record }: AppRequest): App {
  const own = record.manifest.app;
  if (section === undefined) return own ?? BARE;
  if (own?.entrypoint === undefined) return section;
  const { entrypoint, stopSignal } = own;
  return { ...section, entrypoint, ...(stopSignal === undefined ? {} : { stopSignal }) };
}

/**
 * What is executed. Arguments follow the exec of an appc image, as in rkt; of an OCI image they take the
 * place of its default arguments (image-spec config.md, `Cmd`). A program named by --exec takes the
 * place of all the image says, as it does of docker's `--entrypoint`.
 */
function execOf(base: App, app: AppRequest): string[] {
  const { exec, args, section, record } = app;
  if (exec !== undefined) return [exec, ...args];
  // Without an entrypoint the first of them is the program.
  if (base.entrypoint !== undefined && args.length > 0) return [...base.entrypoint, ...args];
  if (base.exec.length > 0) return [...base.exec, ...args];
  if (section !== undefined) {
    throw new GantryError(
      'usage',
      `image ${record.name}: the app section given for it has no exec`,
    );
  }
  throw new GantryError(
    'usage',
    `image ${record.name} has ${lackOf(record.manifest)} and --exec argument is not provided`,
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

/**
 * From the lowest rank to the highest: inherited, image, every app, app (rkt
 * Documentation/subcommands/run.md, "Influencing Environment Variables").
 */
function environment(base: App, app: AppRequest, pod: PodRequest): App['environment'] {
  // Shells export names of their own making, such as BASH_FUNC_x%%: those are not passed on.
  const inherited = [...(pod.inheritedEnvironment ?? [])].filter(([name]) => isVariableName(name));
  const asked = [...(pod.setEnvironment ?? []), ...(app.environment ?? [])];
  const own = base.environment.map(({ name, value }): [string, string] => [name, value]);
  return [...new Map([...inherited, ...own, ...asked])].map(([name, value]) => ({ name, value }));
}

/** The image's, but for those in whose place the operator's stand. */
function isolators(base: App, { isolators: asked = [] }: AppRequest): Isolator[] {
  return [
    ...base.isolators.filter(({ name }) => !replaces(asked, name)),
    ...asked.map((isolator) =>
      isolator.name === RLIMITS ? withRlimits(base, isolator) : isolator,
    ),
  ];
}

/** Each limit is one of its own: those that were not chosen anew stay as they are. */
function withRlimits({ isolators: own }: App, { name, value }: Isolator): Isolator {
  const before = lastIsolator(own, name)?.value as Record<string, string> | undefined;
  return { name, value: { ...before, ...(value as Record<string, string>) } };
}

function replaces(asked: readonly Isolator[], name: string): boolean {
  const kinds = [CAPABILITY_ISOLATORS, SECCOMP_ISOLATORS].filter((kind) => kind.includes(name));
  return asked.some(
    (isolator) => isolator.name === name || kinds.some((kind) => kind.includes(isolator.name)),
  );
}
