import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from './installation.ts';
import type { TestRegistry } from './registry.ts';
import { findProgram } from './requirements.ts';

/** What notation signs; it speaks plain HTTP to `localhost`, so TLS needs `127.0.0.1:PORT`. */
export interface NotationTarget {
  readonly reference: string;
  readonly registry: Pick<TestRegistry, 'ca'>;
  readonly credentials?: { readonly user: string; readonly password: string };
}

/** A signing key that lies in files: the certificates from its own up to the authority's, PEM. */
export interface NotationKey {
  readonly key: string;
  readonly certificates: string;
}

export interface NotationSigning {
  /** How the envelope is written (notaryproject, signature-envelope-jws.md and -cose.md). */
  readonly envelope?: 'jws' | 'cose';
  /** When the signature ends, `24h`; never unless given. */
  readonly expiry?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** What a test needs of the host; for `needs(context, program(notationProgram))`. */
export const notationProgram = 'notation';

const keyName = 'test';

/** Notation with a configuration of its own, one signing key, and one trust store. */
export class Notation {
  /** The authority's certificate, PEM: what `gantry trust` is given. */
  readonly authority: string;
  readonly #home: string;

  private constructor(home: string, authority: string) {
    this.#home = home;
    this.authority = authority;
  }

  /** With the self-signed certificate that `notation certificate generate-test` makes; good for a day. */
  static async generate(home: string): Promise<Notation> {
    const certificate = join(home, 'notation/localkeys', `${keyName}.crt`);
    const notation = new Notation(home, certificate);
    mkdirSync(home, { recursive: true });
    await notation.#run(['certificate', 'generate-test', '--default', keyName]);
    return notation;
  }

  /** With a key and chain from elsewhere; `authority` is a file with the certificate it ends in. */
  static async withKey(home: string, key: NotationKey, authority: string): Promise<Notation> {
    const notation = new Notation(home, authority);
    const configuration = join(home, 'notation');
    mkdirSync(configuration, { recursive: true });
    const keys = [{ name: keyName, keyPath: key.key, certPath: key.certificates }];
    const document = JSON.stringify({ default: keyName, keys });
    writeFileSync(join(configuration, 'signingkeys.json'), document, { mode: 0o600 });
    await notation.#run(['certificate', 'add', '--type=ca', `--store=${keyName}`, authority]);
    return notation;
  }

  /** Signs what is in the registry, and puts the signature beside it. */
  async sign(target: NotationTarget, signing: NotationSigning = {}): Promise<void> {
    const { envelope = 'jws', expiry, metadata = {} } = signing;
    const flags = [
      `--signature-format=${envelope}`,
      ...(expiry === undefined ? [] : [`--expiry=${expiry}`]),
      ...Object.entries(metadata).map(([key, value]) => `--user-metadata=${key}=${value}`),
    ];
    await this.#run(['sign', ...flags, target.reference], target);
  }

  /** Verifies by the strict policy; throws, with what it said, when it refuses. */
  async verify(target: NotationTarget): Promise<void> {
    const policy = {
      name: 'test',
      registryScopes: ['*'],
      signatureVerification: { level: 'strict' },
      trustStores: [`ca:${keyName}`],
      trustedIdentities: ['*'],
    };
    const path = join(this.#home, 'notation/trustpolicy.json');
    const document = JSON.stringify({ version: '1.0', trustPolicies: [policy] });
    writeFileSync(path, document, { mode: 0o600 });
    await this.#run(['verify', target.reference], target);
  }

  async #run(args: readonly string[], target?: NotationTarget): Promise<string> {
    const { user, password } = target?.credentials ?? {};
    const environment = {
      // Nothing of the user's home is read or written.
      HOME: this.#home,
      XDG_CONFIG_HOME: this.#home,
      DOCKER_CONFIG: this.#home,
      NO_PROXY: 'localhost,127.0.0.1',
      ...(target === undefined ? {} : { SSL_CERT_FILE: target.registry.ca }),
      ...(user === undefined ? {} : { NOTATION_USERNAME: user }),
      ...(password === undefined ? {} : { NOTATION_PASSWORD: password }),
    };
    const program = findProgram(notationProgram) ?? notationProgram;
    const { code, stdout, stderr } = await runCommand({ words: [program, ...args], environment });
    if (code !== 0) throw new Error(`notation ${args.join(' ')}: exit ${code}: ${stderr}`);
    return stdout;
  }
}
