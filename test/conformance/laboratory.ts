import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createInstallation, type Ending, type Installation } from '../support/installation.ts';
import { buildProgram } from '../support/program.ts';
import { killProcess, processesIn } from './processes.ts';

/** The capabilities the `restricted` image keeps: CHOWN and KILL, bits 0 and 5. */
export const RESTRICTED = { names: ['CAP_CHOWN', 'CAP_KILL'], mask: '0000000000000021' } as const;

/** Where the check works: a data directory, keys and images of its own. */
export interface Laboratory {
  readonly directory: string;
  readonly dataDirectory: string;
  readonly installation: Installation;
  /** The program the pods run (probe.c), to be run on the host. */
  readonly probe: string;
  /** Runs the probe on the host to its end; what it printed. */
  probeHere(...words: readonly string[]): Promise<string>;
  /** Starts the probe on the host and leaves it running. */
  startProbe(...words: readonly string[]): ChildProcess;
  /** Runs a command that must end within so many seconds; killed and an error otherwise. */
  run(seconds: number, verb: string, ...words: readonly string[]): Promise<Ending>;
}

/**
 * Names of its images: `probe` is plain, `volume` has a mount point, `restricted` and `unprivileged` have
 * isolators, the others are for what App Container asks of an executor.
 */
export type ImageName =
  | 'probe'
  | 'volume'
  | 'restricted'
  | 'unprivileged'
  | 'validator'
  | 'ordinary'
  | 'limited'
  | 'handled'
  | 'filtered';

/** What the `validator` image says, and its app finds: appc's own `ace/image_manifest_main.json.in` in small. */
export const VALIDATOR = {
  workingDirectory: '/opt/acvalidator',
  environment: [{ name: 'IN_ACE_VALIDATOR', value: 'correct' }],
  mountPoints: [
    { name: 'database', path: '/db', readOnly: false },
    { name: 'settings', path: '/opt/settings', readOnly: true },
  ],
} as const;

/** Whom the `ordinary` image runs as. */
export const ORDINARY = { user: '1007', group: '1009' } as const;

/** What its handlers do with the marker files, and say. */
const HANDLERS = {
  'pre-start': ['say', 'pre-start', 'read', '/main', 'create', '/prestart'],
  'post-stop': ['say', 'post-stop', 'read', '/prestart', 'read', '/main', 'create', '/poststop'],
} as const;

export function imageReference(name: ImageName): string {
  return `example.com/${name}:1.0.0`;
}

/** A directory for a laboratory. Whoever makes it removes it. */
export function makeScratchDirectory(): string {
  return mkdtempSync(join(realpathSync(tmpdir()), 'gantry-conformance-'));
}

/** Ends every process of the pods of a laboratory, and removes it. */
export function removeScratchDirectory(directory: string): void {
  for (const process of processesIn(directory)) killProcess(process);
  rmSync(directory, { recursive: true, force: true });
}

/** What a laboratory works with. */
export interface LaboratoryWishes {
  /** The Gantry to use, where it is not this checkout's. */
  readonly gantry?: string | undefined;
  /** A configuration directory whose settings count there too. */
  readonly configuration?: string | undefined;
}

/** Makes one in an empty directory: signed images of a single static program, fetched. */
export async function openLaboratory(
  directory: string,
  { gantry, configuration }: LaboratoryWishes,
): Promise<Laboratory> {
  const installation = await createInstallation(directory, gantry);
  if (configuration !== undefined) {
    cpSync(configuration, join(directory, 'configuration'), { recursive: true });
  }
  const probe = join(directory, 'probe');
  copyFileSync(buildProgram(readFileSync(join(import.meta.dirname, 'probe.c'), 'utf8')), probe);
  const laboratory = laboratoryOf(directory, installation, probe);
  await makeImages(laboratory);
  return laboratory;
}

function laboratoryOf(directory: string, installation: Installation, probe: string): Laboratory {
  const startProbe = (...words: readonly string[]) =>
    spawn(probe, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  return {
    directory,
    dataDirectory: installation.dataDirectory,
    installation,
    probe,
    startProbe,
    async probeHere(...words) {
      return (await endingOf(startProbe(...words), 10, `probe ${words.join(' ')}`)).stdout;
    },
    run(seconds, verb, ...words) {
      const child = installation.start(verb, ...words);
      return endingOf(child, seconds, `gantry ${verb} ${words.join(' ')}`);
    },
  };
}

async function makeImages({ directory, installation, probe }: Laboratory): Promise<void> {
  const rootfs = join(directory, 'rootfs');
  for (const folder of ['bin', 'data', 'etc', 'opt/acvalidator'])
    mkdirSync(join(rootfs, folder), { recursive: true });
  copyFileSync(probe, join(rootfs, 'bin/probe'));
  chmodSync(join(rootfs, 'bin/probe'), 0o755);
  const exec = ['/bin/probe'];
  const images = {
    probe: {},
    volume: { mountPoints: [{ name: 'data', path: '/data', readOnly: false }] },
    restricted: {
      isolators: [{ name: 'os/linux/capabilities-retain-set', value: { set: RESTRICTED.names } }],
    },
    validator: VALIDATOR,
    ordinary: ORDINARY,
    limited: { isolators: [{ name: 'resource/memory', value: { limit: '64M' } }] },
    handled: {
      eventHandlers: Object.entries(HANDLERS).map(([name, words]) => ({
        name,
        exec: [...exec, ...words],
      })),
    },
    unprivileged: { isolators: [{ name: 'os/linux/no-new-privileges', value: true }] },
    filtered: {
      isolators: [
        {
          name: 'os/linux/seccomp-remove-set',
          value: { errno: 'ENOTSUP', set: ['personality'] },
        },
      ],
    },
  } as const satisfies Record<ImageName, object>;
  for (const [name, app] of Object.entries(images)) {
    const { path } = await installation.makeImage(name, rootfs, { exec, ...app });
    await installation.call('fetch', path);
  }
}

/** Waits for a process to end and for its output; one that takes longer is killed. */
export async function endingOf(
  child: ChildProcess,
  seconds: number,
  what: string,
): Promise<Ending & { readonly signal: NodeJS.Signals | null }> {
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream]?.setEncoding('utf8').on('data', (text: string) => {
      output[stream] += text;
    });
  }
  const closed = new Promise<void>((resolve, reject) => {
    child.once('error', reject).once('close', () => resolve());
  });
  const limit = new AbortController();
  const late = sleep(seconds * 1000, true, { signal: limit.signal }).catch(() => false);
  try {
    if (await Promise.race([closed.then(() => false), late])) {
      child.kill('SIGKILL');
      throw new Error(`${what}: not over after ${seconds} s`);
    }
  } finally {
    limit.abort();
  }
  return { code: child.exitCode ?? 128, signal: child.signalCode, ...output };
}
