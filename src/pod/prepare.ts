import { closeSync, fsyncSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, GantryError } from '../error.ts';
import type { ImageRecord } from '../image/image-record.ts';
import { podManifestDocument } from '../image/manifest-document.ts';
import type { HostVolume } from '../image/volume.ts';
import { ownCgroup } from '../isolation/cgroup.ts';
import { defaultHostname, parseHostname } from '../network/hostname.ts';
import { hasResolvConf } from '../network/name-files.ts';
import { compilePlan } from '../stage1/compile.ts';
import { requireFeatures } from '../stage1/features.ts';
import type { Flavour } from '../stage1/flavour.ts';
import { encodePlan } from '../stage1/plan.ts';
import type { HostVolumeSettings, PodSettings, Provision } from '../stage1/settings.ts';
import { system } from '../system/binding.ts';
import { recheckImages } from '../trust/recheck.ts';
import { imagesOf, layersOf, settledFinder, treesOf } from './image-layers.ts';
import { type LayeredApp, nameApps, recordedApp, settleLayeredApp } from './layered-app.ts';
import { type NamedApp, podManifest } from './manifest.ts';
import { Pod, phaseDirectory } from './pod.ts';
import type { PodRecord } from './record.ts';
import type { PodRequest, PrepareContext } from './request.ts';
import { LINKS, linkLayers, makeRootfs, type PodRoots, podRoots } from './rootfs.ts';
import { openStage1, type PodStage1, placeStage1, recordedStage1 } from './stage1.ts';
import { makeVolumes, type PodVolume, podVolumes, unusedVolumes } from './volumes.ts';
import { podWishes } from './wishes.ts';

/** Seconds an orderly stop waits between asking an app to end and KILL. */
const GRACE_SECONDS = 10;

/** What a pod's apps find: the roots they have, the volumes in them. */
interface PodParts {
  readonly flavour: Flavour;
  readonly provision: Provision | undefined;
  readonly roots: PodRoots;
  readonly volumes: readonly PodVolume[];
  readonly hostVolumes: readonly HostVolumeSettings[];
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
  // No image is removed from here on until the pod's record names it.
  using _pin = context.store.pinImages();
  const find = settledFinder(context.store);
  const { stage1Image } = context;
  const records = [
    ...request.apps.map(({ record }) => record),
    ...(stage1Image ? [stage1Image] : []),
  ];
  const images = records.flatMap((record) => imagesOf(record, find));
  if (!request.insecure.image) await recheckImages(images, context.directories);
  const stage1 = await openStage1(context, find);
  requireFeatures(stage1.flavour, podWishes(request, apps));
  const provision = await provisionFor(stage1.flavour, request, context);
  const layered: LayeredApp[] = [];
  for (const app of apps) {
    layered.push({ ...app, layers: await layersOf(context.store, app.request.record, find) });
  }
  const pod = Pod.create(context.dataDir);
  try {
    await furnish(pod, context, request, layered, images, stage1, provision);
    enterPrepared(pod, request);
    return pod;
  } catch (error) {
    const { discardPod } = await import('./remove.ts');
    discardPod(pod);
    throw error;
  }
}

/** Looked for before anything is written. Native pods need nothing, and load nothing for it. */
async function provisionFor(
  { plan }: Flavour,
  { runsNow = false }: PodRequest,
  { directories, report }: PrepareContext,
): Promise<Provision | undefined> {
  if (plan === 'native') return undefined;
  const { findProvision } = await import('../stage1/provision.ts');
  return await findProvision(plan, {
    runsNow,
    directories,
    warn: (line) => report.warn(line),
  });
}

/** Writes everything a pod directory holds (specs/lifecycle.md). */
async function furnish(
  pod: Pod,
  context: PrepareContext,
  request: PodRequest,
  apps: readonly LayeredApp[],
  images: readonly ImageRecord[],
  stage1: PodStage1,
  provision: Provision | undefined,
): Promise<void> {
  if (request.uuidFile !== undefined) writeUuidFile(request.uuidFile, pod.uuid);
  const { flavour } = stage1;
  const volumes = podVolumes(apps, request.volumes);
  const ofHost = usedHostVolumes(context, request, apps);
  const hostVolumes = await hostVolumeSettings(ofHost, flavour);
  const layers = apps.map((app) => app.layers);
  const roots = podRoots(pod.dir, layers, request.overlay);
  const parts: PodParts = { flavour, provision, volumes, hostVolumes, roots };
  const settings = settle(pod, context, request, apps, parts);
  await makeDirectories(pod, request, apps, parts);
  const needed = {
    images: [...new Set(images.map(({ id }) => id))],
    trees: treesOf(context.store, [...layers.flat(), ...stage1.trees]),
  };
  const record: PodRecord = {
    version: 1,
    apps: apps.map(recordedApp),
    ...needed,
    // A mutable pod has no apps yet: all of it is the stage1's.
    stage1: { ...recordedStage1(stage1), ...(request.mutable === true ? needed : {}) },
    settings,
  };
  const manifest = podManifest(request, apps, settings, [
    ...volumes.map(({ volume }) => volume),
    ...ofHost,
  ]);
  placeStage1(pod, stage1);
  writeJson(pod, 'pod.json', podManifestDocument(manifest));
  writeJson(pod, 'record.json', record);
  writeFileSync(join(pod.dir, 'plan'), encodePlan(compilePlan(settings)), {
    mode: 0o600,
    flag: 'wx',
  });
  for (const { request } of apps) context.store.touch(request.record);
  if (stage1.image !== undefined) context.store.touch(stage1.image);
}

/** The operator hears of volumes that no app has a place for; as in rkt the pod does without them. */
function usedHostVolumes(
  context: PrepareContext,
  { volumes = [] }: PodRequest,
  apps: readonly NamedApp[],
): HostVolume[] {
  const unused = unusedVolumes(apps, volumes);
  for (const { name } of unused) {
    context.report.warn(
      `--volume ${name}: no app has a mount point of that name: say where it goes with --mount`,
    );
  }
  return volumes
    .filter((volume) => volume.kind === 'host')
    .filter((volume) => !unused.includes(volume));
}

async function hostVolumeSettings(
  volumes: readonly HostVolume[],
  flavour: Flavour,
): Promise<HostVolumeSettings[]> {
  if (volumes.length === 0) return [];
  const { settleHostVolumes } = await import('./host-volumes.ts');
  return settleHostVolumes(volumes, flavour);
}

/** Decides everything about the pod; the operator hears what of it they might not expect. */
function settle(
  pod: Pod,
  context: PrepareContext,
  request: PodRequest,
  apps: readonly LayeredApp[],
  { flavour, provision, volumes, hostVolumes, roots }: PodParts,
): PodSettings {
  const network = request.network ?? (flavour.features.has('net-none') ? 'none' : 'host');
  const cgroup = podCgroup(request, provision);
  const given = new Map(request.volumes?.map(({ name }) => [name, { directory: true }]));
  for (const { name, directory } of hostVolumes) given.set(name, { directory });
  return {
    uuid: pod.uuid,
    plan: flavour.plan,
    ...(provision === undefined ? {} : { provision }),
    hostname: request.hostname ?? hostnameOf(pod, flavour),
    network,
    hostResolver: network === 'host' && hasResolvConf(),
    interactive: request.interactive,
    ...(request.mutable === true ? { mutable: { overlay: request.overlay } } : {}),
    graceSeconds: GRACE_SECONDS,
    ...(cgroup === undefined ? {} : { cgroup: join(cgroup, `gantry-${pod.uuid}`) }),
    openPaths: request.insecure.paths,
    apps: apps.map((app, index) =>
      settleLayeredApp(context, request, app, roots.rootfs[index] ?? { kind: 'copy' }, {
        privileged: flavour.plan === 'chroot',
        volumes: given,
      }),
    ),
    volumes: volumes.map(({ volume }) => volume.name),
    ...(hostVolumes.length === 0 ? {} : { hostVolumes }),
  };
}

/**
 * Where the pod's own control group is made; undefined where it has none. A pod that is only prepared stays
 * in the group of whoever starts it, but for systemd-nspawn, which makes groups in the one it is in and
 * leaves them there. None of ours where machined has systemd make one.
 */
function podCgroup(request: PodRequest, provision: Provision | undefined): string | undefined {
  if (provision?.kind === 'nspawn' && provision.machined === 'scope') return undefined;
  const own = request.runsNow ? ownCgroup() : undefined;
  return own === undefined && provision?.kind === 'nspawn' ? provision.cgroups : own;
}

/** The host's own, where a flavour has no other. */
function hostnameOf(pod: Pod, flavour: Flavour): string {
  if (flavour.features.has('hostname')) return defaultHostname(pod.uuid);
  return process.getBuiltinModule('node:os').hostname();
}

async function makeDirectories(
  pod: Pod,
  request: PodRequest,
  apps: readonly LayeredApp[],
  { volumes, roots }: PodParts,
): Promise<void> {
  mkdirSync(join(pod.dir, 'root'));
  linkLayers(join(pod.dir, LINKS), roots.links);
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
