import { GantryError } from '../error.ts';
import type { AppSpec } from '../image/app-spec.ts';
import { allCapabilities, keptCapabilities } from '../isolation/capabilities.ts';
import { readIsolators } from '../isolation/isolators.ts';
import type { LayerTree } from '../isolation/layer-tree.ts';
import { resolveUser } from '../isolation/users.ts';
import { appEnvironment } from './environment.ts';
import { findProgram } from './program.ts';
import { type AppSettings, NAME_FILES, type Rootfs, type VolumeMount } from './settings.ts';
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
  /** `--volume`. */
  readonly volumes?: GivenVolumes;
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
  refuseEventHandlers(spec, where);
  requireMountable(tree, where);
  const isolators = readIsolators(spec.isolators);
  const capabilities = choices.allCapabilities
    ? allCapabilities()
    : keptCapabilities(isolators.capabilities, where, choices.privileged);
  const credentials = resolveUser(spec, tree, where);
  const environment = appEnvironment(spec, credentials);
  const mounts = volumeMounts(spec, tree, where, choices.volumes);
  const path = environment.find(([name]) => name === 'PATH')?.[1] ?? '';
  const program = spec.exec[0] ?? '';
  return {
    settings: {
      name: spec.name,
      rootfs,
      readOnlyRootfs: spec.readOnlyRootfs,
      exec: [findProgram(program, path, spec.workingDirectory, tree, where), ...spec.exec],
      credentials,
      capabilities,
      noNewPrivileges: isolators.noNewPrivileges,
      // CAP_SYS_ADMIN is all that a user namespace would add.
      userNamespaces:
        choices.allSystemCalls ||
        choices.privileged === true ||
        capabilities.includes('CAP_SYS_ADMIN'),
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
      ...isolators.ignored.map((name) => `${where}: isolator ${name} is not enforced`),
      ...hidden(spec, mounts, tree, choices.volumes).map(
        ({ volume, path }) => `${where}: volume ${volume} hides what the image has at ${path}`,
      ),
    ],
  };
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

function refuseEventHandlers(spec: AppSpec, where: string): void {
  const [handler] = spec.eventHandlers;
  if (handler === undefined) return;
  throw new GantryError(
    'unsupported',
    `${where}: its ${handler.name} event handler cannot be run by this version: use an image without event handlers`,
  );
}

/**
 * The volumes that hide something nobody asked them to. Those of an OCI image begin with what the image
 * has there.
 */
function hidden(
  { format }: AppSpec,
  mounts: readonly VolumeMount[],
  tree: LayerTree,
  given: GivenVolumes = new Map(),
): readonly VolumeMount[] {
  if (format === 'oci') return [];
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
  throw new GantryError(
    'launch',
    `${where}: the image has no directory ${workingDirectory} to work in: choose one with --working-dir`,
  );
}
