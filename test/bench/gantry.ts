import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { machine } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { PrivateKey } from 'openpgp';
import type { Command } from './stopwatch.ts';

const program = join(import.meta.dirname, '../../bin/gantry');
const runFile = promisify(execFile);

/** A signed image on disk. */
export interface SignedImage {
  /** `name:version`, as a reference has it. */
  readonly reference: string;
  /** The archive; its signature lies beside it as `.asc`. */
  readonly path: string;
}

/** Gantry with a data directory and a signing key of its own; nothing of the host's is touched. */
export interface Installation {
  readonly dataDirectory: string;
  command(verb: string, ...words: readonly string[]): Command;
  /** Runs a command outside of any measurement; resolves to its standard output, trimmed. */
  call(verb: string, ...words: readonly string[]): Promise<string>;
  /** Packs and signs `root` as the image `example.com/<name>:1.0.0` with `exec` as its app. */
  makeImage(name: string, root: string, exec: readonly string[]): Promise<SignedImage>;
}

/** Makes one below `directory` that trusts its own key for everything below example.com. */
export async function createInstallation(directory: string): Promise<Installation> {
  const dataDirectory = join(directory, 'data');
  const configuration = join(directory, 'configuration');
  mkdirSync(configuration, { recursive: true });
  const policy = [`--local-config=${configuration}`, `--system-config=${configuration}`];
  const command = (verb: string, ...words: readonly string[]): Command => ({
    // run-prepared asks for no policy, as everything was decided when the pod was prepared.
    words: [
      program,
      verb,
      `--dir=${dataDirectory}`,
      ...(verb === 'run-prepared' ? [] : policy),
      ...words,
    ],
  });
  const call = async (verb: string, ...words: readonly string[]): Promise<string> => {
    const [file, ...args] = command(verb, ...words).words;
    return (await runFile(file, args)).stdout.trim();
  };
  const keyFile = join(directory, 'key.asc');
  const key = await makeKey(keyFile);
  await call('trust', '--prefix=example.com', '--skip-fingerprint-review', keyFile);
  return {
    dataDirectory,
    command,
    call,
    makeImage: async (name, root, exec) => {
      const manifest = join(directory, `${name}.json`);
      const path = join(directory, `${name}.aci`);
      writeFileSync(manifest, JSON.stringify(manifestOf(name, exec)));
      await runFile(program, ['image', 'pack', `--manifest=${manifest}`, `--rootfs=${root}`, path]);
      await sign(path, key);
      return { reference: `example.com/${name}:1.0.0`, path };
    },
  };
}

function manifestOf(name: string, exec: readonly string[]): object {
  return {
    acKind: 'ImageManifest',
    acVersion: '0.8.11',
    name: `example.com/${name}`,
    labels: [
      { name: 'version', value: '1.0.0' },
      { name: 'os', value: 'linux' },
      { name: 'arch', value: machine() === 'x86_64' ? 'amd64' : machine() },
    ],
    app: { exec, user: '0', group: '0' },
  };
}

async function makeKey(path: string): Promise<PrivateKey> {
  const openpgp = await import('openpgp');
  const owner = { name: 'Gantry bench', email: 'bench@example.com' };
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
