import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { secure } from '../../src/config/insecure.ts';
import type { FetchContext } from '../../src/fetch/context.ts';
import { fetchImage } from '../../src/fetch/fetch.ts';
import type { ImageRecord } from '../../src/image/image-record.ts';
import { MEDIA_TYPES } from '../../src/image/oci-manifest.ts';
import { parseReference, type Reference } from '../../src/image/reference.ts';
import { defaultUnpackLimits } from '../../src/image/unpack-limits.ts';
import { Store } from '../../src/store/store.ts';
import { addTrustedKeys } from '../../src/trust/keystore.ts';
import { blobOf, descriptorOf, documentOf, type OciContent } from '../support/oci-image.ts';
import { pushBlob, pushImage, pushManifest } from '../support/oci-push.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { quickPace, RecordedReport } from './fetch-world.ts';

/** Somebody who signs OCI images with a key of sigstore's kind. */
export class KeySigner {
  readonly #privateKey: KeyObject;
  /** PEM; what `gantry trust` is given. */
  readonly publicKey: Buffer;

  constructor() {
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    this.#privateKey = pair.privateKey;
    this.publicKey = Buffer.from(pair.publicKey.export({ type: 'spki', format: 'pem' }));
  }

  /** A payload and its signature, as a layer of cosign's `.sig` manifest has them. */
  sign(digest: string, reference: string): { payload: string; signature: string } {
    const payload = JSON.stringify({
      critical: {
        identity: { 'docker-reference': reference },
        image: { 'docker-manifest-digest': digest },
        type: 'cosign container image signature',
      },
      optional: null,
    });
    const signature = sign('sha256', Buffer.from(payload), this.#privateKey).toString('base64');
    return { payload, signature };
  }
}

/** What a signature is to claim, where not the truth. */
export interface SigningWishes {
  readonly reference?: string;
  /** Another digest than that of the image it is put beside. */
  readonly digest?: string;
}

/** A registry, a store, and keys; everything below one directory that goes with it. */
export class OciWorld {
  readonly directory: string;
  readonly registry: TestRegistry;
  readonly report = new RecordedReport();
  #stores = 0;

  private constructor(directory: string, registry: TestRegistry) {
    this.directory = directory;
    this.registry = registry;
    for (const name of ['system', 'local']) mkdirSync(join(directory, name));
  }

  static async open(): Promise<OciWorld> {
    return new OciWorld(mkdtempSync(join(tmpdir(), 'gantry-oci-')), await startRegistry());
  }

  get directories() {
    return { system: join(this.directory, 'system'), local: join(this.directory, 'local') };
  }

  /** Fetching into an empty store of its own. */
  context(changes: Partial<FetchContext> = {}): FetchContext {
    return {
      directories: this.directories,
      insecure: secure,
      report: this.report,
      env: { SSL_CERT_FILE: this.registry.ca, HOME: this.directory },
      pace: quickPace,
      store: Store.open(join(this.directory, `store-${++this.#stores}`)),
      pullPolicy: 'update',
      limits: defaultUnpackLimits,
      ...changes,
    };
  }

  /** `localhost:PORT/repository:tag`. */
  reference(repository: string, tag = '1'): string {
    return `${this.registry.host}/${repository}:${tag}`;
  }

  async push(repository: string, content: OciContent, tag = '1'): Promise<void> {
    await pushImage(this.registry, repository, tag, content);
  }

  /** Puts a classic cosign signature beside what has this digest. */
  async sign(
    repository: string,
    { root }: Pick<OciContent, 'root'>,
    signer: KeySigner,
    wishes: SigningWishes = {},
  ): Promise<void> {
    const name = wishes.reference ?? `${this.registry.host}/${repository}`;
    const { payload, signature } = signer.sign(wishes.digest ?? root.digest, name);
    const { manifest, blobs } = classicSignature({ payload, signature });
    for (const blob of blobs) await pushBlob(this.registry, repository, blob);
    await pushManifest(this.registry, repository, manifest, `${root.digest.replace(':', '-')}.sig`);
  }

  /** Trusts a signer for everything below a prefix, by default the whole registry. */
  async trust(signer: KeySigner, prefix: string = this.registry.host): Promise<string[]> {
    return await addTrustedKeys(this.directories, signer.publicKey, { scope: 'prefix', prefix });
  }

  distrustAll(): void {
    rmSync(join(this.directory, 'local', 'trustedkeys'), { recursive: true, force: true });
  }

  async fetch(
    reference: string | Reference,
    changes: Partial<FetchContext> = {},
  ): Promise<{ record: ImageRecord; store: Store; context: FetchContext }> {
    const context = this.context(changes);
    const parsed = typeof reference === 'string' ? parseReference(reference) : reference;
    return { record: await fetchImage(parsed, context), store: context.store, context };
  }

  async close(): Promise<void> {
    await this.registry.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** cosign's `.sig` manifest (sigstore/cosign, specs/SIGNATURE_SPEC.md), and what it needs. */
function classicSignature({ payload, signature }: ReturnType<KeySigner['sign']>) {
  const layer = blobOf('application/vnd.dev.cosign.simplesigning.v1+json', payload);
  const config = documentOf(MEDIA_TYPES.config, {
    os: '',
    architecture: '',
    rootfs: { type: 'layers', diff_ids: [layer.digest] },
  });
  const manifest = documentOf(MEDIA_TYPES.manifest, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    config: descriptorOf(config),
    layers: [
      {
        ...descriptorOf(layer),
        annotations: { 'dev.cosignproject.cosign/signature': signature },
      },
    ],
  });
  return { manifest, blobs: [config, layer] };
}

/** Puts a classic signature into a layout, beside the image it is about. */
export function writeClassicSignature(
  layout: string,
  { root }: Pick<OciContent, 'root'>,
  signed: ReturnType<KeySigner['sign']>,
): void {
  const { manifest, blobs } = classicSignature(signed);
  for (const { digest, bytes } of [...blobs, manifest]) {
    writeFileSync(join(layout, 'blobs', digest.replace(':', '/')), bytes);
  }
  const path = join(layout, 'index.json');
  const index = JSON.parse(readFileSync(path, 'utf8'));
  const ref = `${root.digest.replace(':', '-')}.sig`;
  const annotations = { 'org.opencontainers.image.ref.name': ref };
  index.manifests.push({ ...descriptorOf(manifest), annotations });
  writeFileSync(path, JSON.stringify(index));
}

/** Everything below a store that is there to stay, besides the locks' own files. */
export function keptIn(store: Store): string[] {
  try {
    return readdirSync(store.dir, { recursive: true, withFileTypes: true })
      .filter((entry) => !entry.isDirectory() && !entry.parentPath.endsWith('/locks'))
      .map((entry) => join(entry.parentPath, entry.name).slice(store.dir.length + 1));
  } catch {
    return [];
  }
}

/** `sha256:` and the digits of some bytes. */
export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
