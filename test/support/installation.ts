import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { constants, machine } from 'node:os';
import { join } from 'node:path';
import type { PrivateKey } from 'openpgp';

/** The Gantry of this checkout. */
export const ownProgram = join(import.meta.dirname, '../../bin/gantry');

/** A program and its arguments, with what its environment has beside this process's. */
export interface Command {
  readonly words: readonly [string, ...string[]];
  readonly environment?: Readonly<Record<string, string>>;
}

/** How a command ended. */
export interface Ending {
  /** The exit code; 128+n when signal n ended it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A signed image on disk. */
export interface SignedImage {
  /** `name:version`, as a reference has it. */
  readonly reference: string;
  /** The archive; its signature lies beside it as `.asc`. */
  readonly path: string;
}

/** What of an image's app a caller may want otherwise. */
export interface AppWishes {
  readonly exec: readonly string[];
  readonly user?: string;
  readonly group?: string;
  readonly mountPoints?: readonly Readonly<Record<string, unknown>>[];
  readonly isolators?: readonly Readonly<Record<string, unknown>>[];
  readonly workingDirectory?: string;
  readonly environment?: readonly { readonly name: string; readonly value: string }[];
  readonly eventHandlers?: readonly Readonly<Record<string, unknown>>[];
}

/** Gantry with a data directory, configuration and signing key of its own. */
export interface Installation {
  readonly dataDirectory: string;
  /** The command line of a verb (`run`, `image list`) with its arguments. */
  command(verb: string, ...words: readonly string[]): Command;
  /** Runs a command to its end. */
  run(verb: string, ...words: readonly string[]): Promise<Ending>;
  /** Runs a command that has to succeed; resolves to its standard output, trimmed. */
  call(verb: string, ...words: readonly string[]): Promise<string>;
  /** Starts a command and leaves it running, in a process group of its own. */
  start(verb: string, ...words: readonly string[]): ChildProcess;
  /** The same, with more in its environment. */
  startIn(
    environment: Readonly<Record<string, string>>,
    verb: string,
    ...words: readonly string[]
  ): ChildProcess;
  /** Packs and signs `root` as the image `example.com/<name>:1.0.0`. */
  makeImage(name: string, root: string, app: AppWishes): Promise<SignedImage>;
  /** Packs, signs and stores the image of one static program, `/<name>` in it; answers its reference. */
  storeProgram(name: string, program: string): Promise<string>;
}

/**
 * Makes one below `directory` that trusts its own key for everything below example.com.
 * @param program the Gantry to use, where it is not this checkout's
 */
export async function createInstallation(
  directory: string,
  program = ownProgram,
): Promise<Installation> {
  const dataDirectory = join(directory, 'data');
  const configuration = join(directory, 'configuration');
  const keyFile = join(directory, 'key.asc');
  mkdirSync(configuration, { recursive: true });
  const key = await makeKey(keyFile);
  const policy = [`--local-config=${configuration}`, `--system-config=${configuration}`];
  const command = (verb: string, ...words: readonly string[]): Command => ({
    words: [
      program,
      ...verb.split(' '),
      `--dir=${dataDirectory}`,
      // run-prepared asks for no policy, as everything was decided when the pod was prepared.
      ...(verb === 'run-prepared' ? [] : policy),
      ...words,
    ],
  });
  const call = async (verb: string, ...words: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await runCommand(command(verb, ...words));
    if (code !== 0) throw new Error(`gantry ${verb} ${words.join(' ')}: exit ${code}: ${stderr}`);
    return stdout.trim();
  };
  const startIn: Installation['startIn'] = (environment, verb, ...words) => {
    const [file, ...args] = command(verb, ...words).words;
    return spawn(file, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      env: { ...process.env, ...environment },
    });
  };
  await call('trust', '--prefix=example.com', '--skip-fingerprint-review', keyFile);
  const makeImage = async (name: string, root: string, app: AppWishes): Promise<SignedImage> => {
    const manifest = join(directory, `${name}.json`);
    const path = join(directory, `${name}.aci`);
    writeFileSync(manifest, JSON.stringify(manifestOf(name, app)));
    await call('image pack', `--manifest=${manifest}`, `--rootfs=${root}`, path);
    await sign(path, key);
    return { reference: `example.com/${name}:1.0.0`, path };
  };
  return {
    dataDirectory,
    command,
    call,
    run: (verb, ...words) => runCommand(command(verb, ...words)),
    start: (verb, ...words) => startIn({}, verb, ...words),
    startIn,
    makeImage,
    storeProgram: async (name, program) => {
      const root = join(directory, `${name}-rootfs`);
      mkdirSync(root);
      copyFileSync(program, join(root, name));
      const { path, reference } = await makeImage(name, root, { exec: [`/${name}`] });
      await call('fetch', path);
      return reference;
    },
  };
}

/** Runs a command to its end, with nothing on its standard input. */
export async function runCommand({ words, environment }: Command): Promise<Ending> {
  const [file, ...args] = words;
  const child = spawn(file, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...environment },
  });
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      output[stream] += text;
    });
  }
  return { code: await exitCodeOf(child), ...output };
}

/** Waits for the end of a process and all its output; 128+n when signal n ended it. */
export async function exitCodeOf(child: ChildProcess): Promise<number> {
  if (child.exitCode === null && child.signalCode === null) {
    await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  }
  return (
    child.exitCode ?? 128 + (child.signalCode === null ? 0 : constants.signals[child.signalCode])
  );
}

function manifestOf(name: string, { user = '0', group = '0', ...app }: AppWishes): object {
  return {
    acKind: 'ImageManifest',
    acVersion: '0.8.11',
    name: `example.com/${name}`,
    labels: [
      { name: 'version', value: '1.0.0' },
      { name: 'os', value: 'linux' },
      { name: 'arch', value: machine() === 'x86_64' ? 'amd64' : machine() },
    ],
    app: { user, group, ...app },
  };
}

async function makeKey(path: string): Promise<PrivateKey> {
  const openpgp = await import('openpgp');
  const owner = { name: 'Gantry test', email: 'test@example.com' };
  const { privateKey, publicKey } = await openpgp.generateKey({ userIDs: owner, format: 'object' });
  writeFileSync(path, publicKey.armor());
  return privateKey;
}

async function sign(path: string, key: PrivateKey): Promise<void> {
  const openpgp = await import('openpgp');
  const message = await openpgp.createMessage({ binary: readFileSync(path) });
  const signature = await openpgp.sign({ message, signingKeys: key, detached: true });
  writeFileSync(`${path}.asc`, signature);
}
