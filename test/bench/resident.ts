import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Installation } from '../support/installation.ts';
import type { Containerd } from './peers/containerd.ts';
import { type Podman, podmanRun } from './peers/podman.ts';

/** Resident memory per running pod, in bytes: what it has mapped, and its fair share of that. */
export interface Resident {
  readonly name: string;
  readonly note: string;
  /** Sum of RSS: pages shared between processes count once for each. */
  readonly rss: number;
  /** Sum of PSS: a shared page counts once in all. */
  readonly pss: number;
}

/** How prepared pods are started that stay. */
export const gantryPods = {
  start(gantry: Installation, uuid: string): ChildProcess {
    const [program, ...args] = gantry.command('run-prepared', uuid).words;
    return spawn(program, args, { stdio: 'ignore' });
  },
  async ready(gantry: Installation, uuid: string): Promise<void> {
    await gantry.call('status', '--wait-ready=60s', uuid);
  },
};

/** Starts `count` pods that wait, measures what Gantry keeps beside their apps, and stops them. */
export async function gantryResident(
  gantry: Installation,
  reference: string,
  count: number,
): Promise<Resident> {
  const running: ChildProcess[] = [];
  const uuids: string[] = [];
  try {
    for (let pod = 0; pod < count; pod++) {
      const uuid = await gantry.call('prepare', reference, '--exec=/bin/pause');
      running.push(gantryPods.start(gantry, uuid));
      uuids.push(uuid);
      await gantryPods.ready(gantry, uuid);
    }
    const note = `supervisor and init of ${count} pods; the app's own memory left out`;
    return { name: 'gantry', note, ...perPod(besidesApps(running), count) };
  } finally {
    for (const uuid of uuids) await gantry.call('stop', '--force', uuid);
    for (const child of running) if (child.exitCode === null) await ended(child);
    await gantry.call('gc', '--grace-period=0s');
  }
}

/** The same for podman: its conmon, one for each container. */
export async function podmanResident(podman: Podman, count: number): Promise<Resident> {
  const pids: string[] = [];
  for (let pod = 0; pod < count; pod++) {
    const id = await podman.call(...podmanRun, '--detach', 'small', '/bin/pause');
    pids.push(await podman.call('inspect', '--format', '{{.State.ConmonPid}}', id));
  }
  return { name: 'podman', note: 'conmon', ...perPod(pids, count) };
}

/** The same for containerd: its shims; the daemon itself is left out. */
export async function containerdResident(
  containerd: Containerd,
  image: string,
  count: number,
): Promise<Resident> {
  const names = Array.from({ length: count }, (_, pod) => `bench-resident-${pod}`);
  for (const name of names) await containerd.call('run', '--detach', image, name, '/bin/pause');
  const shims = processes().filter((pid) => {
    const words = commandLine(pid);
    return words[0]?.includes('containerd-shim') && names.some((name) => words.includes(name));
  });
  const resident = perPod(shims, count);
  for (const name of names) {
    await containerd.call('tasks', 'kill', '--signal=KILL', name);
    await containerd
      .call('tasks', 'delete', name)
      .catch(() => containerd.call('tasks', 'delete', '--force', name));
    await containerd.call('containers', 'delete', name);
  }
  return { name: 'containerd', note: 'containerd-shim-runc-v2; the daemon left out', ...resident };
}

function ended(child: ChildProcess): Promise<unknown> {
  return Promise.race([new Promise((resolve) => child.once('exit', resolve)), sleep(10_000)]);
}

/** What the processes have resident, in bytes, divided by the number of pods. */
export function perPod(pids: readonly string[], count: number): { rss: number; pss: number } {
  const sum = (field: string) =>
    pids.reduce((total, pid) => total + kibibytes(pid, field), 0) * (1024 / count);
  return { rss: sum('Rss'), pss: sum('Pss') };
}

function kibibytes(pid: string, field: string): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(rollup)?.[1] ?? Number.NaN);
}

/** Everything below the processes we started, except the apps themselves. */
export function besidesApps(started: readonly ChildProcess[]): string[] {
  const found = started.map(({ pid }) => String(pid));
  // A parent may have a larger number than its child, so look until nothing new is found.
  for (let before = 0; before !== found.length; ) {
    before = found.length;
    const children = processes().filter((pid) => found.includes(parentOf(pid)));
    found.push(...children.filter((pid) => !found.includes(pid)));
  }
  return found.filter((pid) => commandLine(pid)[0] !== '/bin/pause');
}

/** proc_pid_stat(5): the fourth field, behind a name that may hold blanks and brackets. */
function parentOf(pid: string): string {
  const stat = readOrEmpty(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] ?? '';
}

function processes(): string[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name));
}

function commandLine(pid: string): string[] {
  return readOrEmpty(`/proc/${pid}/cmdline`).split('\0');
}

/** Empty when the process is gone meanwhile. */
function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
