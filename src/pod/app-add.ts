import { mkdirSync, renameSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { InsecureOptions } from '../config/insecure.ts';
import { GantryError, reasonOf } from '../error.ts';
import type { HostVolume } from '../image/volume.ts';
import type { UserRange } from '../isolation/user-map.ts';
import { callAppEntry } from '../stage1/app-entry.ts';
import { compileAppPlan } from '../stage1/compile-app.ts';
import { requireFeatures } from '../stage1/features.ts';
import { type Flavour, openFlavour } from '../stage1/flavour.ts';
import { encodeAppPlan, MAX_APPS } from '../stage1/plan.ts';
import { type AppSettings, type HostVolumeSettings, withoutFilters } from '../stage1/settings.ts';
import { recheckImages } from '../trust/recheck.ts';
import { removeLeftovers } from './app-leftovers.ts';
import { appFilters } from './call-filters.ts';
import { imagesOf, layersOf, settledFinder, treesOf } from './image-layers.ts';
import { type LayeredApp, nameApps, recordedApp, settleLayeredApp } from './layered-app.ts';
import { type NamedApp, podManifest } from './manifest.ts';
import {
  keepManifest,
  lockApps,
  readMutable,
  replaceRecord,
  requireRunning,
} from './mutable-pod.ts';
import type { Pod } from './pod.ts';
import { processHost } from './process-host.ts';
import type { PodRecord } from './record.ts';
import type { AppRequest, PodRequest, PrepareContext } from './request.ts';
import { LINKS, linkLayers, makeRootfs, podRoots } from './rootfs.ts';
import {
  givenVolumes,
  hostVolumeSettings,
  makeVolumes,
  type PodVolume,
  podVolumes,
} from './volumes.ts';
import { podWishes } from './wishes.ts';

const DOING = 'cannot add application';

/** What adding an app reads from and writes to; the stage1 is the pod's. */
export type AddContext = Omit<PrepareContext, 'stage1Dir'>;

/** What `gantry app add` is told. */
export interface AddRequest {
  readonly app: AppRequest;
  readonly insecure: InsecureOptions;
}

/** An app that is being added: all of it is decided. */
interface Addition {
  readonly app: LayeredApp;
  readonly settings: AppSettings;
  /** Layers that the directory `l` of the app leads to. */
  readonly links: readonly string[];
  /** Those the pod does not have yet. */
  readonly volumes: readonly PodVolume[];
  readonly hostVolumes: readonly HostVolume[];
  readonly request: PodRequest;
  /** Its root is an overlay, not a copy. */
  readonly overlay: boolean;
  /** The pod's record with the app. */
  readonly record: PodRecord;
}

/**
 * Adds an app to a running pod, in which it then waits to be started. Broken off anywhere, either the
 * record names the app and it is whole, or what there is of it is removed by whoever comes next.
 * @returns the app's name
 * @throws GantryError as `preparePod`; `unsupported` for an immutable pod, `wrong-phase` for one that
 *   does not run, `usage` for a name that is taken
 */
export async function addApp(context: AddContext, pod: Pod, request: AddRequest): Promise<string> {
  readMutable(pod, DOING);
  requireRunning(pod);
  using _lock = await lockApps(pod, 'exclusive');
  const before = readMutable(pod, DOING);
  removeLeftovers(pod, before);
  // No image is removed from here on until the pod's record names it.
  using _pin = context.store.pinImages();
  const addition = await decide(context, pod, before, request);
  const { app } = addition;
  try {
    await furnish(pod, addition);
    enroll(pod, addition);
    callAppEntry({ uuid: pod.uuid, directory: pod.dir }, 'app-add', app.name);
  } catch (error) {
    withdraw(context, pod, before);
    // Of a pod that ended meanwhile, and was removed, there is nothing left to write to.
    if (!(error instanceof GantryError)) requireRunning(pod);
    throw error;
  }
  context.store.touch(app.request.record);
  return app.name;
}

async function decide(
  context: AddContext,
  pod: Pod,
  before: PodRecord,
  { app: appRequest, insecure }: AddRequest,
): Promise<Addition> {
  const had = before.settings.hostVolumes ?? [];
  const { request, apps } = nameApps(podRequest(before, appRequest, insecure), [
    ...before.settings.volumes,
    ...had.map(({ name }) => name),
  ]);
  const named = requireNew(before, apps);
  refuseEventHandlers(named);
  const flavour = openFlavour(`${pod.dir}/stage1`);
  requireFeatures(flavour, podWishes(request, [named]), 'add it to a pod of another stage1');
  const find = settledFinder(context.store);
  const images = imagesOf(appRequest.record, find);
  if (!insecure.image) await recheckImages(images, context.directories);
  const layers = await layersOf(context.store, appRequest.record, find);
  const app: LayeredApp = { ...named, layers };
  const { users } = before.settings;
  const overlay = request.overlay && (await canShare(context, users, layers));
  const roots = podRoots(pod.dir, [layers], overlay, `apps/${app.name}/${LINKS}`);
  const rootfs = roots.rootfs[0] ?? ({ kind: 'copy' } as const);
  const hostVolumes = (request.volumes ?? []).filter((volume) => volume.kind === 'host');
  const sources = await appSources(context, hostVolumes, flavour, users);
  const filter = (await appFilters(context, request, [app], flavour)).get(app.name);
  const settled = settleLayeredApp(context, request, app, rootfs, {
    privileged: false,
    volumes: givenVolumes(request.volumes, sources),
    users,
    ...(filter === undefined ? {} : { filter }),
    ...(await processHost(request, [app], 'native')),
  });
  const settings = await withLimits(settled, app, before, context);
  const volumes = podVolumes([app], request.volumes).filter(
    ({ volume }) => !before.settings.volumes.includes(volume.name),
  );
  const recorded = {
    ...recordedApp(app),
    images: images.map(({ id }) => id),
    trees: treesOf(context.store, layers),
  };
  const record: PodRecord = {
    ...before,
    apps: [...before.apps, recorded],
    images: [...new Set([...before.images, ...recorded.images])],
    trees: [...new Set([...(before.trees ?? []), ...recorded.trees])],
    settings: withoutFilters({
      ...before.settings,
      apps: [...before.settings.apps, settings],
      volumes: [...before.settings.volumes, ...volumes.map(({ volume }) => volume.name)],
      ...(had.length + sources.length === 0 ? {} : { hostVolumes: [...had, ...sources] }),
    }),
  };
  return { app, settings, links: roots.links, volumes, hostVolumes, request, overlay, record };
}

/** The volumes of the host that the app brings, for the users of the pod. */
async function appSources(
  { report }: AddContext,
  volumes: readonly HostVolume[],
  flavour: Flavour,
  users: UserRange | undefined,
): Promise<HostVolumeSettings[]> {
  const sources = await hostVolumeSettings(volumes, flavour, '--mnt-volume');
  if (users === undefined || sources.length === 0) return sources;
  const { mapVolumes } = await import('./own-users.ts');
  return mapVolumes(sources, report);
}

async function canShare(
  { report }: AddContext,
  users: UserRange | undefined,
  layers: readonly string[],
): Promise<boolean> {
  if (users === undefined) return true;
  const { canShareLayers } = await import('./own-users.ts');
  return canShareLayers(layers, report);
}

async function withLimits(
  settings: AppSettings,
  app: NamedApp,
  { settings: { groups = [] } }: PodRecord,
  { report }: AddContext,
): Promise<AppSettings> {
  if (settings.limits === undefined) return settings;
  const { settleLaterLimits } = await import('./limits.ts');
  const { removeAppGroups } = await import('../isolation/control-groups.ts');
  // Of an app that had the name before; what was set for that must not count for this one.
  const left = removeAppGroups(groups, app.name);
  if (left !== undefined) {
    throw new GantryError(
      'busy',
      `${DOING}: processes of an earlier app ${app.name} are still in ${left}: give this one another --name`,
    );
  }
  return settleLaterLimits(settings, app, groups, report);
}

/** A pod of this one app, as `prepare` would be asked for it. */
function podRequest(
  { settings }: PodRecord,
  app: AppRequest,
  insecure: InsecureOptions,
): PodRequest {
  return {
    apps: [app],
    overlay: settings.mutable?.overlay ?? true,
    mutable: true,
    interactive: false,
    privateUsers: settings.users !== undefined,
    insecure: { ...insecure, paths: insecure.paths || settings.openPaths },
  };
}

function requireNew({ apps }: PodRecord, [app]: readonly NamedApp[]): NamedApp {
  if (app === undefined) throw new GantryError('internal', 'no app is being added');
  if (apps.some(({ name }) => name === app.name)) {
    throw new GantryError(
      'usage',
      `multiple apps with name ${app.name}: give each its own with --name`,
    );
  }
  if (apps.length < MAX_APPS) return app;
  throw new GantryError('launch', `a pod has at most ${MAX_APPS} apps: remove one first`);
}

/** Where an app is started again and again, and its plan is read by itself alone, nobody would run them. */
function refuseEventHandlers({ name, section: { eventHandlers } }: NamedApp): void {
  const [handler] = eventHandlers;
  if (handler === undefined) return;
  throw new GantryError(
    'unsupported',
    `app ${JSON.stringify(name)}: its ${handler.name} event handler cannot be run in a pod that apps come to: start it by gantry run`,
  );
}

/** Makes the app's directory beside its place, whole, and moves it there. */
async function furnish(pod: Pod, addition: Addition): Promise<void> {
  const { app, settings, links, volumes, request, overlay, record } = addition;
  const { users } = record.settings;
  const directory = join(pod.dir, 'apps', `.new-${app.name}`);
  mkdirSync(directory);
  linkLayers(join(directory, LINKS), links);
  await makeRootfs(directory, app.layers, overlay, users);
  await makeVolumes(directory, volumes, users);
  placeVolumes(pod, directory, volumes);
  const around = { ...record.settings, openPaths: request.insecure.paths };
  const plan = encodeAppPlan(compileAppPlan(around, settings));
  writeFileSync(join(directory, 'plan'), plan, { mode: 0o600, flag: 'wx' });
  renameSync(directory, join(pod.dir, 'apps', app.name));
}

function placeVolumes(pod: Pod, directory: string, volumes: readonly PodVolume[]): void {
  if (volumes.length === 0) return;
  mkdirSync(join(pod.dir, 'volumes'), { recursive: true });
  for (const { volume } of volumes) {
    renameSync(join(directory, 'volumes', volume.name), join(pod.dir, 'volumes', volume.name));
  }
  rmdirSync(join(directory, 'volumes'));
}

/** The manifest first: what it has and the record has not is left out of the next one. */
function enroll(pod: Pod, addition: Addition): void {
  const { app, settings, volumes, hostVolumes, request, record } = addition;
  const own = podManifest(request, [app], { ...record.settings, apps: [settings] }, [
    ...volumes.map(({ volume }) => volume),
    ...hostVolumes,
  ]);
  const fresh = new Set(own.volumes.map(({ name }) => name));
  keepManifest(pod, record, (manifest) => ({
    ...manifest,
    apps: [...manifest.apps.filter(({ name }) => name !== app.name), ...own.apps],
    volumes: [...manifest.volumes.filter(({ name }) => !fresh.has(name)), ...own.volumes],
  }));
  replaceRecord(pod, record);
}

/** Has the pod be what it was before. One that has ended and been removed meanwhile needs nothing. */
function withdraw({ report }: AddContext, pod: Pod, before: PodRecord): void {
  if (!pod.relocate()) return;
  try {
    replaceRecord(pod, before);
    keepManifest(pod, before);
    removeLeftovers(pod, before);
  } catch (error) {
    report.warn(`what is left of the app goes with the pod: ${reasonOf(error)}`);
  }
}
