import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, show } from './narrator.ts';

const owner = { name: 'Hello Maker', email: 'maker@example.com' };

/** A freshly made OpenPGP key of the quickstart. */
export interface SigningKey {
  /** Writes the public half, armored. */
  exportTo(path: string): Promise<void>;
  /** Writes an armored detached signature of `path` to `path.asc`. */
  sign(path: string): Promise<void>;
  /** Ends what gpg leaves running. */
  close(): void;
}

/** Makes a key with gpg, as an image's author would, or with openpgp.js where gpg is not installed. */
export function createSigningKey(directory: string): Promise<SigningKey> {
  const home = join(directory, 'gnupg');
  return gpgWorksIn(home) ? createWithGpg(home) : createWithOpenpgp();
}

/** gpg reaches its agent through a socket in its home, whose path must fit sockaddr_un: 107 bytes. */
function gpgWorksIn(home: string): boolean {
  const socket = join(home, 'S.gpg-agent.browser');
  return Buffer.byteLength(socket) <= 107 && spawnSync('gpg', ['--version']).status === 0;
}

async function createWithGpg(home: string): Promise<SigningKey> {
  mkdirSync(home, { mode: 0o700 });
  const environment = { GNUPGHOME: home };
  const gpg = (shown: string, ...words: string[]): Command => ({
    shown: `gpg ${shown}`,
    words: ['gpg', '--quiet', '--batch', '--no-tty', ...words],
    environment,
  });
  const userId = `${owner.name} <${owner.email}>`;
  const generate = ['--passphrase', '', '--quick-generate-key', userId, 'ed25519', 'sign', '1m'];
  await show(gpg(`--quick-generate-key "${userId}" ed25519 sign 1m`, ...generate));
  return {
    exportTo: (path) =>
      show(
        gpg(
          `--armor --export ${owner.email} > ${shortened(path)}`,
          ...['--armor', '--output', path, '--export', owner.email],
        ),
      ),
    sign: (path) =>
      show(gpg(`--armor --detach-sign ${shortened(path)}`, '--armor', '--detach-sign', path)),
    close: () => {
      spawnSync('gpgconf', ['--kill', 'all'], { env: { ...process.env, ...environment } });
    },
  };
}

async function createWithOpenpgp(): Promise<SigningKey> {
  const openpgp = await import('openpgp');
  console.log('\n  (gpg is not at hand: openpgp.js makes the key and the signature)');
  const { privateKey, publicKey } = await openpgp.generateKey({
    userIDs: [owner],
    format: 'object',
  });
  return {
    exportTo: async (path) => writeFileSync(path, publicKey.armor()),
    sign: async (path) => {
      const message = await openpgp.createMessage({ binary: readFileSync(path) });
      const signature = await openpgp.sign({ message, signingKeys: privateKey, detached: true });
      writeFileSync(`${path}.asc`, signature);
    },
    close: () => {},
  };
}

function shortened(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
