import { createHash } from 'node:crypto';
import type { FoundManifest, OciDestination, OciSource } from '../../src/fetch/oci-source.ts';
import { type Digest, formatDigest, sameDigest } from '../../src/image/digest.ts';
import { type Descriptor, parseOciManifest } from '../../src/image/oci-manifest.ts';

/** A repository that is only memory: for what does not depend on how a registry speaks. */
export class MemoryPlace implements OciSource, OciDestination {
  readonly shown = 'docker://memory.example/app';
  readonly blobs = new Map<string, Uint8Array>();
  readonly manifests = new Map<string, FoundManifest>();
  readonly tags = new Map<string, Digest>();
  /** How many manifests were put here. */
  written = 0;

  async manifest(reference: string | Digest): Promise<FoundManifest | undefined> {
    const digest = typeof reference === 'string' ? this.tags.get(reference) : reference;
    return digest === undefined ? undefined : this.manifests.get(formatDigest(digest));
  }

  async document({ digest }: Descriptor): Promise<Uint8Array> {
    const bytes = this.blobs.get(formatDigest(digest));
    if (bytes === undefined) throw new Error(`no blob ${formatDigest(digest)}`);
    return bytes;
  }

  async blob(): Promise<void> {
    throw new Error('nobody should ask for a layer');
  }

  async referrers(digest: Digest): Promise<Descriptor[]> {
    return [...this.manifests.values()].flatMap((found) => {
      const manifest = parseOciManifest(found.bytes, found.mediaType);
      if (manifest.kind !== 'manifest' || manifest.subject === undefined) return [];
      if (!sameDigest(manifest.subject.digest, digest)) return [];
      const { artifactType } = manifest;
      const { mediaType, bytes } = found;
      const descriptor = { mediaType, digest: found.digest, size: bytes.length };
      return [artifactType === undefined ? descriptor : { ...descriptor, artifactType }];
    });
  }

  async hasBlob(digest: Digest): Promise<boolean> {
    return this.blobs.has(formatDigest(digest));
  }

  async putBlob(
    { digest }: Pick<Descriptor, 'digest'>,
    content: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const pieces: Uint8Array[] = [];
    for await (const piece of content) pieces.push(piece);
    this.blobs.set(formatDigest(digest), Buffer.concat(pieces));
  }

  async putManifest(
    bytes: Uint8Array,
    mediaType: string,
    reference: string | Digest,
  ): Promise<void> {
    const hex = createHash('sha256').update(bytes).digest('hex');
    const digest = { algorithm: 'sha256', hex } as const;
    this.manifests.set(formatDigest(digest), { digest, mediaType, bytes });
    if (typeof reference === 'string') this.tags.set(reference, digest);
    this.written += 1;
  }

  async finish(): Promise<void> {}
  async abort(): Promise<void> {}
  async close(): Promise<void> {}
}
