import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { GantryError } from '../error.ts';
import { rootCgroup } from '../isolation/cgroup.ts';
import { executableAt, findOnPath, requireRootsProgram } from './host-program.ts';
import type { ProvisionRequest } from './provision.ts';
import type { NspawnProvision } from './settings.ts';

/** The first that takes every option of the plan, and names of mount system calls in its filters. */
const OLDEST = 252;

const JOURNALDS = ['/usr/lib/systemd/systemd-journald', '/lib/systemd/systemd-journald'];

/** Where a host with systemd has what says that machined can be called (sd_booted(3), D-Bus activation). */
const MACHINED = {
  booted: '/run/systemd/system',
  bus: '/run/dbus/system_bus_socket',
  activations: ['/usr/share/dbus-1/system-services', '/usr/local/share/dbus-1/system-services'],
  masks: ['/etc/systemd/system', '/run/systemd/system'],
};

/**
 * Finds systemd-nspawn, and whether and how machined gets to know the pod.
 * @throws GantryError `unsupported` where it is missing, older than 252, or has no groups to make
 */
export function findNspawn({ runsNow }: ProvisionRequest): NspawnProvision {
  const program = findOnPath('systemd-nspawn', process.env['PATH'] ?? '');
  if (program === undefined) {
    throw new GantryError(
      'unsupported',
      'stage1 nspawn needs systemd-nspawn, which is not on the PATH: install it (Debian and Fedora: systemd-container), or choose another with --stage1-name',
    );
  }
  requireRootsProgram('nspawn', program);
  const version = nspawnVersion(program);
  if (version === undefined || version < OLDEST) {
    throw new GantryError(
      'unsupported',
      `stage1 nspawn needs systemd-nspawn ${OLDEST} or later, and ${program} is ${version ?? 'of no version that it tells'}: install a later one, or choose another with --stage1-name`,
    );
  }
  const cgroups = rootCgroup();
  if (cgroups === undefined) {
    throw new GantryError(
      'unsupported',
      'stage1 nspawn needs a cgroup v2 hierarchy that groups can be made in: mount one (cgroup2) on /sys/fs/cgroup, or choose another with --stage1-name',
    );
  }
  const found: NspawnProvision = { kind: 'nspawn', program, cgroups };
  if (!machinedRuns()) return found;
  const journald = JOURNALDS.find((path) => executableAt(path) !== undefined);
  return {
    ...found,
    machined: runsNow && isService() ? 'service' : 'scope',
    ...(journald === undefined ? {} : { journald }),
  };
}

/**
 * The major version of systemd that a systemd-nspawn is of. It is linked to a library that has it in its name
 * (libsystemd-shared-252.so), which is found in less time than the program takes to start; any other is asked.
 */
function nspawnVersion(program: string): number | undefined {
  const linked = /libsystemd-shared-(\d{1,5})[-.\w]*\.so/.exec(readFileSync(program, 'latin1'));
  if (linked !== null) return Number(linked[1]);
  const { stdout } = spawnSync(program, ['--version'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    encoding: 'utf8',
    timeout: 10_000,
    env: { PATH: process.env['PATH'] ?? '' },
  });
  const told = /^systemd (\d{1,5})\b/.exec(stdout ?? '');
  return told === null ? undefined : Number(told[1]);
}

/** Whether machined runs, or would on being asked: it ends where there is no machine. */
function machinedRuns(): boolean {
  return (
    existsSync(MACHINED.booted) &&
    existsSync(MACHINED.bus) &&
    MACHINED.activations.some((at) => existsSync(join(at, 'org.freedesktop.machine1.service'))) &&
    !MACHINED.masks.some((at) => isMasked(join(at, 'systemd-machined.service')))
  );
}

function isMasked(unit: string): boolean {
  try {
    return readlinkSync(unit) === '/dev/null';
  } catch {
    return false;
  }
}

/**
 * Whether this process is what a system service consists of: then the service is the machine, and ending
 * the one ends the other. Any other process (a shell's, one of several of a service, a user's manager's)
 * must not have its unit taken for the pod.
 */
function isService(): boolean {
  if (process.env['SYSTEMD_EXEC_PID'] !== String(process.pid)) return false;
  const groups = readFileSync('/proc/self/cgroup', 'utf8');
  return (
    /^(0:|\d+:name=systemd):.*\.service(\/.*)?$/m.test(groups) && !/\/user-\d+\.slice/.test(groups)
  );
}
