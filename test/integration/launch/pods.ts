import { type ChildProcess, spawn } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LOCK, system } from '../../../src/system/binding.ts';
import { exitCodeOf } from '../../support/installation.ts';
import { buildProgram } from '../../support/program.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

const stage1 =
  process.env['GANTRY_STAGE1'] ?? join(import.meta.dirname, '../../../dist/stage1/native');

/** What every test pod runs: each pair of arguments is one thing to do. */
const probe = buildProgram(readFileSync(join(import.meta.dirname, 'probe.c'), 'utf8'));

export type Step = readonly string[];

/** An app of a hand-made plan. */
export interface AppPlan {
  /** Arguments of the probe. */
  readonly do: readonly string[];
  /** Carried out before `exec`, as root in the app's root. */
  readonly steps?: readonly Step[];
  /** Replaces the probe. */
  readonly exec?: string;
  /** Event handlers: likewise, in sections of their own with the steps of the app. */
  readonly before?: Handler;
  readonly after?: Handler;
}

type Handler = Pick<AppPlan, 'do' | 'exec'>;

export interface PodPlan {
  readonly apps: Readonly<Record<string, AppPlan>>;
  readonly terminal?: boolean;
  readonly grace?: number;
  readonly supervisor?: readonly Step[];
  readonly pod?: readonly Step[];
  /** Of section pod, while the host's mounts are in view. */
  readonly before?: readonly Step[];
  readonly teardown?: readonly Step[];
}

type Stream = 'ignore' | 'pipe' | 'inherit' | number;

/** How a pod is started. */
export interface StartOptions {
  readonly environment?: Readonly<Record<string, string>>;
  /** Of the standard streams. */
  readonly stdio?: readonly [Stream, Stream, Stream];
  readonly stage1?: string;
}

/** A plan as specs/launch-plan.md has it. */
export function encodeSteps(steps: readonly Step[]): Buffer {
  const words = steps.flatMap(([word = '', ...args]) => [word, String(args.length), ...args]);
  return Buffer.from(['gantry-plan', '1', ...words].map((word) => `${word}\0`).join(''));
}

/** The steps of a whole pod whose apps have overlay roots over `image`. */
export function podSteps(image: string, plan: PodPlan): Step[] {
  const names = Object.keys(plan.apps);
  return [
    ['section', 'supervisor'],
    ['namespaces', 'pid', 'mount', 'ipc', 'uts', 'net'],
    ['grace', String(plan.grace ?? 2)],
    ['output', plan.terminal ? 'terminal' : 'lines'],
    ...(plan.supervisor ?? []),
    ['section', 'pod'],
    ['private-mounts'],
    ...(plan.before ?? []),
    ['hostname', 'gantry-test'],
    ['loopback'],
    ['mount', 'tmpfs', 'root', 'tmpfs', 'nosuid,nodev', 'mode=0755'],
    ...names.flatMap((name) => rootSteps(image, name)),
    ['pivot-root', 'root'],
    ['make-directory', '/proc', '0555'],
    ['mount', 'proc', '/proc', 'proc', 'nosuid,nodev,noexec'],
    ['make-directory', '/dev', '0755'],
    ['mount', 'tmpfs', '/dev', 'tmpfs', 'nosuid,noexec', 'mode=0755'],
    ['make-device', '/dev/null', '0666', 'char', '1', '3'],
    ['make-file', '/dev/console', '0600'],
    ['make-directory', '/dev/pts', '0755'],
    ['mount', 'devpts', '/dev/pts', 'devpts', 'nosuid,noexec', 'ptmxmode=0666', 'mode=0620'],
    ...(plan.terminal ? [['open-terminal', '/dev/pts/ptmx']] : []),
    ...(plan.pod ?? []),
    ...names.flatMap((name) => appSteps(name, plan)),
    ['section', 'teardown'],
    ...(plan.teardown ?? []),
  ];
}

function rootSteps(image: string, name: string): Step[] {
  const root = `root/apps/${name}`;
  const own = `apps/${name}`;
  const options = [`lowerdir=${image}`, `upperdir=${own}/upper`, `workdir=${own}/work`];
  return [
    ['make-directory', root, '0755'],
    ['mount', 'overlay', root, 'overlay', 'nodev', ...options],
  ];
}

function appSteps(name: string, plan: PodPlan): Step[] {
  const app = plan.apps[name] as AppPlan;
  const { before, after } = app;
  return [
    ...(before === undefined ? [] : partSteps('pre-start', name, plan, before)),
    ...partSteps('app', name, plan, app),
    ...(after === undefined ? [] : partSteps('post-stop', name, plan, after)),
  ];
}

function partSteps(part: string, name: string, plan: PodPlan, what: Handler): Step[] {
  const { steps = [] } = plan.apps[name] as AppPlan;
  const { do: args, exec = '/bin/probe' } = what;
  return [
    ['section', part, name],
    ['unshare', 'mount'],
    ['open-tree', '0', '/proc'],
    ['open-tree', '1', '/dev', 'recursive'],
    ['pivot-root', `/apps/${name}`],
    ['make-directory', '/proc', '0555'],
    ['move-tree', '0', '/proc'],
    ['make-directory', '/dev', '0755'],
    ['move-tree', '1', '/dev'],
    ...(plan.terminal ? [['terminal', '/dev/console']] : []),
    ['env', 'PATH', '/bin'],
    ['umask', '0022'],
    ...steps,
    ['exec', exec, 'probe', ...args],
  ];
}

/** The plan of an app that comes to a running pod. */
export function laterAppSteps(image: string, name: string, app: AppPlan): Step[] {
  const own = `apps/${name}`;
  const options = [`lowerdir=${image}`, `upperdir=${own}/upper`, `workdir=${own}/work`];
  const [section = [], unshare = [], ...steps] = appSteps(name, { apps: { [name]: app } });
  return [
    ['section', 'outside'],
    ['private-mounts'],
    ['mount', 'overlay', 'root', 'overlay', 'nodev', ...options],
    ['open-tree', '9', 'root'],
    section,
    unshare,
    ['make-directory', `/apps/${name}`, '0755'],
    ['move-tree', '9', `/apps/${name}`],
    ...steps,
  ];
}

/** A pod directory with a hand-made plan, ready to be started. */
export class LaunchPod {
  readonly directory: string;
  readonly image: string;

  /** Below a temporary directory of the running test, in `at` of it (`pods/run/UUID`). */
  constructor(plan: PodPlan, at = 'pod', base = temporaryDirectory()) {
    this.image = join(base, 'image');
    this.directory = join(base, at);
    mkdirSync(join(this.image, 'bin'), { recursive: true });
    if (!existsSync(join(this.image, 'bin/probe'))) {
      copyFileSync(probe, join(this.image, 'bin/probe'));
    }
    mkdirSync(join(this.directory, 'root'), { recursive: true });
    mkdirSync(join(this.directory, 'apps'), { recursive: true });
    for (const name of Object.keys(plan.apps)) {
      mkdirSync(join(this.directory, 'apps', name, 'upper'), { recursive: true });
      mkdirSync(join(this.directory, 'apps', name, 'work'));
    }
    symlinkSync(stage1, join(this.directory, 'stage1'));
    this.writePlan(encodeSteps(podSteps(this.image, plan)));
  }

  writePlan(bytes: Uint8Array): void {
    writeFileSync(join(this.directory, 'plan'), bytes, { mode: 0o600 });
  }

  /** Lays down an app for a pod that runs with `mutable`, as `gantry app add` does. */
  addApp(name: string, app: AppPlan): void {
    for (const directory of ['upper', 'work']) {
      mkdirSync(join(this.directory, 'apps', name, directory), { recursive: true });
    }
    this.writeAppPlan(name, encodeSteps(laterAppSteps(this.image, name, app)));
  }

  writeAppPlan(name: string, bytes: Uint8Array): void {
    writeFileSync(join(this.directory, 'apps', name, 'plan'), bytes, { mode: 0o600 });
  }

  /** Starts an entry point with the pod's lock, as `gantry run` does. */
  start({
    environment,
    stdio = ['ignore', 'pipe', 'pipe'],
    stage1: from = stage1,
  }: StartOptions = {}): ChildProcess {
    const lock = openSync(this.directory, 'r');
    if (!system.flock(lock, LOCK.exclusive | LOCK.nonBlocking)) throw new Error('pod is locked');
    const child = spawn(join(from, 'run'), ['test'], {
      cwd: this.directory,
      env: { ...process.env, ...environment, GANTRY_LOCK_FD: '3' },
      stdio: [...stdio, lock],
    });
    closeSync(lock);
    return child;
  }

  /** Runs the pod to its end. */
  async run(options: StartOptions = {}): Promise<Ending> {
    return endingOf(this.start(options));
  }

  /** Calls another entry point beside the running pod. */
  async call(entry: Entry, ...words: string[]): Promise<Ending> {
    const child = spawn(join(stage1, entry), words, {
      cwd: this.directory,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return endingOf(child);
  }

  /** The content of a status file, or undefined while there is none. */
  status(file: string): string | undefined {
    const path = join(this.directory, file);
    return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
  }

  async ready(): Promise<void> {
    await until(() => this.status('ready') !== undefined);
  }

  /** Whether some process holds the pod's lock. */
  get locked(): boolean {
    const fd = openSync(this.directory, 'r');
    try {
      return !system.flock(fd, LOCK.shared | LOCK.nonBlocking);
    } finally {
      closeSync(fd);
    }
  }
}

/** What a pod can be asked while it runs, and after. */
type Entry = 'enter' | 'stop' | 'gc' | 'app-add' | 'app-start' | 'app-stop' | 'app-rm';

export interface Ending {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Collects the output of a process until it ends. */
export async function endingOf(child: ChildProcess): Promise<Ending> {
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream]?.setEncoding('utf8').on('data', (text: string) => {
      output[stream] += text;
    });
  }
  return { code: await exitCodeOf(child), ...output };
}

/** Waits until something is so, ten seconds at most. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('waited in vain');
    await sleep(5);
  }
}

/** Log lines without their time: `web[2]: text`. */
export function logged(output: string): string[] {
  return output
    .split('\n')
    .filter(Boolean)
    .map((line) => line.replace(/^\[ *\d+\.\d{6}\] /, ''));
}
