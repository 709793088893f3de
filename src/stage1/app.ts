import { GantryError } from '../error.ts';
import type { AppSpec } from '../image/app-spec.ts';
import {
  allCapabilities,
  type CapabilityChoice,
  keptCapabilities,
} from '../isolation/capabilities.ts';
import { readIsolators } from '../isolation/isolators.ts';
import type { LayerTree } from '../isolation/layer-tree.ts';
import {
  type ProcessChoice,
  type ProcessHost,
  type SettledProcess,
  settleProcess,
} from '../isolation/process-limits.ts';
import type { UserRange } from '../isolation/user-map.ts';
import { type Credentials, resolveUser } from '../isolation/users.ts';
import { appEnvironment } from './environment.ts';
import { findProgram } from './program.ts';
import {
  type AppSettings,
  type CallFilterSettings,
  NAME_FILES,
  type Rootfs,
  type VolumeMount,
} from './settings.ts';
import { stopSignalNumber } from './stop-signal.ts';
import { type GivenVolumes, lies, volumeMounts } from './volume-mounts.ts';

/** What the operator decided for all apps of a pod. */
export interface AppChoices {
  /** `--insecure-options=capabilities`. */
  readonly allCapabilities: boolean;
  /** `--insecure-options=seccomp`. */
  readonly allSystemCalls: boolean;
  /** The flavour is for agents of the host: what neither image nor operator takes away is kept. */
  readonly privileged?: boolean;
  /** The app's system call filter, already compiled. */
  readonly filter?: ChosenFilter;
  /** `--volume`. */
  readonly volumes?: GivenVolumes;
  /** Known where a process's limits or labels are asked for. */
  readonly host?: ProcessHost;
  /** Names of the isolators that the operator chose, not the image. */
  readonly asked?: ReadonlySet<string>;
  /** Those of the pod; undefined: the host's own. */
  readonly users?: UserRange | undefined;
}

/** An app's system call filter. */
export interface ChosenFilter extends CallFilterSettings {
  /** By the image or the operator; otherwise it is the default. */
  readonly named: boolean;
}

/** An app as it will run, and what the operator should hear about it. */
export interface SettledApp {
  readonly settings: AppSettings;
  readonly warnings: readonly string[];
}

/** Mounted over by every pod: the image need not have what lies there, but it must be no link. */
const MOUNTED = ['/dev', '/proc', '/sys'];

/**
 * Decides everything about one app: who it runs as, what it may do, what it finds. Only the image's
 * tree is looked at, nothing is changed.
 * @throws GantryError for whatever the image or the host cannot give, naming the app
 */
export function settleApp(
  spec: AppSpec,
  tree: LayerTree,
  rootfs: Rootfs,
  choices: AppChoices,
): SettledApp {
  const where = `app ${JSON.stringify(spec.name)}`;
  requireMountable(tree, where);
  const isolators = readIsolators(spec.isolators);
  const capabilities = appCapabilities(isolators.capabilities, where, choices);
  const credentials = resolveUser(spec, tree, where);
  if (choices.users !== undefined) requireMapped(credentials, choices.users, where);
  const environment = appEnvironment(spec, credentials);
  const mounts = volumeMounts(spec, tree, where, choices.volumes);
  const path = environment.find(([name]) => name === 'PATH')?.[1] ?? '';
  const find = (program: string) => findProgram(program, path, spec.workingDirectory, tree, where);
  const process = settledProcess(isolators.process, choices, where);
  return {
    settings: {
      name: spec.name,
      rootfs,
      readOnlyRootfs: spec.readOnlyRootfs,
      exec: [find(spec.exec[0] ?? ''), ...spec.exec],
      ...settleHandlers(spec, find),
      credentials,
      capabilities,
      ...(isolators.limits === undefined ? {} : { limits: isolators.limits }),
      ...(Object.keys(process.settings).length === 0 ? {} : { process: process.settings }),
      // A set-user-ID program that is refused what it counts on could be made to do harm: as in rkt.
      noNewPrivileges:
        isolators.noNewPrivileges || (choices.filter?.named === true && credentials.uid !== 0),
      ...filterOf(choices),
      // CAP_SYS_ADMIN is all that a user namespace would add. Where an insecure option gave it, that
      // option opens nothing else.
      userNamespaces:
        choices.allSystemCalls ||
        choices.privileged === true ||
        (!choices.allCapabilities && capabilities.includes('CAP_SYS_ADMIN')),
      environment,
      workingDirectory: spec.workingDirectory,
      ...(lacksWorkingDirectory(spec, mounts, tree, where) ? { makesWorkingDirectory: true } : {}),
      ...(spec.stopSignal === undefined
        ? {}
        : { stopSignal: stopSignalNumber(spec.stopSignal, where) }),
      mounts,
      missing: NAME_FILES.filter((file) => tree.lstat(`/etc/${file}`) === undefined),
    },
    warnings: [
      ...process.warnings,
      ...isolators.ignored.map((name) => `${where}: isolator ${name} is not enforced`),
      ...hidden(spec, mounts, tree, choices.volumes).map(
        ({ volume, path }) => `${where}: volume ${volume} hides what the image has at ${path}`,
      ),
    ],
  };
}

/**
 * The capabilities an app keeps.
 * @throws GantryError `unsupported`
 */
function appCapabilities(
  choice: CapabilityChoice,
  where: string,
  { allCapabilities: all, privileged }: Pick<AppChoices, 'allCapabilities' | 'privileged'>,
): string[] {
  return all ? allCapabilities() : keptCapabilities(choice, where, privileged);
}

function filterOf({ filter }: AppChoices): Pick<AppSettings, 'systemCalls'> {
  if (filter === undefined) return {};
  const { does, program } = filter;
  return { systemCalls: { does, ...(program === undefined ? {} : { program }) } };
}

/**
 * A symbolic link of the image at /proc can lead elsewhere once something is mounted where it led: what
 * is masked there afterwards by that name would be nothing, and /proc open by another name.
 */
function requireMountable(tree: LayerTree, where: string): void {
  const other = MOUNTED.find((path) => tree.lstat(path)?.isDirectory() === false);
  if (other === undefined) return;
  throw new GantryError(
    'launch',
    `${where}: the image has no directory at ${other}, but something else: pack it anew without`,
  );
}

/** What nobody asks for is decided without a look at the host. */
function settledProcess(
  choice: ProcessChoice,
  { host, asked = new Set() }: AppChoices,
  where: string,
): SettledProcess {
  if (Object.keys(choice).length === 0) return { settings: {}, warnings: [] };
  if (host === undefined) throw new GantryError('internal', `${where}: the host was not looked at`);
  return settleProcess(choice, host, asked, where);
}

/** There is no user beyond those the pod has. */
function requireMapped({ uid, gid, gids }: Credentials, { count }: UserRange, where: string): void {
  const strange = [uid, gid, ...gids].find((id) => id >= count);
  if (strange === undefined) return;
  throw new GantryError(
    'launch',
    `${where}: its user or group ${strange} is none of the ${count} that a pod of --private-users has: choose others with --user, --group and --supplementary-gids`,
  );
}

/** They are found as the app's own program is. */
function settleHandlers(
  { eventHandlers }: AppSpec,
  find: (program: string) => string,
): Pick<AppSettings, 'handlers'> {
  if (eventHandlers.length === 0) return {};
  const handler = (name: 'pre-start' | 'post-stop') => {
    const [{ exec } = { exec: undefined }] = eventHandlers.filter((given) => given.name === name);
    return exec === undefined ? undefined : [find(exec[0] ?? ''), ...exec];
  };
  const preStart = handler('pre-start');
  const postStop = handler('post-stop');
  return {
    handlers: {
      ...(preStart === undefined ? {} : { preStart }),
      ...(postStop === undefined ? {} : { postStop }),
    },
  };
}

/** The volumes that hide something nobody asked them to, rather than begin with it. */
function hidden(
  { fillsVolumes }: AppSpec,
  mounts: readonly VolumeMount[],
  tree: LayerTree,
  given: GivenVolumes = new Map(),
): readonly VolumeMount[] {
  if (fillsVolumes) return [];
  return mounts.filter(({ volume, path }) => !given.has(volume) && tree.entries(path).length > 0);
}

/**
 * Whether the working directory has to be made. The image must have it in appc, whose spec has the app
 * fail otherwise (spec/aci.md); of OCI images docker and podman make it.
 */
function lacksWorkingDirectory(
  { format, workingDirectory }: AppSpec,
  mounts: readonly VolumeMount[],
  tree: LayerTree,
  where: string,
): boolean {
  if (MOUNTED.some((path) => lies(workingDirectory, path))) return false;
  // What a fresh volume holds is not the image's to say; making what is there does nothing.
  if (mounts.some(({ path }) => lies(workingDirectory, path))) return format === 'oci';
  if (tree.stat(workingDirectory)?.isDirectory()) return false;
  if (format === 'oci' && tree.lstat(workingDirectory) === undefined) return true;
  const what =
    tree.stat(workingDirectory) === undefined
      ? `the image has no directory ${workingDirectory} to work in`
      : `${workingDirectory} of the image is no directory to work in`;
  throw new GantryError('launch', `${where}: ${what}: choose one with --working-dir`);
}
