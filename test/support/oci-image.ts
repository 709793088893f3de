import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { MEDIA_TYPES } from '../../src/image/oci-manifest.ts';
import { ociPlatform } from '../../src/image/platform.ts';
import { type Member, tarOf } from '../unit/store/image-archive.ts';

/** Content and its descriptor (image-spec descriptor.md). */
export interface OciBlob {
  readonly mediaType: string;
  /** `sha256:` and hex digits. */
  readonly digest: string;
  readonly size: number;
  readonly bytes: Buffer;
}

/** A layer as a registry has it, and what it unpacks to. */
export interface OciLayer extends OciBlob {
  /** The digest of the tar archive, which the configuration lists. */
  readonly diffId: string;
}

/** What a tag can point to: a manifest or an index, with everything it needs. */
export interface OciContent {
  /** What the tag points to. */
  readonly root: OciBlob;
  /** Configurations and layers, each once. */
  readonly blobs: readonly OciBlob[];
  /** Manifests and indexes in the order a registry accepts them in: what is pointed to first. */
  readonly manifests: readonly OciBlob[];
}

/** An image for one platform. */
export interface OciImage extends OciContent {
  readonly config: OciBlob;
  readonly layers: readonly OciLayer[];
  readonly platform: OciPlatform;
}

/** As an index has it (image-spec image-index.md). */
export interface OciPlatform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

/** What of an image a test wants otherwise. Whatever is given replaces what would be there. */
export interface ImageWishes {
  /** This machine's unless given. */
  readonly platform?: OciPlatform;
  /** Members of the configuration's `config`: Entrypoint, Cmd, Env, User. */
  readonly run?: object;
  /** Members of the configuration itself. */
  readonly config?: object;
  /** Members of the manifest, to be as wrong as a test wants it. */
  readonly manifest?: object;
  /** Speaks of Docker's media types, as `docker push` does. */
  readonly docker?: boolean;
}

/** How a layer is packed. */
export type LayerCompression = 'none' | 'gzip' | 'zstd';

const suffixes = { none: '', gzip: '+gzip', zstd: '+zstd' } as const;

const compressors: Readonly<Record<LayerCompression, (tar: Buffer) => Buffer>> = {
  none: (tar) => tar,
  gzip: (tar) => gzipSync(tar),
  zstd: (tar) => zstdCompressSync(tar),
};

/** Any content by its digest. */
export function blobOf(mediaType: string, content: string | Uint8Array): OciBlob {
  const bytes = Buffer.from(content);
  return { mediaType, digest: digestOf(bytes), size: bytes.length, bytes };
}

/** JSON by its digest, on one line. */
export function documentOf(mediaType: string, document: object): OciBlob {
  return blobOf(mediaType, JSON.stringify(document));
}

/** A layer of these members, lowest folder first, as a test writes them. */
export function layerOf(
  members: readonly Member[],
  compression: LayerCompression = 'gzip',
): OciLayer {
  return layerOfTar(tarOf(members), compression);
}

/** A layer of a tar archive that is there already. */
export function layerOfTar(tar: Buffer, compression: LayerCompression = 'gzip'): OciLayer {
  const mediaType = `${MEDIA_TYPES.layer}${suffixes[compression]}`;
  return { ...blobOf(mediaType, compressors[compression](tar)), diffId: digestOf(tar) };
}

/** An image of these layers, lowest first. */
export function imageOf(layers: readonly OciLayer[], wishes: ImageWishes = {}): OciImage {
  const platform = wishes.platform ?? ociPlatform(new Map());
  const types = wishes.docker ? dockerTypes : ociTypes;
  const config = documentOf(types.config, {
    ...platform,
    config: { Cmd: ['/bin/true'], ...wishes.run },
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    ...wishes.config,
  });
  const named = layers.map((layer) => ({ ...layer, mediaType: types.layer(layer.mediaType) }));
  const root = documentOf(types.manifest, {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: descriptorOf(config),
    layers: named.map((layer) => descriptorOf(layer)),
    ...wishes.manifest,
  });
  const blobs = unique([config, ...named]);
  return { root, blobs, manifests: [root], config, layers: named, platform };
}

/** An index of images, each under its platform. */
export function indexOf(images: readonly OciImage[], changes: object = {}): OciContent {
  const root = documentOf(MEDIA_TYPES.index, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.index,
    manifests: images.map((image) => ({ ...descriptorOf(image.root), platform: image.platform })),
    ...changes,
  });
  return {
    root,
    blobs: unique(images.flatMap(({ blobs }) => blobs)),
    manifests: [...unique(images.flatMap(({ manifests }) => manifests)), root],
  };
}

/** What is said of a blob where it is pointed to. */
export function descriptorOf({ mediaType, digest, size }: OciBlob): object {
  return { mediaType, digest, size };
}

/** Writes an image layout (image-spec image-layout.md): contents by their ref, a tag as a rule. */
export function writeLayout(
  directory: string,
  contents: Readonly<Record<string, OciContent>>,
): void {
  for (const { blobs, manifests } of Object.values(contents)) {
    for (const blob of [...blobs, ...manifests]) writeBlob(directory, blob);
  }
  const manifests = Object.entries(contents).map(([ref, { root }]) => ({
    ...descriptorOf(root),
    annotations: { 'org.opencontainers.image.ref.name': ref },
  }));
  const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests };
  writeFileSync(join(directory, 'index.json'), JSON.stringify(index));
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
}

const ociTypes = {
  config: MEDIA_TYPES.config,
  manifest: MEDIA_TYPES.manifest,
  layer: (mediaType: string) => mediaType,
};

const dockerTypes = {
  config: MEDIA_TYPES.dockerConfig,
  manifest: MEDIA_TYPES.dockerManifest,
  layer: (mediaType: string) =>
    mediaType.replace(MEDIA_TYPES.layer, MEDIA_TYPES.dockerLayer).replace('+', '.'),
};

function writeBlob(directory: string, { digest, bytes }: OciBlob): void {
  const path = join(directory, 'blobs', digest.replace(':', '/'));
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
}

function unique(blobs: readonly OciBlob[]): OciBlob[] {
  return [...new Map(blobs.map((blob) => [blob.digest, blob])).values()];
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
