import { mkdirSync, renameSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { InsecureOptions } from '../config/insecure.ts';
import { GantryError, reasonOf } from '../error.ts';
import { callAppEntry } from '../stage1/app-entry.ts';
import { compileAppPlan } from '../stage1/compile-app.ts';
import { requireFeatures } from '../stage1/features.ts';
import { openFlavour } from '../stage1/flavour.ts';
import { encodeAppPlan, MAX_APPS } from '../stage1/plan.ts';
import type { AppSettings } from '../stage1/settings.ts';
import { recheckImages } from '../trust/recheck.ts';
import { removeLeftovers } from './app-leftovers.ts';
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
import type { PodRecord } from './record.ts';
import type { AppRequest, PodRequest, PrepareContext } from './request.ts';
import { LINKS, linkLayers, makeRootfs, podRoots } from './rootfs.ts';
import { makeVolumes, type PodVolume, podVolumes } from './volumes.ts';
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
  readonly request: PodRequest;
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
  const overlay = before.settings.mutable?.overlay ?? true;
  const request = podRequest(before, appRequest, insecure);
  const named = requireNew(before, nameApps(request));
  requireFeatures(
    openFlavour(`${pod.dir}/stage1`),
    podWishes(request, [named]),
    'add it to a pod of another stage1',
  );
  const find = settledFinder(context.store);
  const images = imagesOf(appRequest.record, find);
  if (!insecure.image) await recheckImages(images, context.directories);
  const layers = await layersOf(context.store, appRequest.record, find);
  const app: LayeredApp = { ...named, layers };
  const roots = podRoots(pod.dir, [layers], overlay, `apps/${app.name}/${LINKS}`);
  const rootfs = roots.rootfs[0] ?? ({ kind: 'copy' } as const);
  const settings = settleLayeredApp(context, request, app, rootfs, { privileged: false });
  const volumes = podVolumes([app]).filter(
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
    settings: {
      ...before.settings,
      apps: [...before.settings.apps, settings],
      volumes: [...before.settings.volumes, ...volumes.map(({ volume }) => volume.name)],
    },
  };
  return { app, settings, links: roots.links, volumes, request, record };
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

/** Makes the app's directory beside its place, whole, and moves it there. */
async function furnish(pod: Pod, addition: Addition): Promise<void> {
  const { app, settings, links, volumes, request, record } = addition;
  const directory = join(pod.dir, 'apps', `.new-${app.name}`);
  mkdirSync(directory);
  linkLayers(join(directory, LINKS), links);
  await makeRootfs(directory, app.layers, request.overlay);
  await makeVolumes(directory, volumes);
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
function enroll(pod: Pod, { app, settings, volumes, request, record }: Addition): void {
  const own = podManifest(
    request,
    [app],
    { ...record.settings, apps: [settings] },
    volumes.map(({ volume }) => volume),
  );
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
