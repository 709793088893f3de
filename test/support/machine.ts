import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { rootCgroup } from '../../src/isolation/cgroup.ts';
import { type Ending, exitCodeOf, runCommand } from './installation.ts';

export const repository = join(import.meta.dirname, '../..');
/** Made once per checkout. */
const TREE = join(repository, 'dist/test-machine');
/** What the machine is made of; the libraries are Node's. */
const PACKAGES = ['systemd-sysv', 'systemd-container', 'dbus', 'libatomic1', 'libstdc++6'];

/**
 * A Debian with systemd as PID 1, in a container: where machined and journald run, as they do not on
 * every machine that tests run on. It has this checkout, and the directory it was started with, at the
 * same places.
 */
export interface Machine {
  /** Runs a command to its end, as a process of no unit. */
  run(...words: readonly [string, ...string[]]): Promise<Ending>;
  /** Runs one that has to succeed; resolves to its standard output, trimmed. */
  call(...words: readonly [string, ...string[]]): Promise<string>;
  stop(): Promise<void>;
}

/** Boots one, as root; `directory` is shared with it. */
export async function bootMachine(directory: string): Promise<Machine> {
  buildTree();
  const cgroup = makeCgroup();
  const nspawn = spawn(
    'unshare',
    ['-m', '--propagation=private', 'sh', '-ec', BOOT, 'sh', ...bootWords(directory)],
    {
      stdio: 'ignore',
      detached: true,
      env: {
        PATH: process.env['PATH'] ?? '',
        CGROUP: cgroup.group,
        CGROUPS: cgroup.hierarchy,
        SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1',
        SYSTEMD_NSPAWN_LOCK: '0',
      },
    },
  );
  const stop = async () => {
    await endMachine(nspawn);
    removeCgroup(cgroup.group);
  };
  try {
    const leader = await leaderOf(nspawn);
    const run = (...words: readonly [string, ...string[]]) =>
      runCommand({
        words: ['nsenter', '-t', leader, ...NAMESPACES, '--', 'env', '-i', PATH, ...words],
      });
    const call = async (...words: readonly [string, ...string[]]) => {
      const { code, stdout, stderr } = await run(...words);
      if (code !== 0) throw new Error(`${words.join(' ')}: exit ${code}: ${stderr}`);
      return stdout.trim();
    };
    await booted(run);
    return { run, call, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

const NAMESPACES = ['-m', '-u', '-i', '-n', '-p', '-C', '-r', '-w'];
const PATH = 'PATH=/usr/sbin:/usr/bin:/sbin:/bin';

/** systemd-nspawn leaves directories in /run/systemd/nspawn where that is on a disk, and groups in its own group. */
const BOOT = `
echo $$ >"$CGROUP/cgroup.procs"
mkdir -p /run/systemd/nspawn
mount -t tmpfs tmpfs /run/systemd/nspawn
[ "$CGROUPS" = /sys/fs/cgroup ] || mount --bind "$CGROUPS" /sys/fs/cgroup
exec systemd-nspawn "$@"
`;

function bootWords(directory: string): string[] {
  return [
    '--quiet',
    '--boot',
    '--register=no',
    '--keep-unit',
    '--settings=no',
    `--directory=${TREE}`,
    '--volatile=overlay',
    '--machine=gantry-test',
    '--console=pipe',
    '--link-journal=no',
    '--capability=all',
    `--bind-ro=${repository}`,
    // Where bin/node leads.
    `--bind-ro=${realpathSync(join(repository, 'node_modules'))}`,
    `--bind=${directory}`,
    'systemd.unit=multi-user.target',
  ];
}

/** A Debian's root, from the sources that apt has on this machine; answers its path. */
export function buildTree(): string {
  if (existsSync(TREE)) return TREE;
  const made = `${TREE}.${process.pid}`;
  const release = readFileSync('/etc/os-release', 'utf8');
  const suite = /^VERSION_CODENAME="?([a-z]+)"?$/m.exec(release)?.[1] ?? 'stable';
  const include = `--include=${PACKAGES.join(',')}`;
  try {
    mkdirSync(join(repository, 'dist'), { recursive: true });
    execFileSync(
      'mmdebstrap',
      ['--quiet', '--variant=minbase', include, suite, made, ...aptSources()],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
    renameSync(made, TREE);
  } catch (error) {
    rmSync(made, { recursive: true, force: true });
    if (!existsSync(TREE)) throw error; // or somebody else was faster
  }
  return TREE;
}

function aptSources(): string[] {
  const folder = '/etc/apt/sources.list.d';
  const files = existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
  return ['/etc/apt/sources.list', ...files].filter(
    (file) => /\.(list|sources)$/.test(file) && existsSync(file),
  );
}

function makeCgroup() {
  const hierarchy = rootCgroup();
  if (hierarchy === undefined) throw new Error('the test machine needs a cgroup v2 hierarchy');
  const group = join(hierarchy, `test-machine-${process.pid}`);
  mkdirSync(group);
  return { hierarchy, group };
}

function removeCgroup(group: string): void {
  for (const entry of readdirSync(group, { withFileTypes: true })) {
    if (entry.isDirectory()) removeCgroup(join(group, entry.name));
  }
  rmdirSync(group);
}

/** The machine's init: the child of systemd-nspawn, once systemd-nspawn is there. */
async function leaderOf({ pid, exitCode }: ChildProcess): Promise<string> {
  const deadline = Date.now() + 20_000;
  while (Date.now() < deadline && exitCode === null) {
    const children = childrenOf(String(pid));
    // Until they have become something else its children have systemd-nspawn's own arguments.
    const leader = children.find((child) => /^(?!.*--boot).*systemd\.unit=/.test(commandOf(child)));
    if (leader !== undefined) return leader;
    await sleep(50);
  }
  throw new Error('the test machine does not start');
}

async function booted(run: Machine['run']): Promise<void> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const { stdout, stderr } = await run('systemctl', 'is-system-running');
    if (['running', 'degraded'].includes(stdout.trim())) return;
    if (Date.now() > deadline)
      throw new Error(`the test machine does not boot: ${stdout}${stderr}`);
    await sleep(200);
  }
}

/** With its init every process of the machine ends, and then systemd-nspawn. */
async function endMachine(nspawn: ChildProcess): Promise<void> {
  for (const child of childrenOf(String(nspawn.pid))) process.kill(Number(child), 'SIGKILL');
  if (childrenOf(String(nspawn.pid)).length === 0) nspawn.kill('SIGKILL');
  await exitCodeOf(nspawn);
}

function childrenOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  } catch {
    return [];
  }
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
