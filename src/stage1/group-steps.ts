import { appGroup, initGroup, type PodGroup } from '../isolation/control-groups.ts';
import {
  type ControlSetting,
  controlSettings,
  type Limits,
  withShares,
} from '../isolation/limits.ts';
import type {
  AppStep,
  GroupStep,
  SetupStep,
  SupervisorStep,
  TeardownStep,
} from '../isolation/step.ts';
import type { AppSettings, PodSettings } from './settings.ts';

type JoinStep = readonly ['join-cgroup', directory: string];

/** The slots before are for mounts (specs/launch-plan.md, Sections). */
const FIRST_GROUP_SLOT = 64;

/** What bounds an app or a pod in one of its groups. */
function settingsIn(group: PodGroup, limits: Limits | undefined): ControlSetting[] {
  if (limits === undefined) return [];
  return group.controllers.flatMap((name) => controlSettings(name, group.version, limits));
}

function set(directory: string, settings: readonly ControlSetting[]): GroupStep[] {
  return settings.map(({ file, value, optional }) =>
    optional
      ? ['set-cgroup', directory, file, value, 'optional']
      : ['set-cgroup', directory, file, value],
  );
}

/** Whether the pod has groups for apps there. */
function holdsApps(group: PodGroup, pod: PodSettings): boolean {
  // Which limits the apps of a mutable pod will have nobody knows.
  if (pod.mutable !== undefined) return group.version === 2;
  return pod.apps.some(({ limits }) => settingsIn(group, limits).length > 0);
}

/** Makes all groups of a pod, and puts its init where it belongs. */
export function podGroupSteps(pod: PodSettings): SupervisorStep[] {
  const { cgroup } = pod;
  const groups = groupsOfHost(pod);
  const unified = groups.find(({ version }) => version === 2);
  const others = groups.filter(({ version }) => version === 1);
  return [
    ...(cgroup === undefined ? [] : unifiedSteps(pod, cgroup, unified)),
    ...others.flatMap((group) => groupSteps(group, pod)),
  ];
}

function unifiedSteps(
  pod: PodSettings,
  cgroup: string,
  group: PodGroup | undefined,
): SupervisorStep[] {
  if (group === undefined) {
    return [
      ['make-cgroup', cgroup],
      ['join-cgroup', cgroup],
    ];
  }
  return [...handDownSteps(group), ...groupSteps(group, pod)];
}

/** Those that are made on the host, not in a machine. */
function groupsOfHost({ groups = [] }: PodSettings): PodGroup[] {
  return groups.filter(({ inside }) => inside !== true);
}

/**
 * Makes the groups of a pod inside of its machine, from section pod: init, which does that, is in the topmost one, and
 * goes where it belongs itself.
 */
export function insideGroupSteps(pod: PodSettings): SetupStep[] {
  return (pod.groups ?? [])
    .filter(({ inside }) => inside === true)
    .flatMap((group) => [...handDownSteps(group), ...groupSteps(group, pod)])
    .map((step): SetupStep => {
      return step[0] === 'join-cgroup' ? ['set-cgroup', step[1], 'cgroup.procs', '0'] : step;
    });
}

/** Has the group above the pod's give it what is needed. */
function handDownSteps({ above, controllers }: PodGroup): GroupStep[] {
  if (above === undefined) return [];
  const { directory, leaf } = above;
  return [
    ...(leaf === undefined
      ? []
      : ([
          ['make-cgroup', leaf],
          ['set-cgroup', leaf, 'cgroup.procs', '0'],
        ] as const)),
    handDownStep(directory, controllers),
  ];
}

function handDownStep(directory: string, controllers: readonly string[]): GroupStep {
  const words = controllers.map((name) => `+${name}`).join(' ');
  return ['set-cgroup', directory, 'cgroup.subtree_control', words];
}

function groupSteps(group: PodGroup, pod: PodSettings): (GroupStep | JoinStep)[] {
  const { directory, version, controllers } = group;
  const own = settingsIn(group, withShares(pod.limits, pod.shares));
  const ofApps = holdsApps(group, pod);
  const joins = version === 2 || settingsIn(group, pod.limits).length > 0;
  if (!joins && !ofApps) return [];
  const init = version === 2 && ofApps ? initGroup(group) : directory;
  return [
    ['make-cgroup', directory],
    ...set(directory, own),
    ...(init === directory
      ? []
      : ([handDownStep(directory, controllers), ['make-cgroup', init]] as const)),
    ...(joins ? ([['join-cgroup', init]] as const) : []),
    ...pod.apps.flatMap((app) => appGroupSteps(group, app)),
  ];
}

function appGroupSteps(group: PodGroup, app: AppSettings): GroupStep[] {
  const settings = settingsIn(group, app.limits);
  if (settings.length === 0) return [];
  const directory = appGroup(group, app.name);
  return [['make-cgroup', directory], ...set(directory, settings)];
}

/** The groups an app gets into. */
function groupsOf(app: AppSettings, pod: PodSettings): PodGroup[] {
  return (pod.groups ?? []).filter((group) => settingsIn(group, app.limits).length > 0);
}

/** An app's groups in its slots, in order: four of v1 at most, so that those of 64 apps have one each. */
function slotsOf(pod: PodSettings, app: AppSettings): { slot: string; group: PodGroup }[] {
  const before = pod.apps.slice(
    0,
    pod.apps.findIndex(({ name }) => name === app.name),
  );
  const first = before.reduce((sum, other) => sum + groupsOf(other, pod).length, FIRST_GROUP_SLOT);
  return groupsOf(app, pod).map((group, index) => ({ slot: String(first + index), group }));
}

/** Ways into the groups of the pod's apps, while the host's hierarchies are in view. */
export function openGroupSteps(pod: PodSettings): SetupStep[] {
  return appSlots(pod).map(({ slot, directory }) => ['open-cgroup', slot, directory]);
}

/** Every slot for a group of an app, and where that is. */
function appSlots(pod: PodSettings): { slot: string; directory: string }[] {
  return pod.apps.flatMap((app) =>
    slotsOf(pod, app).map(({ slot, group }) => ({ slot, directory: appGroup(group, app.name) })),
  );
}

/** What a container is given of the groups of its apps: nothing else of the host's hierarchies is in view there. */
export function givenGroupSteps(pod: PodSettings, root: string): SetupStep[] {
  return appSlots(pod).flatMap(({ slot, directory }): SetupStep[] => [
    ['make-directory', `${root}${GIVEN_GROUPS}/${slot}`, '0755'],
    ['mount', directory, `${root}${GIVEN_GROUPS}/${slot}`, '-', 'bind,nosuid,nodev,noexec'],
  ]);
}

/** The same as `openGroupSteps`, where those are. */
export function openGivenGroupSteps(pod: PodSettings): SetupStep[] {
  return appSlots(pod).map(({ slot }) => ['open-cgroup', slot, `${GIVEN_GROUPS}/${slot}`]);
}

const GIVEN_GROUPS = '/groups';

/** The first that an app does in mounts of its own: everything it is made of then counts as its own. */
export function enterGroupSteps(pod: PodSettings, app: AppSettings): AppStep[] {
  return slotsOf(pod, app).map(
    ({ slot, group }): AppStep => ['enter-cgroup', slot, appGroup(group, app.name)],
  );
}

/** The groups of an app that comes to a running pod, made when it starts. */
export function laterGroupSteps(pod: PodSettings, app: AppSettings): SetupStep[] {
  return groupsOf(app, pod).flatMap((group): SetupStep[] => [
    // The one of v2 has been there since the pod began.
    ...(group.version === 1 ? ([['make-cgroup', group.directory]] as const) : []),
    ...appGroupSteps(group, app),
  ]);
}

/** What the kernel killed for want of memory is known by the group as long as that is there. */
function oomSteps(pod: PodSettings, app: AppSettings): TeardownStep[] {
  if (app.limits?.memory === undefined || pod.mutable !== undefined) return [];
  return groupsOfHost(pod)
    .filter(({ controllers }) => controllers.includes('memory'))
    .map((group): TeardownStep => {
      const file = group.version === 2 ? 'memory.events' : 'memory.oom_control';
      return ['tell-oom', app.name, appGroup(group, app.name), file];
    });
}

/** Every group of the pod's goes with it, and those of its apps that lie below. */
export function removeGroupSteps(pod: PodSettings): TeardownStep[] {
  const { cgroup, deviceAccess } = pod;
  const directories = [
    ...(cgroup === undefined ? [] : [cgroup]),
    ...groupsOfHost(pod).map(({ directory }) => directory),
    ...(deviceAccess === undefined ? [] : [deviceAccess.directory]),
  ];
  return [
    ...pod.apps.flatMap((app) => oomSteps(pod, app)),
    ...[...new Set(directories)].map((directory): TeardownStep => ['remove-cgroup', directory]),
  ];
}
