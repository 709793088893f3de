import { GantryError } from '../error.ts';
import { appSpecOf } from '../image/app-spec.ts';
import { displayName } from '../image/image-record.ts';
import { LayerTree } from '../isolation/layer-tree.ts';
import { isLabel } from '../isolation/process-limits.ts';
import { type AppChoices, settleApp } from '../stage1/app.ts';
import { withTerminal } from '../stage1/environment.ts';
import { type ProgramPlace, requireProgram } from '../stage1/program-file.ts';
import type { AppSettings, Rootfs } from '../stage1/settings.ts';
import { appNames, appSection } from './app-section.ts';
import type { NamedApp } from './manifest.ts';
import { requirePlatform } from './platform.ts';
import type { RecordedApp } from './record.ts';
import type { AppRequest, PodRequest, PrepareContext } from './request.ts';
import { appMounts, withAppVolumes, withOwnVolumes } from './volumes.ts';

/** An app with the directories its root file system comes from. */
export interface LayeredApp extends NamedApp {
  /** Absolute, top first. */
  readonly layers: readonly string[];
}

/**
 * What can be refused without a look at any file; the request comes back with every volume the pod's.
 * @param taken names of volumes that the pod has already
 */
export function nameApps(
  asked: PodRequest,
  taken: readonly string[] = [],
): { request: PodRequest; apps: NamedApp[] } {
  if (asked.apps.length === 0 && asked.mutable !== true) {
    throw new GantryError('usage', 'pod must contain at least one application');
  }
  if (asked.interactive && asked.apps.length > 1) {
    throw new GantryError('usage', 'interactive option only supports one image');
  }
  if (asked.ipc === 'parent' && asked.privateUsers === true) {
    throw new GantryError(
      'usage',
      '--ipc=parent: with --private-users nobody in the pod may use it',
    );
  }
  const names = appNames(asked.apps);
  const request = withAppVolumes(asked, names, taken);
  const apps = request.apps.map((app, index): NamedApp => {
    requirePlatform(app.record.manifest);
    const name = names[index] ?? '';
    requireStreams(name, app, request);
    const section = withOwnVolumes(name, appSection(app, request), request);
    return { name, request: app, section, mounts: appMounts(name, section, app, request) };
  });
  return { request, apps };
}

/** A terminal is all three of them. */
function requireStreams(name: string, { silent = [] }: AppRequest, { interactive }: PodRequest) {
  if (!interactive || silent.length === 0) return;
  throw new GantryError(
    'usage',
    `app ${JSON.stringify(name)}: --interactive gives it the terminal, and --stdin, --stdout or --stderr nothing: leave one out`,
  );
}

/** Decides everything about an app; the operator hears what of it they might not expect. */
export function settleLayeredApp(
  context: Pick<PrepareContext, 'report'>,
  request: PodRequest,
  { name, request: app, section, mounts, layers }: LayeredApp,
  rootfs: Rootfs,
  given: Pick<AppChoices, 'privileged' | 'filter' | 'volumes' | 'users' | 'host'>,
): AppSettings {
  const { record, readOnlyRootfs = false, silent = [] } = app;
  // The pod's labels are those of its apps that have none of their own.
  const isolators = [...(request.isolators ?? []).filter(isLabel), ...section.isolators];
  const whole = { ...section, isolators, mountPoints: [...mounts] };
  const spec = appSpecOf(record, { name, app: whole, readOnlyRootfs });
  const tree = new LayerTree(layers);
  const { settings: own, warnings } = settleApp(spec, tree, rootfs, {
    allCapabilities: request.insecure.capabilities,
    allSystemCalls: request.insecure.seccomp,
    asked: new Set(
      [request, app].flatMap(({ isolators = [] }) => isolators.map(({ name }) => name)),
    ),
    ...given,
  });
  const place = placeOf(own, tree, given.privileged === true);
  for (const [program = ''] of programsOf(own)) {
    requireProgram(program, place, `app ${JSON.stringify(name)}`);
  }
  for (const warning of warnings) context.report.warn(warning);
  const settings = silent.length === 0 ? own : { ...own, silent };
  if (!request.interactive) return settings;
  return { ...settings, environment: withTerminal(settings.environment, process.env['TERM']) };
}

/** What is executed of an app: itself, and its event handlers. */
function programsOf({ exec, handlers = {} }: AppSettings): (readonly string[])[] {
  return [exec, handlers.preStart, handlers.postStop].filter((program) => program !== undefined);
}

/** Beside an app's volumes every pod mounts these over its images, the chroot flavour one more. */
function placeOf(
  { mounts, workingDirectory }: AppSettings,
  tree: LayerTree,
  privileged: boolean,
): ProgramPlace {
  const own = ['/dev', '/proc', '/sys', ...(privileged ? ['/tmp'] : [])];
  return { tree, workingDirectory, mounted: [...own, ...mounts.map(({ path }) => path)] };
}

/** What the pod's record says of an app. */
export function recordedApp({ name, request: { record } }: NamedApp): RecordedApp {
  const { id, provenance } = record;
  return { name, imageId: id, imageName: displayName(record), provenance };
}
