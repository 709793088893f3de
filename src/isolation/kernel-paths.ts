import type { AppStep, SetupStep } from './step.ts';

/**
 * What the kernel shows of itself to every process, although no namespace divides it: memory, keys,
 * timers, firmware. Apps see nothing there.
 */
const MASKED: readonly string[] = [
  '/proc/acpi',
  '/proc/config.gz',
  '/proc/interrupts', // keystroke timing of the whole host
  '/proc/kallsyms',
  '/proc/kcore',
  '/proc/keys',
  '/proc/kmsg',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap', // CVE-2020-8694: power readings tell secrets
  '/sys/firmware',
  '/sys/fs',
  '/sys/hypervisor',
  '/sys/module',
  '/sys/power',
];

/** Where writing changes the host for everyone. All of /sys is read-only besides. */
const READ_ONLY: readonly string[] = [
  '/proc/asound',
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
];

/** Slots for what an app takes along of its pod's (specs/launch-plan.md). */
const PROC_SLOT = '62';
const SYS_SLOT = '63';

/**
 * The pod's /proc and /sys, below `root`: mounted while those it comes from are in sight, as the kernel asks of
 * who is root in a user namespace only (mount_namespaces(7), Restrictions).
 * @param hostSys /sys is the host's: another of a network that is not the pod's own only root may mount
 */
export function kernelMountSteps(root: string, hostSys = false): SetupStep[] {
  return [...processMountSteps(root), ...systemMountSteps(root, hostSys)];
}

/** The pod's /proc: of the processes of whoever mounts it. */
export function processMountSteps(root: string): SetupStep[] {
  return [
    ['make-directory', `${root}/proc`, '0555'],
    ['mount', 'proc', `${root}/proc`, 'proc', 'nosuid,nodev,noexec'],
  ];
}

/** The pod's /sys: of the network of whoever mounts it. */
export function systemMountSteps(root: string, hostSys = false): SetupStep[] {
  return [
    ['make-directory', `${root}/sys`, '0555'],
    hostSys
      ? ['mount', '/sys', `${root}/sys`, '-', 'bind,rec,ro,nosuid,nodev,noexec']
      : ['mount', 'sysfs', `${root}/sys`, 'sysfs', 'nosuid,nodev,noexec'],
  ];
}

/** What an app takes along of them: mounts of its own, on which others than its masks are none. */
export function kernelTreeSteps(open: boolean, hostSys = false): SetupStep[] {
  return [
    ['open-tree', PROC_SLOT, '/proc'],
    // What the host has mounted below its own cannot be taken off.
    hostSys ? ['open-tree', SYS_SLOT, '/sys', 'recursive'] : ['open-tree', SYS_SLOT, '/sys'],
    ...(open ? [] : ([['tree-attributes', SYS_SLOT, 'ro']] as const)),
  ];
}

/**
 * An app's /proc and /sys, inside its root.
 * @param open leaves every path as the kernel shows it: `--insecure-options=paths`
 */
export function kernelPathSteps(open: boolean): (SetupStep | AppStep)[] {
  const mounts: SetupStep[] = [
    ['make-directory', '/proc', '0555'],
    ['move-tree', PROC_SLOT, '/proc'],
    ['make-directory', '/sys', '0555'],
    ['move-tree', SYS_SLOT, '/sys'],
  ];
  if (open) return mounts;
  return [
    ...mounts,
    ...READ_ONLY.map((path): AppStep => ['read-only', path]),
    ...MASKED.map((path): AppStep => ['mask', path]),
  ];
}
