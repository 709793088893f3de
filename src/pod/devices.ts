import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { GantryError } from '../error.ts';
import { rootCgroup } from '../isolation/cgroup.ts';
import { groupHost, placeGroups, podGroupName } from '../isolation/control-groups.ts';
import { type AllowedDevice, type DeviceAccess, deviceRules } from '../isolation/device-access.ts';
import { givenDevices } from '../stage1/device-volumes.ts';
import type { Flavour } from '../stage1/flavour.ts';
import type { PodSettings } from '../stage1/settings.ts';
import { system } from '../system/binding.ts';
import type { Warnings } from './request.ts';

/** What a pod's devices are settled from. */
export interface DeviceRequest {
  readonly flavour: Pick<Flavour, 'name' | 'features' | 'plan'>;
  /** This process becomes the pod's supervisor; others are anywhere. */
  readonly runsNow: boolean;
  readonly report: Warnings;
  /** Whether programs can say which devices a group has; found out where absent. */
  readonly filters?: boolean;
}

/** Who has it can mount a file system through which devices can be opened. */
const MOUNTS = 'CAP_SYS_ADMIN';

/**
 * Decides where and how devices are kept from a pod's apps by control group, on top of the `nodev` of all mounts
 * they can write to. Costs next to nothing in a v2 group, so it is done wherever the pod has one; a group is made
 * for it where the mounts alone would not do.
 * @throws GantryError `unsupported` for a read-only device that could be written to, `usage` for one that is
 *   read-only here and not there
 */
export async function settleDevices(
  settings: PodSettings,
  request: DeviceRequest,
): Promise<PodSettings> {
  const given = givenDevices(settings);
  if (!request.flavour.features.has('device-access')) {
    refuseUncontrolled(settings, given, request);
    return settings;
  }
  // systemd says which devices its scope has: told by systemd-nspawn, in the plan.
  if (settings.provision?.kind === 'nspawn' && settings.provision.machined === 'scope') {
    return settings;
  }
  const mounting = settings.apps.filter(({ capabilities }) => capabilities.includes(MOUNTS));
  const isNeeded = given.length > 0 || mounting.length > 0 || settings.mutable !== undefined;
  const place = await placeOf(settings, request, isNeeded);
  if (place !== undefined) {
    const cgroup = place.version === 2 ? { cgroup: place.directory } : {};
    return { ...settings, ...cgroup, deviceAccess: { ...place, rules: deviceRules(given) } };
  }
  refuseReadOnly(
    settings,
    'this host has no control groups that would keep it so: mount cgroup2, or leave readOnly out',
  );
  if (mounting.length === 0 || !isRootOfHost()) return settings;
  for (const { name } of mounting) {
    request.report.warn(
      `app ${JSON.stringify(name)} keeps ${MOUNTS}, and this host has no control groups that would keep its devices from it`,
    );
  }
  return settings;
}

/** The group, and of which kind; undefined where there is none, or none is needed. */
async function placeOf(
  { cgroup, uuid }: PodSettings,
  { runsNow, filters }: DeviceRequest,
  isNeeded: boolean,
): Promise<Omit<DeviceAccess, 'rules'> | undefined> {
  if (cgroup === undefined && !isNeeded) return undefined;
  if (filters ?? system.canFilterDevices()) {
    if (cgroup !== undefined) return { version: 2, directory: cgroup };
    const top = isNeeded ? rootCgroup() : undefined;
    if (top !== undefined) return { version: 2, directory: join(top, podGroupName(uuid)) };
  }
  if (!isNeeded) return undefined;
  const pid = runsNow ? { pid: process.pid } : {};
  const { groups } = placeGroups(groupHost(), { uuid, controllers: ['devices'], ...pid });
  const group = groups.find(({ version }) => version === 1);
  return group === undefined ? undefined : { version: 1, directory: group.directory };
}

/** What anybody else mounts opens no devices (user_namespaces(7)). */
function isRootOfHost(): boolean {
  const everybody = /^\s*0\s+0\s+4294967295\s*$/;
  return process.getuid?.() === 0 && everybody.test(readFileSync('/proc/self/uid_map', 'utf8'));
}

/** A flavour whose pods have the devices of the host, or of another machine. */
function refuseUncontrolled(
  settings: PodSettings,
  given: readonly AllowedDevice[],
  { flavour }: DeviceRequest,
): void {
  if (flavour.features.has('own-kernel') && given.length > 0) {
    throw new GantryError(
      'unsupported',
      `--volume ${nameOf(settings)}: a device of the host is none of the kernel's that stage1 ${flavour.name} brings: choose another with --stage1-name`,
    );
  }
  refuseReadOnly(
    settings,
    `stage1 ${flavour.name} lacks device-access, so it could be written to: leave readOnly out, or choose another with --stage1-name`,
  );
}

function refuseReadOnly(settings: PodSettings, why: string): void {
  const name = nameOf(settings, 'r');
  if (name === undefined) return;
  throw new GantryError('unsupported', `--volume ${name}: the device cannot be read-only: ${why}`);
}

/** A volume that is a device, of those that apps may only read or of all. */
function nameOf(settings: PodSettings, access?: 'r'): string | undefined {
  return givenDevices(settings).find((device) => access === undefined || device.access === access)
    ?.volume;
}
