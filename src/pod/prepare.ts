import { closeSync, fsyncSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, GantryError } from '../error.ts';
import { podManifestDocument } from '../image/manifest-document.ts';
import { parseHostname } from '../network/hostname.ts';
import { compilePlan } from '../stage1/compile.ts';
import { requireFeatures } from '../stage1/features.ts';
import type { Flavour } from '../stage1/flavour.ts';
import { encodePlan } from '../stage1/plan.ts';
import { type Provision, withoutFilters } from '../stage1/settings.ts';
import { system } from '../system/binding.ts';
import { isRootless } from '../system/ordinary-user.ts';
import { recheckImages } from '../trust/recheck.ts';
import { appFilters } from './call-filters.ts';
import { type CheckedRequest, decidePod, type PodDecision } from './decision.ts';
import { imagesOf, layersOf, settledFinder, treesOf } from './image-layers.ts';
import { type LayeredApp, nameApps, recordedApp } from './layered-app.ts';
import { podManifest } from './manifest.ts';
import { Pod, phaseDirectory } from './pod.ts';
import type { PodRecord } from './record.ts';
import type { PodRequest, PrepareContext } from './request.ts';
import { LINKS, linkLayers, makeRootfs } from './rootfs.ts';
import { openStage1, placeStage1, recordedStage1 } from './stage1.ts';
import { makeVolumes } from './volumes.ts';
import { podWishes } from './wishes.ts';

/**
 * Prepares a pod: checks that its images may run, decides everything about its apps, and writes that
 * down. The pod passes from `embryo` through `prepare` to `prepared`, and comes back with its lock
 * held; whenever that is broken off, what is left is gc's.
 * @throws GantryError for an image that is not trusted or not for this machine, and for whatever the
 *   image or the host cannot give; nothing of the pod is left then
 */
export async function preparePod(context: PrepareContext, asked: PodRequest): Promise<Pod> {
  // No image is removed from here on until the pod's record names it.
  using _pin = context.store.pinImages();
  const checked = await checkRequest(context, asked);
  const pod = Pod.create(context.dataDir);
  try {
    if (asked.uuidFile !== undefined) writeUuidFile(asked.uuidFile, pod.uuid);
    await furnish(pod, checked, await decidePod(pod, checked));
    enterPrepared(pod, asked);
    return pod;
  } catch (error) {
    const { discardPod } = await import('./remove.ts');
    discardPod(pod);
    throw error;
  }
}

/** Refuses what can be refused before there is a pod. */
async function checkRequest(context: PrepareContext, asked: PodRequest): Promise<CheckedRequest> {
  const { store, stage1Image } = context;
  const { request: named, apps: namedApps } = nameApps(asked);
  if (named.hostname !== undefined) parseHostname(named.hostname);
  const find = settledFinder(store);
  const records = [
    ...asked.apps.map(({ record }) => record),
    ...(stage1Image ? [stage1Image] : []),
  ];
  const images = records.flatMap((record) => imagesOf(record, find));
  if (!named.insecure.image) await recheckImages(images, context.directories);
  const stage1 = await openStage1(context, find);
  const { flavour } = stage1;
  const request = await possibleRequest(context, named, flavour);
  requireFeatures(flavour, podWishes(request, namedApps));
  const provision = await provisionFor(flavour, request, context);
  const filters = await appFilters(context, request, namedApps, flavour);
  const apps: LayeredApp[] = [];
  for (const app of namedApps) {
    apps.push({ ...app, layers: await layersOf(store, app.request.record, find) });
  }
  return { context, request, apps, images, stage1, provision, filters };
}

/** The request, or what an ordinary user can have of it. */
async function possibleRequest(
  context: PrepareContext,
  asked: PodRequest,
  flavour: Flavour,
): Promise<PodRequest> {
  if (!isRootless()) return asked;
  const { rootlessRequest } = await import('./rootless.ts');
  return rootlessRequest(context, asked, flavour);
}

/** Looked for before anything is written. Native pods need nothing, and load nothing for it. */
async function provisionFor(
  { name, plan }: Flavour,
  { runsNow = false }: PodRequest,
  { directories, report }: PrepareContext,
): Promise<Provision | undefined> {
  if (plan === 'native') return undefined;
  if (isRootless() && plan !== 'chroot') {
    throw new GantryError(
      'unsupported',
      `stage1 ${name} is for root only: leave out what chooses it, for the native one`,
    );
  }
  const { findProvision } = await import('../stage1/provision.ts');
  return await findProvision(plan, {
    runsNow,
    directories,
    warn: (line) => report.warn(line),
  });
}

/** Writes everything a pod directory holds (specs/lifecycle.md). */
async function furnish(pod: Pod, checked: CheckedRequest, decision: PodDecision): Promise<void> {
  const { context, request, apps, stage1 } = checked;
  const { settings, volumes, hostVolumes } = decision;
  await makeDirectories(pod, apps, decision);
  const manifest = podManifest(request, apps, settings, [
    ...volumes.map(({ volume }) => volume),
    ...hostVolumes,
  ]);
  placeStage1(pod, stage1);
  writeJson(pod, 'pod.json', podManifestDocument(manifest));
  writeJson(pod, 'record.json', recordOf(checked, decision));
  writeFileSync(join(pod.dir, 'plan'), encodePlan(compilePlan(settings)), {
    mode: 0o600,
    flag: 'wx',
  });
  for (const { request } of apps) context.store.touch(request.record);
  if (stage1.image !== undefined) context.store.touch(stage1.image);
}

async function makeDirectories(
  pod: Pod,
  apps: readonly LayeredApp[],
  { settings: { users }, volumes, roots, overlay }: PodDecision,
): Promise<void> {
  mkdirSync(join(pod.dir, 'root'));
  linkLayers(join(pod.dir, LINKS), roots.links);
  mkdirSync(join(pod.dir, 'apps'));
  for (const { name, layers } of apps) {
    const directory = join(pod.dir, 'apps', name);
    mkdirSync(directory);
    await makeRootfs(directory, layers, overlay, users);
  }
  await makeVolumes(pod.dir, volumes, users);
}

function recordOf(
  { context, request, apps, images, stage1 }: CheckedRequest,
  { settings }: PodDecision,
): PodRecord {
  const needed = {
    images: [...new Set(images.map(({ id }) => id))],
    trees: treesOf(context.store, [...apps.flatMap(({ layers }) => layers), ...stage1.trees]),
  };
  return {
    version: 1,
    apps: apps.map(recordedApp),
    ...needed,
    // A mutable pod has no apps yet: all of it is the stage1's.
    stage1: { ...recordedStage1(stage1), ...(request.mutable === true ? needed : {}) },
    settings: withoutFilters(settings),
  };
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
