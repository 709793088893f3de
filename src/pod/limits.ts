import { GantryError } from '../error.ts';
import type { Isolator } from '../image/isolator.ts';
import {
  type GroupHost,
  groupHost,
  type PodGroup,
  podGroupName,
  usableGroups,
} from '../isolation/control-groups.ts';
import { LIMIT_CONTROLLERS, type Limits, readLimits, sumOfShares } from '../isolation/limits.ts';
import type { Flavour } from '../stage1/flavour.ts';
import type { AppSettings, PodSettings } from '../stage1/settings.ts';
import type { NamedApp } from './manifest.ts';
import type { PodRequest, Warnings } from './request.ts';

/** What a pod's limits are settled from. */
export interface LimitRequest {
  readonly request: Pick<PodRequest, 'isolators' | 'runsNow' | 'mutable'>;
  /** In the order of the settings'. */
  readonly apps: readonly NamedApp[];
  readonly flavour: Pick<Flavour, 'features' | 'name'>;
  readonly report: Warnings;
  /** This host's unless a test has another. */
  readonly host?: GroupHost;
}

/** An app, or the pod, of which some limits may not be enforced. */
interface Bounded {
  /** For messages: `app "web"`. */
  readonly where: string;
  readonly isolators: readonly Isolator[];
  /** Those the operator asked for. */
  readonly asked: readonly string[];
}

/**
 * Decides where a pod's groups go, and which limits are enforced. What only an image asks for and the host cannot do is
 * told of and left out (appc spec/ace.md, "Isolators").
 * @throws GantryError `unsupported` for what the operator asked for
 */
export function settleLimits(settings: PodSettings, limited: LimitRequest): PodSettings {
  const { request, apps, report } = limited;
  const { isolators = [] } = request;
  const { groups, missing } = placement(settings, limited);
  const enforced = (bounded: Bounded) => enforcedLimits(bounded, missing, report);
  const pod = { where: 'pod', isolators, asked: isolators.map(({ name }) => name) };
  const own = enforcedLimits(pod, isScope(settings) ? OF_A_SCOPE : missing, report);
  // Of what only an image asks for none is taken from what is not the pod's.
  const shares = sumOfShares(apps.map((app) => readLimits(app.request.isolators ?? [])));
  const unified = groups.find(({ version, inside }) => version === 2 && inside !== true);
  return {
    ...settings,
    ...(unified === undefined ? {} : { cgroup: unified.directory }),
    ...(groups.length === 0 ? {} : { groups }),
    ...(own === undefined ? {} : { limits: own }),
    ...(shares === undefined ? {} : { shares }),
    apps: settings.apps.map((app, index) => limitedApp(app, apps[index], enforced)),
  };
}

/**
 * The same for an app that comes to a running pod, whose groups are those the pod began with.
 * @throws GantryError `unsupported`
 */
export function settleLaterLimits(
  app: AppSettings,
  named: NamedApp,
  groups: readonly PodGroup[],
  report: Warnings,
): AppSettings {
  const there = groups.flatMap(({ controllers }) =>
    controllers.map((name) => (name === 'blkio' ? 'io' : name)),
  );
  const lacking = CONTROLLERS.filter((name) => !there.includes(name));
  const missing = new Map(lacking.map((name) => [name, 'the pod has no control group for it']));
  return limitedApp(app, named, (bounded) => enforcedLimits(bounded, missing, report));
}

function limitedApp(
  app: AppSettings,
  named: NamedApp | undefined,
  enforced: (bounded: Bounded) => Limits | undefined,
): AppSettings {
  const { limits: _, ...rest } = app;
  const limits = enforced({
    where: `app ${JSON.stringify(app.name)}`,
    isolators: named?.section.isolators ?? [],
    asked: (named?.request.isolators ?? []).map(({ name }) => name),
  });
  return limits === undefined ? rest : { ...rest, limits };
}

/** Which controllers there are not, and why. */
type Missing = ReadonlyMap<string, string>;

const CONTROLLERS = [...new Set(Object.values(LIMIT_CONTROLLERS))];

/** systemd moves the pod into a group that it makes, out of any of ours. */
function isScope({ provision }: PodSettings): boolean {
  return provision?.kind === 'nspawn' && provision.machined === 'scope';
}

const OF_A_SCOPE: Missing = new Map(
  CONTROLLERS.map((name) => [name, 'systemd has a group of its own for what machined knows']),
);

/** In a machine all groups are its own kernel's. */
function placement(
  settings: PodSettings,
  { request, apps, flavour, host = groupHost() }: LimitRequest,
): { groups: readonly PodGroup[]; missing: Missing } {
  if (!flavour.features.has('limits')) {
    const why = `stage1 ${flavour.name} has no limits`;
    return { groups: [], missing: new Map(CONTROLLERS.map((name) => [name, why])) };
  }
  const controllers = neededControllers(settings, apps, request.isolators ?? []);
  if (settings.plan === 'kvm') return inMachine(settings.uuid, controllers);
  const { groups, missing } = usableGroups(host, {
    uuid: settings.uuid,
    controllers,
    ...(request.runsNow === true ? { pid: process.pid } : {}),
  });
  const why = (name: string) =>
    `this host has no control groups with ${name} that can be set (cgroups(7))`;
  return { groups, missing: new Map(missing.map((name) => [name, why(name)])) };
}

/** Where its init has the one hierarchy (stage1/kvm/guest-init.c). */
const MACHINE_GROUPS = '/cgroups';

function inMachine(
  uuid: string,
  needed: readonly string[],
): { groups: readonly PodGroup[]; missing: Missing } {
  const controllers = needed.filter((name) => name !== 'io');
  const group: PodGroup = {
    version: 2,
    controllers,
    directory: `${MACHINE_GROUPS}/${podGroupName(uuid)}`,
    inside: true,
    above: { directory: MACHINE_GROUPS },
  };
  return {
    groups: controllers.length === 0 ? [] : [group],
    missing: new Map([['io', 'a machine has no disk of its own']]),
  };
}

/** Those a mutable pod will need nobody knows: it begins with what there is. */
function neededControllers(
  { mutable }: PodSettings,
  apps: readonly NamedApp[],
  isolators: readonly Isolator[],
): readonly string[] {
  if (mutable !== undefined) return CONTROLLERS;
  const all = [...isolators, ...apps.flatMap(({ section }) => section.isolators)];
  return [...new Set(all.flatMap(({ name }) => LIMIT_CONTROLLERS[name] ?? []))];
}

function enforcedLimits(
  { where, isolators, asked }: Bounded,
  missing: Missing,
  report: Warnings,
): Limits | undefined {
  const left = isolators.filter(({ name }) => {
    const controller = LIMIT_CONTROLLERS[name];
    const why = controller === undefined ? undefined : missing.get(controller);
    if (why === undefined) return true;
    if (asked.includes(name)) {
      throw new GantryError(
        'unsupported',
        `${where}: ${OPTIONS[name] ?? name} cannot be enforced: ${why}: leave it out, or start the pod elsewhere`,
      );
    }
    report.warn(`${where}: isolator ${name} is not enforced: ${why}`);
    return false;
  });
  return readLimits(left);
}

/** What the operator knows them by. */
const OPTIONS: Readonly<Record<string, string>> = {
  'resource/memory': '--memory',
  'resource/cpu': '--cpu',
  'resource/pids': '--pids',
  'os/linux/cpu-shares': '--cpu-shares',
  'os/linux/io-weight': '--io-weight',
};
