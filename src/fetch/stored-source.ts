import { GantryError } from '../error.ts';
import { type Digest, formatDigest, sameDigest } from '../image/digest.ts';
import { displayName, type ImageRecord, type OciContent } from '../image/image-record.ts';
import { type Descriptor, maxManifestBytes, parseOciManifest } from '../image/oci-manifest.ts';
import type { Store } from '../store/store.ts';
import type { ManifestSignature } from '../trust/manifest-signature.ts';
import { decodeSignature, encodeSignature } from '../trust/signature-encoding.ts';
import type { ArtifactPart } from './artifact.ts';
import { deliver, requireDocument } from './blob-delivery.ts';
import type { DownloadTarget } from './download.ts';
import type { FoundManifest, OciSource } from './oci-source.ts';
import { type SignatureArtifact, signatureArtifacts } from './signature-artifact.ts';

/** A kept signature is one blob, and no larger than what is read of a place. */
const maxSignatureBytes = 16 * 1024 * 1024;

/**
 * An image in the store, as a source: its documents and layers byte for byte as they were fetched, and
 * the signatures by which it was believed, put back into the form they are published in.
 */
export class StoredSource implements OciSource {
  readonly shown: string;
  readonly #store: Store;
  readonly #content: OciContent;
  readonly #artifacts: readonly SignatureArtifact[];
  readonly #hasSimpleSigning: boolean;
  readonly #parts: ReadonlyMap<string, ArtifactPart>;

  private constructor(
    store: Store,
    record: ImageRecord,
    content: OciContent,
    artifacts: readonly SignatureArtifact[],
    hasSimpleSigning: boolean,
  ) {
    this.shown = displayName(record);
    this.#store = store;
    this.#content = content;
    this.#artifacts = artifacts;
    this.#hasSimpleSigning = hasSimpleSigning;
    const parts = artifacts.flatMap(({ manifest, blobs }) => [manifest, ...blobs]);
    this.#parts = new Map(parts.map((part) => [formatDigest(part.descriptor.digest), part]));
  }

  /**
   * Opens a stored image; keep it pinned until the source is closed.
   * Throws `unsupported` for an App Container image, `store` for damaged blobs.
   */
  static async open(store: Store, record: ImageRecord): Promise<StoredSource> {
    const { oci } = record;
    if (oci === undefined) {
      throw new GantryError(
        'unsupported',
        `${displayName(record)} is an App Container image, which has no place among OCI images: gantry image export writes it to a file`,
      );
    }
    const signatures = await signaturesOf(store, record);
    const artifacts: SignatureArtifact[] = [];
    for (const subject of [oci.manifest, ...(oci.index === undefined ? [] : [oci.index])]) {
      const own = signatures.filter((signature) => sameDigest(signature.subject, subject.digest));
      artifacts.push(...(await signatureArtifacts(own, subject)));
    }
    const hasSimpleSigning = signatures.some(({ kind }) => kind === 'simple-signing');
    return new StoredSource(store, record, oci, artifacts, hasSimpleSigning);
  }

  /**
   * The image: its index where all that this names is in the store, otherwise the one manifest that was
   * fetched of it.
   */
  async image(): Promise<FoundManifest> {
    const { index, manifest } = this.#content;
    const whole = index === undefined ? undefined : await this.#stored(index);
    if (whole !== undefined && (await this.#isWhole(whole))) return whole;
    return await this.#stored(manifest);
  }

  /** Which of its signatures do not go along with what `image` answered, and why: a line each. */
  omissions({ digest }: FoundManifest): string[] {
    const { index } = this.#content;
    const ofIndex = this.#artifacts.some(
      ({ subject }) => index !== undefined && sameDigest(subject, index.digest),
    );
    const isPart = index !== undefined && !sameDigest(digest, index.digest);
    return [
      ...(ofIndex && isPart
        ? [
            'what was signed is its index, of which not all is in the store: copy it from its registry',
          ]
        : []),
      ...(this.#hasSimpleSigning
        ? ['signatures of simple signing lie in a store of their own, and are not copied']
        : []),
    ];
  }

  async manifest(reference: string | Digest): Promise<FoundManifest | undefined> {
    if (typeof reference === 'string') return this.#attached(reference);
    const part = this.#parts.get(formatDigest(reference));
    if (part !== undefined) return foundOf(part);
    const { index, manifest } = this.#content;
    const known = [manifest, ...(index === undefined ? [] : [index])];
    const descriptor = known.find(({ digest }) => sameDigest(digest, reference));
    if (descriptor !== undefined) return await this.#stored(descriptor);
    return await this.#sibling(reference);
  }

  async blob(descriptor: Descriptor, target: DownloadTarget): Promise<void> {
    await deliver(this.#contentOf(descriptor.digest), descriptor, target);
  }

  async document(descriptor: Descriptor, limit: number): Promise<Uint8Array> {
    return await requireDocument(this.#contentOf(descriptor.digest), descriptor, limit);
  }

  async referrers(digest: Digest): Promise<Descriptor[]> {
    return this.#artifacts
      .filter(({ place, subject }) => place === 'referrer' && sameDigest(subject, digest))
      .map(({ manifest: { descriptor } }) => descriptor);
  }

  async close(): Promise<void> {}

  #attached(tag: string): FoundManifest | undefined {
    const artifact = this.#artifacts.find(({ place }) => place !== 'referrer' && place.tag === tag);
    return artifact === undefined ? undefined : foundOf(artifact.manifest);
  }

  /** Another manifest of the index: fetched as an image of its own, for another platform. */
  async #sibling(digest: Digest): Promise<FoundManifest | undefined> {
    if (!this.#store.hasBlob(digest)) return undefined;
    const { index } = this.#content;
    if (index === undefined) return undefined;
    const document = parseOciManifest((await this.#stored(index)).bytes, index.mediaType);
    if (document.kind !== 'index') return undefined;
    const descriptor = document.manifests.find((entry) => sameDigest(entry.digest, digest));
    return descriptor === undefined ? undefined : await this.#stored(descriptor);
  }

  /** Whether every manifest of an index, and every blob of those, is in the store. */
  async #isWhole({ bytes, mediaType }: FoundManifest): Promise<boolean> {
    const document = parseOciManifest(bytes, mediaType);
    const has = ({ digest }: Descriptor) => this.#store.hasBlob(digest);
    if (document.kind === 'manifest') return [document.config, ...document.layers].every(has);
    for (const entry of document.manifests) {
      if (!has(entry) || !(await this.#isWhole(await this.#stored(entry)))) return false;
    }
    return true;
  }

  async #stored(descriptor: Descriptor): Promise<FoundManifest> {
    const { digest, mediaType } = descriptor;
    const content = this.#store.openBlob(digest);
    return {
      digest,
      mediaType,
      bytes: await requireDocument(content, descriptor, maxManifestBytes),
    };
  }

  async *#contentOf(digest: Digest): AsyncIterable<Uint8Array> {
    const part = this.#parts.get(formatDigest(digest));
    if (part !== undefined) yield part.bytes;
    else yield* this.#store.openBlob(digest);
  }
}

/** Every signature by which the image was believed, under whatever name, each once. */
async function signaturesOf(store: Store, record: ImageRecord): Promise<ManifestSignature[]> {
  const found = new Map<string, ManifestSignature>();
  for (const { provenance } of [record, ...(record.aliases ?? [])]) {
    if (provenance.kind === 'unverified' || provenance.signatureBlob === undefined) continue;
    const kept = { digest: provenance.signatureBlob, size: provenance.signatureBlob.size };
    const bytes = await requireDocument(store.openBlob(kept.digest), kept, maxSignatureBytes);
    const signature = decodeSignature(bytes);
    // The same signature may have been found in two places.
    const content = encodeSignature({ ...signature, origin: '' });
    found.set(Buffer.from(content).toString(), signature);
  }
  return [...found.values()];
}

function foundOf({ descriptor: { digest, mediaType }, bytes }: ArtifactPart): FoundManifest {
  return { digest, mediaType, bytes };
}
