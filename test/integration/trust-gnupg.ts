import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** How a signature is made. */
export interface Signing {
  /** Fingerprints of keys or (with `!`) subkeys: one signature by each. */
  readonly by: readonly string[];
  /** As gpg's --faked-system-time takes it, `20200102T030405`. */
  readonly at?: string;
  readonly armor?: boolean;
  /** More of gpg's options. */
  readonly options?: readonly string[];
}

/** The real gpg, with keys of its own that vanish with it. */
export class Gnupg {
  /** The agent's sockets lie in here, and a socket's path has at most 107 characters. */
  readonly home = mkdtempSync(join(tmpdir(), 'gpg-'));

  /** Makes a key and returns its fingerprint in lower-case hex. */
  generate(userId: string, algorithm = 'ed25519', usage = 'sign', expire = 'never', at?: string) {
    const before = new Set(this.#fingerprints());
    this.run(['--quick-generate-key', userId, algorithm, usage, expire], at);
    const made = this.#fingerprints().find((fingerprint) => !before.has(fingerprint));
    if (made === undefined) throw new Error(`gpg made no key for ${userId}`);
    return made;
  }

  /** Adds a signing subkey and returns its fingerprint. */
  addSubkey(fingerprint: string, algorithm = 'ed25519', expire = 'never', at?: string): string {
    this.run(['--quick-add-key', fingerprint, algorithm, 'sign', expire], at);
    const subkey = this.#colons(fingerprint)
      .filter(([type]) => type === 'fpr')
      .at(-1)?.[9];
    if (subkey === undefined) throw new Error('gpg made no subkey');
    return subkey.toLowerCase();
  }

  setExpiry(fingerprint: string, expire: string, at?: string): void {
    this.run(['--quick-set-expire', fingerprint, expire], at);
  }

  /** Revokes with the certificate gpg lays by for every new key. */
  revoke(fingerprint: string): void {
    const path = join(this.home, 'openpgp-revocs.d', `${fingerprint.toUpperCase()}.rev`);
    // gpg puts a colon before the armor so that nobody imports it by accident.
    const certificate = readFileSync(path, 'utf8').replace(/^:-----BEGIN/m, '-----BEGIN');
    this.run(['--import'], undefined, certificate);
  }

  /** Revokes the n-th subkey, counted from one; reason 3 is "no longer used". */
  revokeSubkey(fingerprint: string, n: number, reason = 3): void {
    const dialogue = `key ${n}\nrevkey\ny\n${reason}\n\ny\nsave\n`;
    this.run(['--command-fd', '0', '--edit-key', fingerprint], undefined, dialogue);
  }

  publicKey(fingerprint: string, armor = true): Buffer {
    return this.run([...(armor ? ['--armor'] : []), '--export', fingerprint]);
  }

  secretKey(fingerprint: string): Buffer {
    return this.run(['--armor', '--export-secret-keys', fingerprint]);
  }

  /** A detached signature over `data`. */
  sign(data: Uint8Array, signing: Signing): Buffer {
    const path = join(this.home, 'data');
    writeFileSync(path, data);
    const options = signing.options ?? [];
    const by = signing.by.flatMap((fingerprint) => ['--local-user', fingerprint]);
    const armor = signing.armor === false ? [] : ['--armor'];
    return this.run([...options, ...by, ...armor, '-o', '-', '--detach-sign', path], signing.at);
  }

  run(args: readonly string[], at?: string, input?: string): Buffer {
    const faked = at === undefined ? [] : ['--faked-system-time', at, '--ignore-time-conflict'];
    const quiet = ['--batch', '--yes', '--quiet', '--no-tty', '--no-greeting'];
    const secret = ['--pinentry-mode', 'loopback', '--passphrase', ''];
    // gpg asks nothing in batch mode, and a dialogue is made of questions.
    const mode = args.includes('--command-fd') ? quiet.slice(2) : quiet;
    return execFileSync('gpg', ['--homedir', this.home, ...mode, ...secret, ...faked, ...args], {
      input,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
  }

  [Symbol.dispose](): void {
    execFileSync('gpgconf', ['--homedir', this.home, '--kill', 'all']);
    rmSync(this.home, { recursive: true, force: true });
  }

  #fingerprints(): string[] {
    const lines = this.#colons();
    return lines
      .filter(([type], index) => type === 'fpr' && lines[index - 1]?.[0] === 'pub')
      .map((fields) => (fields[9] ?? '').toLowerCase());
  }

  #colons(...keys: string[]): string[][] {
    const listing = this.run([
      '--with-colons',
      '--with-subkey-fingerprint',
      '--list-keys',
      ...keys,
    ]);
    return listing
      .toString()
      .split('\n')
      .map((line) => line.split(':'));
  }
}
