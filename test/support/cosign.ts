import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { runCommand } from './installation.ts';
import type { TestRegistry } from './registry.ts';
import { findProgram } from './requirements.ts';

/** What cosign is asked about; `reference` ends in a digest, and its repository has two letters at least. */
export interface CosignTarget {
  readonly reference: string;
  readonly registry: Pick<TestRegistry, 'ca'>;
  /** The registry speaks plain HTTP. */
  readonly http?: boolean;
  readonly credentials?: { readonly user: string; readonly password: string };
  /** Checked on verifying, said on signing. */
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * How the signature is kept: as a sigstore bundle that refers to the image, or as the manifest under the
 * tag `sha256-….sig` that cosign 2 wrote (cosign, specs/BUNDLE_SPEC.md and SIGNATURE_SPEC.md).
 */
export type CosignFormat = 'bundle' | 'classic';

/** The algorithms that sigstore knows for keys of one's own. */
export type CosignAlgorithm = 'p256' | 'p384' | 'p521' | 'rsa' | 'ed25519';

/** What a test needs of the host; for `needs(context, program(cosignProgram))`. */
export const cosignProgram = 'cosign';

const defaultPassphrase = 'secret';
// Old ways, about to go, and the only ones without a transparency log in both formats (cosign 3.1).
const offline = ['--tlog-upload=false', '--use-signing-config=false'];

/** A key pair of cosign's. */
export class CosignKey {
  /** PEM; what `gantry trust` is given. */
  readonly publicKey: string;
  /** In cosign's own format, under the passphrase. */
  readonly privateKey: string;
  readonly #environment: Readonly<Record<string, string>>;

  private constructor(directory: string, name: string, passphrase?: string) {
    this.publicKey = join(directory, `${name}.pub`);
    this.privateKey = join(directory, `${name}.key`);
    this.#environment = environmentIn(directory, passphrase);
  }

  /** As `cosign generate-key-pair` makes it, P-256; its files lie in `directory`. */
  static async generate(
    directory: string,
    name = 'cosign',
    passphrase?: string,
  ): Promise<CosignKey> {
    mkdirSync(directory, { recursive: true });
    const prefix = `--output-key-prefix=${join(directory, name)}`;
    await cosign(['generate-key-pair', prefix], environmentIn(directory, passphrase));
    return new CosignKey(directory, name, passphrase);
  }

  /** A key of any kind, as OpenSSL would make it, brought in by `cosign import-key-pair`. */
  static async import(directory: string, algorithm: CosignAlgorithm): Promise<CosignKey> {
    mkdirSync(directory, { recursive: true });
    const pem = join(directory, `${algorithm}.pem`);
    writeFileSync(pem, generators[algorithm]().export({ type: 'pkcs8', format: 'pem' }));
    const prefix = `--output-key-prefix=${join(directory, algorithm)}`;
    await cosign(['import-key-pair', `--key=${pem}`, prefix], environmentIn(directory));
    return new CosignKey(directory, algorithm);
  }

  /** Signs what is in the registry, and puts the signature beside it. */
  async sign(target: CosignTarget, format: CosignFormat = 'bundle'): Promise<void> {
    const formatFlag = `--new-bundle-format=${format === 'bundle'}`;
    const flags = [...offline, formatFlag, ...flagsOf(target), '--yes'];
    await this.#run('sign', this.privateKey, flags, target.reference);
  }

  /** Verifies as cosign's users do; throws, with what it said, when it refuses. */
  async verify(target: CosignTarget, format: CosignFormat = 'bundle'): Promise<void> {
    await verifyByCosign(this.publicKey, target, format);
  }

  /** Signs a file's bytes; answers the bundle (a `.sigstore.json`), or the bare signature in base64. */
  async signBlob(path: string, format: CosignFormat = 'bundle'): Promise<string> {
    const bundle = `${path}.sigstore.json`;
    const flags = [...offline, `--new-bundle-format=${format === 'bundle'}`, '--yes'];
    const kept = format === 'bundle' ? [`--bundle=${bundle}`] : [];
    const said = await this.#run('sign-blob', this.privateKey, [...flags, ...kept], path);
    return format === 'bundle' ? readFileSync(bundle, 'utf8') : said.trim();
  }

  #run(verb: string, key: string, flags: readonly string[], what: string): Promise<string> {
    return cosign([verb, `--key=${key}`, ...flags, what], this.#environment);
  }
}

/** Verifies by a public key of anybody's, at `publicKey`; throws, with what cosign said, when it refuses. */
export async function verifyByCosign(
  publicKey: string,
  target: CosignTarget,
  format: CosignFormat = 'bundle',
): Promise<void> {
  const formatFlag = `--new-bundle-format=${format === 'bundle'}`;
  const flags = ['--insecure-ignore-tlog', formatFlag, ...flagsOf(target)];
  const words = ['verify', `--key=${publicKey}`, ...flags, target.reference];
  await cosign(words, environmentIn(dirname(publicKey)));
}

/** The public half, PEM, of a secret key that cosign can open. */
export async function publicHalfByCosign(privateKey: string, passphrase: string): Promise<string> {
  const environment = environmentIn(dirname(privateKey), passphrase);
  return await cosign(['public-key', `--key=${privateKey}`], environment);
}

const generators: Readonly<Record<CosignAlgorithm, () => KeyObject>> = {
  p256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
  p384: () => generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
  p521: () => generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey,
  rsa: () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
  ed25519: () => generateKeyPairSync('ed25519').privateKey,
};

function flagsOf({ registry, http, credentials, annotations = {} }: CosignTarget): string[] {
  return [
    http ? '--allow-http-registry' : `--registry-cacert=${registry.ca}`,
    ...(credentials
      ? [`--registry-username=${credentials.user}`, `--registry-password=${credentials.password}`]
      : []),
    ...Object.entries(annotations).map(([key, value]) => `--annotations=${key}=${value}`),
  ];
}

/** Nothing of the user's home is read or written. */
function environmentIn(directory: string, passphrase = defaultPassphrase): Record<string, string> {
  return {
    COSIGN_PASSWORD: passphrase,
    HOME: directory,
    DOCKER_CONFIG: directory,
    TUF_ROOT: join(directory, 'tuf'),
    NO_PROXY: 'localhost,127.0.0.1',
  };
}

/** Runs cosign; answers its standard output, throws with what it said when it fails. */
async function cosign(
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<string> {
  const program = findProgram(cosignProgram) ?? cosignProgram;
  const { code, stdout, stderr } = await runCommand({ words: [program, ...args], environment });
  if (code !== 0) throw new Error(`cosign ${args.join(' ')}: exit ${code}: ${stderr}`);
  return stdout;
}
