import { createHash } from 'node:crypto';
import { verified } from '../../../src/fetch/blob-delivery.ts';
import type { DownloadTarget } from '../../../src/fetch/download.ts';
import type { FoundManifest, OciDestination, OciSource } from '../../../src/fetch/oci-source.ts';
import { type Digest, formatDigest } from '../../../src/image/digest.ts';
import { type Descriptor, MEDIA_TYPES } from '../../../src/image/oci-manifest.ts';

/** A descriptor as manifests spell it. */
export interface Pointer {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** OCI content in memory, source and destination in one; `log` is what was put, in order. */
export class MemoryPlace implements OciSource, OciDestination {
  readonly shown = 'memory';
  readonly blobs = new Map<string, Buffer>();
  readonly manifests = new Map<string, FoundManifest>();
  readonly log: string[] = [];
  state: 'open' | 'finished' | 'aborted' = 'open';
  /** Bytes of a blob handed on at a time. */
  pieceSize = 7;

  /** Adds a blob, and answers what points to it. */
  addBlob(content: string, mediaType = 'application/octet-stream'): Pointer {
    const bytes = Buffer.from(content);
    this.blobs.set(sha256(bytes), bytes);
    return { mediaType, digest: sha256(bytes), size: bytes.length };
  }

  /** Adds a manifest, under a tag where one is given. */
  addManifest(document: object, tag?: string): Pointer {
    const mediaType = 'manifests' in document ? MEDIA_TYPES.index : MEDIA_TYPES.manifest;
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...document }));
    const found = { digest: digestOf(bytes), mediaType, bytes };
    this.manifests.set(sha256(bytes), found);
    if (tag !== undefined) this.manifests.set(tag, found);
    return { mediaType, digest: sha256(bytes), size: bytes.length };
  }

  /** Adds an image of these layers. */
  addImage(layers: readonly string[], tag?: string): Pointer {
    const config = this.addBlob(`configuration of ${layers.join()}`, MEDIA_TYPES.config);
    const pointers = layers.map((layer) => this.addBlob(layer, MEDIA_TYPES.layer));
    return this.addManifest({ config, layers: pointers }, tag);
  }

  found(reference: string): FoundManifest {
    const found = this.manifests.get(reference);
    if (found === undefined) throw new Error(`the test has no ${reference}`);
    return found;
  }

  async manifest(reference: string | Digest): Promise<FoundManifest | undefined> {
    return this.manifests.get(keyOf(reference));
  }

  async blob({ digest }: Descriptor, target: DownloadTarget): Promise<void> {
    const bytes = this.blobs.get(formatDigest(digest));
    if (bytes === undefined) throw new Error(`no blob ${formatDigest(digest)}`);
    for (let at = 0; at < bytes.length; at += this.pieceSize) {
      await target.write(bytes.subarray(at, at + this.pieceSize));
    }
  }

  async document({ digest }: Descriptor): Promise<Uint8Array> {
    return this.blobs.get(formatDigest(digest)) ?? Buffer.alloc(0);
  }

  async referrers(digest: Digest): Promise<Descriptor[]> {
    const about = [...new Set(this.manifests.values())].filter(({ bytes }) => {
      const { subject } = JSON.parse(Buffer.from(bytes).toString()) as { subject?: Pointer };
      return subject?.digest === formatDigest(digest);
    });
    return about.map(({ digest, mediaType, bytes }) => ({ digest, mediaType, size: bytes.length }));
  }

  async close(): Promise<void> {}

  async hasBlob(digest: Digest): Promise<boolean> {
    return this.blobs.has(formatDigest(digest));
  }

  async putBlob(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    content: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const { digest } = descriptor;
    const pieces: Buffer[] = [];
    for await (const piece of verified(content, descriptor)) pieces.push(Buffer.from(piece));
    this.blobs.set(formatDigest(digest), Buffer.concat(pieces));
    this.log.push(formatDigest(digest));
  }

  async putManifest(bytes: Uint8Array, mediaType: string, reference: string | Digest) {
    const found = { digest: digestOf(bytes), mediaType, bytes };
    this.manifests.set(sha256(bytes), found);
    this.manifests.set(keyOf(reference), found);
    this.log.push(keyOf(reference));
  }

  async finish(): Promise<void> {
    this.state = 'finished';
  }

  async abort(): Promise<void> {
    if (this.state === 'open') this.state = 'aborted';
  }
}

function keyOf(reference: string | Digest): string {
  return typeof reference === 'string' ? reference : formatDigest(reference);
}

function digestOf(bytes: Uint8Array): Digest {
  return { algorithm: 'sha256', hex: createHash('sha256').update(bytes).digest('hex') };
}

function sha256(bytes: Uint8Array): string {
  return formatDigest(digestOf(bytes));
}
