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

/**
 * An app's /proc and /sys, inside its root.
 * @param open leaves every path as the kernel shows it: `--insecure-options=paths`
 */
export function kernelPathSteps(open: boolean): (SetupStep | AppStep)[] {
  const mounts: SetupStep[] = [
    ['make-directory', '/proc', '0555'],
    ['mount', 'proc', '/proc', 'proc', 'nosuid,nodev,noexec'],
    ['make-directory', '/sys', '0555'],
    ['mount', 'sysfs', '/sys', 'sysfs', open ? 'nosuid,nodev,noexec' : 'ro,nosuid,nodev,noexec'],
  ];
  if (open) return mounts;
  return [
    ...mounts,
    ...READ_ONLY.map((path): AppStep => ['read-only', path]),
    ...MASKED.map((path): AppStep => ['mask', path]),
  ];
}
