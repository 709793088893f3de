import { closeSync, fsyncSync, mkdirSync, openSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, GantryError } from '../error.ts';
import { appSpecOf } from '../image/app-spec.ts';
import { displayName, type ImageRecord } from '../image/image-record.ts';
import { podManifestDocument } from '../image/manifest-document.ts';
import { ownCgroup } from '../isolation/cgroup.ts';
import { LayerTree } from '../isolation/layer-tree.ts';
import { defaultHostname, parseHostname } from '../network/hostname.ts';
import { hasResolvConf } from '../network/name-files.ts';
import { settleApp } from '../stage1/app.ts';
import { compilePlan } from '../stage1/compile.ts';
import { withTerminal } from '../stage1/environment.ts';
import { openFlavour } from '../stage1/flavour.ts';
import { encodePlan } from '../stage1/plan.ts';
import type { AppSettings, PodSettings, Rootfs } from '../stage1/settings.ts';
import { system } from '../system/binding.ts';
import { recheckProvenance } from '../trust/recheck.ts';
import { appNames, appSection } from './app-section.ts';
import { imagesOf, layersOf, settledFinder, treesOf } from './image-layers.ts';
import { type NamedApp, podManifest } from './manifest.ts';
import { requirePlatform } from './platform.ts';
import { Pod, phaseDirectory } from './pod.ts';
import type { PodRecord, RecordedApp } from './record.ts';
import type { PodRequest, PrepareContext } from './request.ts';
import { linkLayers, makeRootfs, type PodRoots, podRoots } from './rootfs.ts';
import { makeVolumes, type PodVolume, podVolumes, withOwnVolumes } from './volumes.ts';

/** Seconds an orderly stop waits between asking an app to end and KILL. */
const GRACE_SECONDS = 10;

/** An app with the directories its root file system comes from. */
interface LayeredApp extends NamedApp {
  /** Absolute, top first. */
  readonly layers: readonly string[];
}

/** What a pod's apps find: the roots they have, the volumes in them. */
interface PodParts {
  readonly roots: PodRoots;
  readonly volumes: readonly PodVolume[];
}

/**
 * Prepares a pod: checks that its images may run, decides everything about its apps, and writes that
 * down. The pod passes from `embryo` through `prepare` to `prepared`, and comes back with its lock
 * held; whenever that is broken off, what is left is gc's.
 * @throws GantryError for an image that is not trusted or not for this machine, and for whatever the
 *   image or the host cannot give; nothing of the pod is left then
 */
export async function preparePod(context: PrepareContext, request: PodRequest): Promise<Pod> {
  const apps = nameApps(request);
  if (request.hostname !== undefined) parseHostname(request.hostname);
  openFlavour(context.stage1Dir);
  // No image is removed from here on until the pod's record names it.
  using _pin = context.store.pinImages();
  const find = settledFinder(context.store);
  const images = request.apps.flatMap(({ record }) => imagesOf(record, find));
  if (!request.insecure.image) await requireTrust(context, images);
  const layered: LayeredApp[] = [];
  for (const app of apps) {
    layered.push({ ...app, layers: await layersOf(context.store, app.request.record, find) });
  }
  const pod = Pod.create(context.dataDir);
  try {
    await furnish(pod, context, request, layered, images);
    enterPrepared(pod, request);
    return pod;
  } catch (error) {
    const { discardPod } = await import('./remove.ts');
    discardPod(pod);
    throw error;
  }
}

/** What can be refused without a look at any file. */
function nameApps(request: PodRequest): NamedApp[] {
  if (request.apps.length === 0) {
    throw new GantryError('usage', 'pod must contain at least one application');
  }
  if (request.interactive && request.apps.length > 1) {
    throw new GantryError('usage', 'interactive option only supports one image');
  }
  const names = appNames(request.apps);
  return request.apps.map((app, index): NamedApp => {
    requirePlatform(app.record.manifest);
    const name = names[index] ?? '';
    return { name, request: app, section: withOwnVolumes(name, appSection(app, request)) };
  });
}

/** A key that has been taken away since an image was fetched vouches for nothing any more. */
async function requireTrust(
  context: PrepareContext,
  images: readonly ImageRecord[],
): Promise<void> {
  for (const { name, provenance } of images) {
    await recheckProvenance(provenance, name, context.directories);
  }
}

/** Writes everything a pod directory holds (specs/lifecycle.md). */
async function furnish(
  pod: Pod,
  context: PrepareContext,
  request: PodRequest,
  apps: readonly LayeredApp[],
  images: readonly ImageRecord[],
): Promise<void> {
  if (request.uuidFile !== undefined) writeUuidFile(request.uuidFile, pod.uuid);
  const volumes = podVolumes(apps);
  const layers = apps.map((app) => app.layers);
  const roots = podRoots(pod.dir, layers, request.overlay);
  const settings = settle(pod, context, request, apps, { volumes, roots });
  await makeDirectories(pod, request, apps, { volumes, roots });
  const record: PodRecord = {
    version: 1,
    apps: apps.map(recordedApp),
    images: [...new Set(images.map(({ id }) => id))],
    trees: treesOf(context.store, layers.flat()),
    settings,
  };
  const manifest = podManifest(request, apps, settings, volumes);
  symlinkSync(context.stage1Dir, join(pod.dir, 'stage1'));
  writeJson(pod, 'pod.json', podManifestDocument(manifest));
  writeJson(pod, 'record.json', record);
  writeFileSync(join(pod.dir, 'plan'), encodePlan(compilePlan(settings)), {
    mode: 0o600,
    flag: 'wx',
  });
  for (const {
    request: { record },
  } of apps)
    context.store.touch(record);
}

function recordedApp({ name, request: { record } }: NamedApp): RecordedApp {
  const { id, provenance } = record;
  return { name, imageId: id, imageName: displayName(record), provenance };
}

/** Decides everything about the pod; the operator hears what of it they might not expect. */
function settle(
  pod: Pod,
  context: PrepareContext,
  request: PodRequest,
  apps: readonly LayeredApp[],
  { volumes, roots }: PodParts,
): PodSettings {
  const cgroup = request.runsNow ? ownCgroup() : undefined;
  return {
    uuid: pod.uuid,
    hostname: request.hostname ?? defaultHostname(pod.uuid),
    network: request.network,
    hostResolver: request.network === 'host' && hasResolvConf(),
    interactive: request.interactive,
    graceSeconds: GRACE_SECONDS,
    ...(cgroup === undefined ? {} : { cgroup: join(cgroup, `gantry-${pod.uuid}`) }),
    openPaths: request.insecure.paths,
    apps: apps.map((app, index) =>
      settleLayeredApp(context, request, app, roots.rootfs[index] ?? { kind: 'copy' }),
    ),
    volumes: volumes.map(({ volume }) => volume.name),
  };
}

function settleLayeredApp(
  context: PrepareContext,
  request: PodRequest,
  { name, request: { record, readOnlyRootfs }, section, layers }: LayeredApp,
  rootfs: Rootfs,
): AppSettings {
  const spec = appSpecOf(record, { name, app: section, readOnlyRootfs: readOnlyRootfs ?? false });
  const { settings, warnings } = settleApp(spec, new LayerTree(layers), rootfs, {
    allCapabilities: request.insecure.capabilities,
    allSystemCalls: request.insecure.seccomp,
  });
  for (const warning of warnings) context.report.warn(warning);
  if (!request.interactive) return settings;
  return { ...settings, environment: withTerminal(settings.environment, process.env['TERM']) };
}

async function makeDirectories(
  pod: Pod,
  request: PodRequest,
  apps: readonly LayeredApp[],
  { volumes, roots }: PodParts,
): Promise<void> {
  mkdirSync(join(pod.dir, 'root'));
  linkLayers(pod.dir, roots.links);
  mkdirSync(join(pod.dir, 'apps'));
  for (const { name, layers } of apps) {
    const directory = join(pod.dir, 'apps', name);
    mkdirSync(directory);
    await makeRootfs(directory, layers, request.overlay);
  }
  await makeVolumes(pod.dir, volumes);
}

/**
 * The pod is prepared. One that is run by this very process ends with the machine, so that nothing
 * of it need be there after a crash; any other must be what it is now.
 */
function enterPrepared(pod: Pod, request: PodRequest): void {
  if (!request.runsNow) system.syncFilesystem(pod.fd);
  pod.enter('prepared');
  if (request.runsNow) return;
  const fd = openSync(phaseDirectory(pod.dataDir, 'prepared'), 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function writeJson(pod: Pod, name: string, value: unknown): void {
  writeFileSync(join(pod.dir, name), `${JSON.stringify(value)}\n`, { mode: 0o640, flag: 'wx' });
}

function writeUuidFile(path: string, uuid: string): void {
  try {
    writeFileSync(path, `${uuid}\n`);
  } catch (error) {
    throw new GantryError('usage', `--uuid-file-save: cannot write ${path}: ${errnoOf(error)}`, {
      cause: error,
    });
  }
}
