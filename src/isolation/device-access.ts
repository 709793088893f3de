import { type MajorMinor, splitDevice } from '../system/device-number.ts';
import { DEVICE_NODES } from './devices.ts';
import type { SupervisorStep } from './step.ts';

/** A device of the host's kernel, by its numbers. */
export interface DeviceNumber extends MajorMinor {
  readonly kind: 'char' | 'block';
}

/** A device that apps may open, for reading alone or for writing as well. */
export interface AllowedDevice extends DeviceNumber {
  readonly access: 'r' | 'rw';
}

/** What processes of a control group may do with some devices; `m` is making a node, which opens nothing. */
export interface DeviceRule {
  readonly kind: 'char' | 'block';
  readonly major: number | '*';
  readonly minor: number | '*';
  readonly access: 'r' | 'rw' | 'm';
}

/** Where devices are allowed one by one: of v1 a group with the controller `devices`, of v2 any group. */
export interface DeviceAccess {
  readonly version: 1 | 2;
  /** Absolute: the group. */
  readonly directory: string;
  readonly rules: readonly DeviceRule[];
}

/** Pseudo-terminals (admin-guide/devices.txt): the multiplexer, and those of a devpts. */
const TERMINALS: readonly DeviceRule[] = [
  { kind: 'char', major: 5, minor: 2, access: 'rw' },
  { kind: 'char', major: 136, minor: '*', access: 'rw' },
];

/**
 * Whether a node can be made is for CAP_MKNOD to say, as with other runtimes: images are unpacked and backups
 * restored with it. What is so made cannot be opened.
 */
const MAKING: readonly DeviceRule[] = [
  { kind: 'char', major: '*', minor: '*', access: 'm' },
  { kind: 'block', major: '*', minor: '*', access: 'm' },
];

/** All that is allowed to the apps of a pod: what its /dev has, and devices it was given as volumes. */
export function deviceRules(given: readonly AllowedDevice[]): DeviceRule[] {
  const nodes = DEVICE_NODES.map(
    ({ major, minor }): DeviceRule => ({ kind: 'char', major, minor, access: 'rw' }),
  );
  return [...MAKING, ...nodes, ...TERMINALS, ...given];
}

/** What the supervisor does for a pod's processes to have these devices and no others. */
export function deviceAccessSteps(access: DeviceAccess): SupervisorStep[] {
  const { version, directory, rules } = access;
  if (version === 2) return [['device-access', directory, ...rules.map(filterWord)]];
  return [
    ['make-cgroup', directory],
    // Documentation/admin-guide/cgroup-v1/devices.rst: `a` takes everything away.
    ['set-cgroup', directory, 'devices.deny', 'a'],
    ...rules.map(
      (rule): SupervisorStep => ['set-cgroup', directory, 'devices.allow', listed(rule)],
    ),
    ['join-cgroup', directory],
  ];
}

/** A rule as the word device-access has it (specs/launch-plan.md). */
function filterWord({ kind, major, minor, access }: DeviceRule): string {
  return `${kind[0]}:${major}:${minor}:${access}`;
}

/** A rule as v1's control files have it. */
function listed({ kind, major, minor, access }: DeviceRule): string {
  return `${kind[0]} ${major}:${minor} ${access}`;
}

/** A device's number from its `st_rdev`. */
export function deviceNumber(kind: 'char' | 'block', rdev: number): DeviceNumber {
  return { kind, ...splitDevice(BigInt(rdev)) };
}
