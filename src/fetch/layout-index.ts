import { createHash } from 'node:crypto';
import { GantryError } from '../error.ts';
import { type Digest, formatDigest, sameDigest } from '../image/digest.ts';
import {
  type Descriptor,
  descriptorDocument,
  MEDIA_TYPES,
  type OciIndex,
  parseOciManifest,
} from '../image/oci-manifest.ts';
import { REF_NAME } from './layout-source.ts';

/** What the file `oci-layout` holds (image-spec image-layout.md). */
export const layoutMark = '{"imageLayoutVersion":"1.0.0"}';

type Entry = OciIndex['manifests'][number];

/** The index of a layout that is being written. */
export class LayoutIndex {
  #entries: Entry[];
  /** Put by digest; which of them the index has to name is clear only in the end. */
  readonly #untagged: Descriptor[] = [];
  /** Digests that some index put here names: they are found from there. */
  readonly #children = new Set<string>();

  /** @param entries those that were there before */
  constructor(entries: readonly Entry[]) {
    this.#entries = [...entries];
  }

  /**
   * Notes a manifest; one under a tag takes the tag from what had it.
   * @throws GantryError `invalid-manifest`; `internal` where the digest is another one
   */
  add(bytes: Uint8Array, mediaType: string, reference: string | Digest): Descriptor {
    const document = parseOciManifest(bytes, mediaType);
    const algorithm = typeof reference === 'string' ? 'sha256' : reference.algorithm;
    const digest = { algorithm, hex: createHash(algorithm).update(bytes).digest('hex') };
    const type = document.kind === 'manifest' ? document.artifactType : undefined;
    const descriptor: Descriptor = {
      mediaType: document.mediaType,
      digest,
      size: bytes.length,
      ...(type === undefined ? {} : { artifactType: type }),
    };
    if (document.kind === 'index') {
      for (const child of document.manifests) this.#children.add(formatDigest(child.digest));
    }
    if (typeof reference === 'string') {
      this.#entries = this.#entries.filter(
        ({ annotations = {} }) => annotations[REF_NAME] !== reference,
      );
      this.#entries.push({ ...descriptor, annotations: { [REF_NAME]: reference } });
    } else if (sameDigest(reference, digest)) {
      this.#untagged.push(descriptor);
    } else {
      throw new GantryError('internal', `${formatDigest(reference)} is not the manifest's digest`);
    }
    return descriptor;
  }

  /** The entries: what was there, what has a tag, and what nothing else leads to. */
  get entries(): Entry[] {
    const listed = new Set(this.#entries.map(({ digest }) => formatDigest(digest)));
    const loose = this.#untagged.filter(({ digest }) => {
      const key = formatDigest(digest);
      const known = listed.has(key) || this.#children.has(key);
      listed.add(key);
      return !known;
    });
    return [...this.#entries, ...loose];
  }

  /** The file `index.json`. */
  encode(): Buffer {
    const manifests = this.entries.map((entry) => ({
      ...descriptorDocument(entry),
      ...(entry.platform === undefined ? {} : { platform: entry.platform }),
    }));
    return Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests }),
    );
  }
}
