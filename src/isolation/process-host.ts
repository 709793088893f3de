import { existsSync, readFileSync } from 'node:fs';
import { RLIMIT_NAMES } from '../image/rlimit.ts';
import type { ProcessHost } from './process-limits.ts';

/** As lines of /proc/self/limits begin (proc_pid_limits(5)). */
const TITLES: Readonly<Record<string, string>> = {
  as: 'Max address space',
  core: 'Max core file size',
  cpu: 'Max cpu time',
  data: 'Max data size',
  fsize: 'Max file size',
  locks: 'Max file locks',
  memlock: 'Max locked memory',
  msgqueue: 'Max msgqueue size',
  nice: 'Max nice priority',
  nofile: 'Max open files',
  nproc: 'Max processes',
  rss: 'Max resident set',
  rtprio: 'Max realtime priority',
  rttime: 'Max realtime timeout',
  sigpending: 'Max pending signals',
  stack: 'Max stack size',
};

/** Its number, which is its bit in CapEff. */
const CAP_SYS_RESOURCE = 24n;

/**
 * What this host, by this process, lets those of a pod become.
 * @param now the pod is started by this process
 */
export function readProcessHost(now: boolean): ProcessHost {
  const apparmor = hasAppArmor() ? loadedProfiles() : undefined;
  return {
    now,
    raises: maySysResource(readFileSync('/proc/self/status', 'utf8')),
    hardLimits: hardLimits(readFileSync('/proc/self/limits', 'utf8')),
    oomScore: Number(readFileSync('/proc/self/oom_score_adj', 'utf8')),
    // The file system is mounted by whoever loads a policy.
    selinux: existsSync('/sys/fs/selinux/enforce'),
    ...(apparmor === undefined ? {} : { apparmor }),
  };
}

/** A machine: its root may raise what it likes, and its kernel knows no label of the host's. */
export const MACHINE_HOST: ProcessHost = {
  now: true,
  raises: true,
  hardLimits: new Map(),
  oomScore: 0,
  selinux: false,
};

/** The hard limits in the text of /proc/self/limits; those without end are absent. */
export function hardLimits(text: string): Map<string, bigint> {
  const limits = new Map<string, bigint>();
  const lines = text.split('\n');
  for (const name of RLIMIT_NAMES) {
    const title = TITLES[name] ?? '';
    const line = lines.find((candidate) => candidate.startsWith(`${title} `)) ?? '';
    const hard = line.slice(title.length).trim().split(/\s+/)[1] ?? 'unlimited';
    if (hard !== 'unlimited') limits.set(name, BigInt(hard));
  }
  return limits;
}

/** Whether the text of /proc/self/status has CAP_SYS_RESOURCE among the effective capabilities. */
export function maySysResource(status: string): boolean {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  return ((effective >> CAP_SYS_RESOURCE) & 1n) === 1n;
}

function hasAppArmor(): boolean {
  try {
    return readFileSync('/sys/module/apparmor/parameters/enabled', 'utf8').startsWith('Y');
  } catch {
    return false;
  }
}

/** By the kernel's list, lines `NAME (MODE)`; where that cannot be read, the kernel says when the pod starts. */
function loadedProfiles(): (profile: string) => boolean {
  let names: Set<string>;
  try {
    const text = readFileSync('/sys/kernel/security/apparmor/profiles', 'utf8');
    names = new Set(text.split('\n').map((line) => line.replace(/ \([a-z]+\)$/, '')));
  } catch {
    return () => true;
  }
  return (profile) => profile === 'unconfined' || names.has(profile);
}
