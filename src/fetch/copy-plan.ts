import { GantryError } from '../error.ts';
import { type Digest, formatDigest } from '../image/digest.ts';
import { type Descriptor, parseOciManifest, refuseOwnDigest } from '../image/oci-manifest.ts';
import { requireManifest } from './oci-intake.ts';
import type { FoundManifest, OciSource } from './oci-source.ts';

/** A manifest or index, and what it is to be called where it goes: its tag, or its digest. */
export interface PlannedDocument extends FoundManifest {
  readonly reference: string | Digest;
}

/** Everything that is to be copied, decided before anything is sent. */
export interface CopyPlan {
  /** In the order to be sent: what others name comes first, the image itself last. */
  readonly documents: readonly PlannedDocument[];
  /** Each once. */
  readonly blobs: readonly Descriptor[];
}

/** What a copy is to take along. */
export interface CopyWish {
  /** What the image is called where it goes; undefined where nothing but its digest names it. */
  readonly tag: string | undefined;
  /** Whether signatures, and whatever else lies beside the image, come along. */
  readonly signatures: boolean;
}

/** What cosign puts beside a manifest under its digest (sigstore/cosign, specs/SIGNATURE_SPEC.md). */
const attachedTags = ['sig', 'att', 'sbom'] as const;

/** No image that was made by hand comes near any of these. */
const maxDepth = 4;
const maxDocuments = 2000;
const maxBytes = 64 * 1024 * 1024;

/**
 * Finds out what belongs to an image: all manifests of an index, the blobs they name, and what lies
 * beside each of them (cosign's tags, and the referrers of distribution-spec, "Listing Referrers").
 *
 * @throws GantryError `invalid-manifest`, `not-found` where a manifest of an index is missing, `network`
 */
export async function planCopy(
  source: OciSource,
  image: FoundManifest,
  wish: CopyWish,
): Promise<CopyPlan> {
  const planner = new CopyPlanner(source);
  const parts = await planner.addImage(image);
  if (wish.signatures) for (const { digest } of parts) await planner.addAttached(digest);
  return planner.finish(image, wish.tag ?? image.digest);
}

class CopyPlanner {
  readonly #source: OciSource;
  readonly #documents = new Map<string, PlannedDocument>();
  readonly #blobs = new Map<string, Descriptor>();
  #bytes = 0;

  constructor(source: OciSource) {
    this.#source = source;
  }

  /** Adds a manifest, or an index with all it names; answers every document of it. */
  async addImage(
    found: FoundManifest,
    depth = 0,
    reference: string | Digest = found.digest,
  ): Promise<FoundManifest[]> {
    const document = parseOciManifest(found.bytes, found.mediaType);
    if (document.kind === 'manifest') {
      for (const blob of [document.config, ...document.layers]) this.#addBlob(blob);
      this.#add(found, reference);
      return [found];
    }
    if (depth === maxDepth) throw this.#refuse('its indexes lead to each other without end');
    refuseOwnDigest(document, found.digest);
    const parts: FoundManifest[] = [];
    for (const child of document.manifests) {
      parts.push(...(await this.addImage(await requireManifest(this.#source, child), depth + 1)));
    }
    this.#add(found, reference);
    return [...parts, found];
  }

  /** Adds what lies beside a document, and in turn beside that. */
  async addAttached(subject: Digest): Promise<void> {
    const tags = attachedTags.map((kind) => `${subject.algorithm}-${subject.hex}.${kind}`);
    const found = await Promise.all(tags.map((tag) => this.#source.manifest(tag)));
    for (const [index, attached] of found.entries()) {
      if (attached !== undefined) await this.addImage(attached, 0, tags[index]);
    }
    await this.#addReferrers(subject, 0);
  }

  /** The plan, with the image itself at its end. */
  finish(image: FoundManifest, reference: string | Digest): CopyPlan {
    this.#documents.delete(formatDigest(image.digest));
    const documents = [...this.#documents.values(), { ...image, reference }];
    return { documents, blobs: [...this.#blobs.values()] };
  }

  async #addReferrers(subject: Digest, depth: number): Promise<void> {
    if (depth === maxDepth) return;
    for (const descriptor of await this.#source.referrers(subject)) {
      if (this.#documents.has(formatDigest(descriptor.digest))) continue;
      await this.addImage(await requireManifest(this.#source, descriptor));
      await this.#addReferrers(descriptor.digest, depth + 1);
    }
  }

  #add(found: FoundManifest, reference: string | Digest): void {
    const key = typeof reference === 'string' ? reference : formatDigest(reference);
    if (this.#documents.has(key)) return;
    this.#bytes += found.bytes.length;
    if (this.#documents.size === maxDocuments || this.#bytes > maxBytes) {
      throw this.#refuse(`more than ${maxDocuments} manifests, or ${maxBytes} bytes of them`);
    }
    this.#documents.set(key, { ...found, reference });
  }

  #addBlob(blob: Descriptor): void {
    this.#blobs.set(formatDigest(blob.digest), blob);
  }

  #refuse(why: string): GantryError {
    return new GantryError('invalid-manifest', `${this.#source.shown}: ${why}`);
  }
}
