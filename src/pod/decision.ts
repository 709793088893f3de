import { join } from 'node:path';
import type { ImageRecord } from '../image/image-record.ts';
import type { HostVolume } from '../image/volume.ts';
import { ownCgroup } from '../isolation/cgroup.ts';
import { podGroupName } from '../isolation/control-groups.ts';
import { readSysctl } from '../isolation/sysctl.ts';
import type { UserRange } from '../isolation/user-map.ts';
import { defaultHostname } from '../network/hostname.ts';
import { hasResolvConf } from '../network/name-files.ts';
import type { ChosenFilter } from '../stage1/app.ts';
import type { Flavour } from '../stage1/flavour.ts';
import type {
  AppSettings,
  HostVolumeSettings,
  PodSettings,
  Provision,
} from '../stage1/settings.ts';
import { isRootless } from '../system/ordinary-user.ts';
import { settleDevices } from './devices.ts';
import { type LayeredApp, settleLayeredApp } from './layered-app.ts';
import type { Pod } from './pod.ts';
import { processHost } from './process-host.ts';
import type { PodRequest, PrepareContext } from './request.ts';
import { type PodRoots, podRoots } from './rootfs.ts';
import type { PodStage1 } from './stage1.ts';
import {
  givenVolumes,
  hostVolumeSettings,
  type PodVolume,
  podVolumes,
  unusedVolumes,
} from './volumes.ts';

/** Seconds an orderly stop waits between asking an app to end and KILL. */
const GRACE_SECONDS = 10;

/** What was asked, found to be possible, with what was found for it. */
export interface CheckedRequest {
  readonly context: PrepareContext;
  readonly request: PodRequest;
  readonly apps: readonly LayeredApp[];
  /** Of the apps and the stage1, with all they depend on. */
  readonly images: readonly ImageRecord[];
  readonly stage1: PodStage1;
  readonly provision: Provision | undefined;
  /** By the names of their apps. */
  readonly filters: ReadonlyMap<string, ChosenFilter>;
}

/** Everything decided about a pod, before any of it is written. */
export interface PodDecision {
  readonly settings: PodSettings;
  readonly roots: PodRoots;
  /** The roots are overlays, not copies. */
  readonly overlay: boolean;
  /** Those to be made. */
  readonly volumes: readonly PodVolume[];
  /** Those of the host that an app has a place for. */
  readonly hostVolumes: readonly HostVolume[];
}

/** How files get to a pod. */
interface Places {
  readonly overlay: boolean;
  readonly hostVolumes: readonly HostVolumeSettings[];
  /** Undefined where the pod's users are the host's. */
  readonly users: UserRange | undefined;
}

/**
 * Decides everything about a pod; the operator hears what of it they might not expect.
 * @throws GantryError for whatever the images or the host cannot give
 */
export async function decidePod(pod: Pod, checked: CheckedRequest): Promise<PodDecision> {
  const { context, request, apps, stage1 } = checked;
  const hostVolumes = usedHostVolumes(checked);
  const places = await settlePlaces(pod, checked, hostVolumes);
  const roots = podRoots(
    pod.dir,
    apps.map(({ layers }) => layers),
    places.overlay,
  );
  const volumes = podVolumes(apps, request.volumes);
  const settled = settlePod(pod, checked, places, {
    apps: await settleApps(checked, places, roots),
    volumes: volumes.map(({ volume }) => volume.name),
  });
  const settings = await settleDevices(await withLimits(settled, checked), {
    flavour: stage1.flavour,
    runsNow: request.runsNow === true,
    report: context.report,
  });
  return { settings, roots, overlay: places.overlay, volumes, hostVolumes };
}

/** The operator hears of volumes that no app has a place for; as in rkt the pod does without them. */
function usedHostVolumes({
  context,
  request: { volumes = [] },
  apps,
}: CheckedRequest): HostVolume[] {
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

/** With users of the pod's own where it asks for them. */
async function settlePlaces(
  pod: Pod,
  { context: { report }, request, apps, stage1 }: CheckedRequest,
  volumes: readonly HostVolume[],
): Promise<Places> {
  const { overlay } = request;
  const hostVolumes = await hostVolumeSettings(volumes, stage1.flavour);
  if (request.privateUsers !== true) return { overlay, hostVolumes, users: undefined };
  const { canShareLayers, mapVolumes, settleUsers } = await import('./own-users.ts');
  return {
    users: settleUsers(pod, request),
    overlay:
      overlay &&
      canShareLayers(
        apps.flatMap(({ layers }) => layers),
        report,
      ),
    hostVolumes: mapVolumes(hostVolumes, report),
  };
}

async function settleApps(
  { context, request, apps, stage1: { flavour }, filters }: CheckedRequest,
  { hostVolumes, users }: Places,
  { rootfs }: PodRoots,
): Promise<AppSettings[]> {
  const given = {
    privileged: flavour.plan === 'chroot',
    volumes: givenVolumes(request.volumes, hostVolumes),
    ...(await processHost(request, apps, flavour.plan)),
    users,
  };
  return apps.map((app, index) => {
    const filter = filters.get(app.name);
    return settleLayeredApp(context, request, app, rootfs[index] ?? { kind: 'copy' }, {
      ...given,
      ...(filter === undefined ? {} : { filter }),
    });
  });
}

function settlePod(
  pod: Pod,
  { request, stage1: { flavour }, provision }: CheckedRequest,
  { overlay, hostVolumes, users }: Places,
  held: Pick<PodSettings, 'apps' | 'volumes'>,
): PodSettings {
  const network = request.network ?? (flavour.features.has('net-none') ? 'none' : 'host');
  const cgroup = podCgroup(request, provision);
  const sysctl = readSysctl(request.isolators ?? []);
  return {
    uuid: pod.uuid,
    plan: flavour.plan,
    ...(provision === undefined ? {} : { provision }),
    hostname: request.hostname ?? hostnameOf(pod, flavour),
    network,
    hostResolver: network === 'host' && hasResolvConf(),
    interactive: request.interactive,
    ...(request.ipc === 'parent' ? { hostIpc: true } : {}),
    ...(users === undefined ? {} : { users }),
    ...(request.mutable === true ? { mutable: { overlay } } : {}),
    graceSeconds: GRACE_SECONDS,
    ...(cgroup === undefined ? {} : { cgroup: join(cgroup, podGroupName(pod.uuid)) }),
    openPaths: request.insecure.paths,
    ...(sysctl.length === 0 ? {} : { sysctl }),
    ...held,
    ...(hostVolumes.length === 0 ? {} : { hostVolumes }),
    ...(isRootless() ? { rootless: true } : {}),
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

/** Of a pod that asks for none, nothing of the host's control groups is looked at. */
async function withLimits(
  settings: PodSettings,
  { context: { report }, request, apps, stage1: { flavour } }: CheckedRequest,
): Promise<PodSettings> {
  const limited = settings.apps.some(({ limits }) => limits !== undefined);
  if (!limited && request.isolators === undefined && request.mutable !== true) return settings;
  const { settleLimits } = await import('./limits.ts');
  return settleLimits(settings, { request, apps, flavour, report });
}
