import { GantryError } from '../error.ts';
import { type Digest, formatDigest, sameDigest } from '../image/digest.ts';
import { composeConfig, composeManifest, type ImageWishes } from '../image/oci-assembly.ts';
import { parseOciConfig } from '../image/oci-config.ts';
import { type Descriptor, MEDIA_TYPES } from '../image/oci-manifest.ts';
import type { PackedLayer } from '../store/layer-packing.ts';
import { artifactPart } from './artifact.ts';
import { deliver, requireDocument } from './blob-delivery.ts';
import type { DownloadTarget } from './download.ts';
import type { FoundManifest, OciSource } from './oci-source.ts';

/** An image made here of one layer and the operator's wishes, as if somebody offered it. */
export class AssembledSource implements OciSource {
  readonly shown: string;
  /** The image, whole: what `manifest` answers for its digest. */
  readonly image: FoundManifest;
  readonly #config: Descriptor;
  readonly #configBytes: Buffer;
  readonly #layer: PackedLayer;

  /**
   * Takes the layer over: `close` gives it up.
   * Throws `invalid-manifest` for wishes that no configuration may hold.
   */
  constructor(shown: string, layer: PackedLayer, wishes: ImageWishes) {
    this.shown = shown;
    this.#layer = layer;
    this.#configBytes = composeConfig(wishes, layer.diffId);
    parseOciConfig(this.#configBytes);
    this.#config = artifactPart(this.#configBytes, MEDIA_TYPES.config).descriptor;
    const bytes = composeManifest(this.#config, [layer.descriptor]);
    const { digest, mediaType } = artifactPart(bytes, MEDIA_TYPES.manifest).descriptor;
    this.image = { digest, mediaType, bytes };
  }

  async manifest(reference: string | Digest): Promise<FoundManifest | undefined> {
    const isImage = typeof reference !== 'string' && sameDigest(reference, this.image.digest);
    return isImage ? this.image : undefined;
  }

  async blob(descriptor: Descriptor, target: DownloadTarget): Promise<void> {
    await deliver(this.#contentOf(descriptor), descriptor, target);
  }

  async document(descriptor: Descriptor, limit: number): Promise<Uint8Array> {
    return await requireDocument(this.#contentOf(descriptor), descriptor, limit);
  }

  async referrers(): Promise<Descriptor[]> {
    return [];
  }

  async close(): Promise<void> {
    this.#layer.close();
  }

  async *#contentOf({ digest }: Descriptor): AsyncIterable<Buffer> {
    if (sameDigest(digest, this.#config.digest)) yield this.#configBytes;
    else if (sameDigest(digest, this.#layer.descriptor.digest)) yield* this.#layer.content();
    else throw new GantryError('internal', `${this.shown} has no blob ${formatDigest(digest)}`);
  }
}
