import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { createMessage, generateKey, type PrivateKey, type PublicKey, sign } from 'openpgp';
import { pack } from 'tar-stream';
import type { FetchContext } from '../../src/fetch/context.ts';
import type { ImageManifest } from '../../src/image/image-manifest.ts';
import { platformLabels } from '../../src/image/platform.ts';
import { defaultUnpackLimits } from '../../src/image/unpack-limits.ts';
import { Store } from '../../src/store/store.ts';
import { addTrustedKeys, type TrustDirectories } from '../../src/trust/keystore.ts';
import type { World } from './fetch-world.ts';

/** Somebody who signs images. */
export class Signer {
  readonly #privateKey: PrivateKey;
  readonly #publicKey: PublicKey;

  private constructor(privateKey: PrivateKey, publicKey: PublicKey) {
    this.#privateKey = privateKey;
    this.#publicKey = publicKey;
  }

  static async create(name: string): Promise<Signer> {
    const userIDs = [{ name, email: `${name.toLowerCase()}@example.com` }];
    const date = new Date(Date.now() - 60_000);
    const { privateKey, publicKey } = await generateKey({ userIDs, date, format: 'object' });
    return new Signer(privateKey, publicKey);
  }

  get key(): Buffer {
    return Buffer.from(this.#publicKey.armor());
  }

  async sign(bytes: Uint8Array): Promise<Buffer> {
    const message = await createMessage({ binary: bytes });
    const signed = await sign({ message, signingKeys: this.#privateKey, detached: true });
    return Buffer.from(signed as string);
  }

  async trustFor(directories: TrustDirectories, prefix: string): Promise<void> {
    await addTrustedKeys(directories, this.key, { scope: 'prefix', prefix });
  }
}

/** What an image of the tests says of itself beside its name. */
export interface ImageParts {
  readonly labels?: Readonly<Record<string, string>>;
  readonly dependencies?: readonly { imageName: string; imageID?: string }[];
  /** The text of its one file. */
  readonly text?: string;
  readonly manifest?: Partial<ImageManifest> | Record<string, unknown>;
}

/** Packs a gzip image of one file. */
export async function makeImage(name: string, parts: ImageParts = {}): Promise<Buffer> {
  const labels = { version: '1.0.0', ...Object.fromEntries(platformLabels()), ...parts.labels };
  const manifest = {
    acKind: 'ImageManifest',
    acVersion: '0.8.11',
    name,
    labels: Object.entries(labels).map(([label, value]) => ({ name: label, value })),
    ...(parts.dependencies === undefined ? {} : { dependencies: parts.dependencies }),
    ...parts.manifest,
  };
  const archive = pack();
  archive.entry({ name: 'manifest' }, JSON.stringify(manifest));
  archive.entry({ name: 'rootfs', type: 'directory' });
  archive.entry({ name: 'rootfs/hello.txt' }, parts.text ?? name);
  archive.finalize();
  const pieces: Buffer[] = [];
  for await (const piece of archive) pieces.push(piece as Buffer);
  return gzipSync(Buffer.concat(pieces));
}

let stores = 0;

/** A context with an empty store of its own. */
export function fetchContext(world: World, changes: Partial<FetchContext> = {}): FetchContext {
  return {
    ...world.context(),
    store: Store.open(join(world.directory, `store-${++stores}`)),
    pullPolicy: 'update',
    limits: defaultUnpackLimits,
    ...changes,
  };
}

/** Every file that lies below a store, whatever it is, except locks' empty folder. */
export function filesIn(store: Store): string[] {
  try {
    return readdirSync(store.dir, { recursive: true, withFileTypes: true })
      .filter((entry) => !entry.isDirectory() || entry.name.endsWith('.lock'))
      .map((entry) => join(entry.parentPath, entry.name).slice(store.dir.length + 1));
  } catch {
    return [];
  }
}
