import { type Digest, formatDigest, parseDigest, sameDigest } from './digest.ts';
import { type DocumentKind, Field, parseDocument } from './document.ts';
import { quote } from './quotation.ts';

/** Points to content by digest (image-spec descriptor.md). */
export interface Descriptor {
  mediaType: string;
  digest: Digest;
  /** In bytes. */
  size: number;
  annotations?: Record<string, string>;
  artifactType?: string;
}

/** Which machines an image is for, in OCI's words: `linux`, `amd64`, `arm` `v7`. */
export interface Platform {
  os: string;
  architecture: string;
  variant?: string;
}

/** An image manifest (image-spec manifest.md), or what Docker had before it. */
export interface OciManifest {
  kind: 'manifest';
  mediaType: string;
  artifactType?: string;
  config: Descriptor;
  /** Lowest first. */
  layers: Descriptor[];
  /** What the manifest is about, in an artifact such as a signature. */
  subject?: Descriptor;
  annotations: Record<string, string>;
}

/** An image index (image-spec image-index.md), or Docker's manifest list. */
export interface OciIndex {
  kind: 'index';
  mediaType: string;
  manifests: (Descriptor & { platform?: Platform })[];
  annotations: Record<string, string>;
}

export const MEDIA_TYPES = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
  empty: 'application/vnd.oci.empty.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
} as const;

const manifestTypes: ReadonlySet<string> = new Set([
  MEDIA_TYPES.manifest,
  MEDIA_TYPES.dockerManifest,
]);
const indexTypes: ReadonlySet<string> = new Set([MEDIA_TYPES.index, MEDIA_TYPES.dockerList]);
const configTypes: ReadonlySet<string> = new Set([MEDIA_TYPES.config, MEDIA_TYPES.dockerConfig]);
const layerTypes: ReadonlySet<string> = new Set([
  ...['', '+gzip', '+zstd'].map((suffix) => `${MEDIA_TYPES.layer}${suffix}`),
  ...['', '.gzip', '.zstd'].map((suffix) => `${MEDIA_TYPES.dockerLayer}${suffix}`),
]);

/** What a registry is asked for, best first (distribution-spec, "Pulling manifests"). */
export const manifestAccept: readonly string[] = [...manifestTypes, ...indexTypes];

/** The distribution specification has clients accept manifests of 4 MiB. */
export const maxManifestBytes = 4 * 1024 * 1024;
const maxLayers = 500;
const maxBlobBytes = 1024 ** 4;

const kind: DocumentKind = { what: 'image manifest', code: 'invalid-manifest' };

/**
 * Reads a manifest or index. `mediaType` is what the server or descriptor called it; a document that
 * says otherwise of itself, or holds both manifests and layers, is refused (image-spec GHSA-77vh-xpmg-72qh).
 *
 * @throws GantryError `invalid-manifest`, naming the field
 */
export function parseOciManifest(
  bytes: Uint8Array,
  mediaType: string | undefined,
): OciManifest | OciIndex {
  const root = parseDocument(bytes, { ...kind, maxBytes: maxManifestBytes });
  const version = root.member('schemaVersion');
  if (version.given && version.value === 1) {
    throw version.refuse('is 1, which Docker gave up in 2017: push the image again');
  }
  version.integer(2, 2);
  const type = mediaTypeOf(root, mediaType);
  if (manifestTypes.has(type)) return readManifest(root, type);
  if (indexTypes.has(type)) return readIndex(root, type);
  throw root
    .member('mediaType')
    .refuse(`${quote(type)} is neither an image manifest nor an image index`);
}

/**
 * Holds a manifest against what an image must be: a configuration and layers of known types.
 * @throws GantryError `invalid-manifest`
 */
export function requireImage({ config, layers }: OciManifest): void {
  const refuse = (path: string, why: string) => new Field(undefined, path, kind).refuse(why);
  if (!configTypes.has(config.mediaType)) {
    throw refuse(
      'config.mediaType',
      `${quote(config.mediaType)} is not an image's: this is an artifact, which cannot be run`,
    );
  }
  for (const [index, { mediaType }] of layers.entries()) {
    if (layerTypes.has(mediaType)) continue;
    if (/\b(foreign|nondistributable)\b/.test(mediaType)) {
      throw refuse(
        `layers[${index}].mediaType`,
        `${quote(mediaType)} lies elsewhere than in its registry, which is not supported: push the image again with all its layers`,
      );
    }
    throw refuse(
      `layers[${index}].mediaType`,
      `${quote(mediaType)} is not supported: use layers of tar, gzip or zstd`,
    );
  }
}

/** A descriptor (image-spec descriptor.md); embedded `data` and `urls` are never used. */
export function readDescriptor(field: Field): Descriptor {
  const annotations = field.member('annotations').stringMap();
  const artifactType = field.member('artifactType').optional((given) => given.string());
  return {
    mediaType: field.member('mediaType').filledString(),
    digest: readDigest(field.member('digest')),
    size: field.member('size').integer(0, maxBlobBytes),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    ...(artifactType ? { artifactType } : {}),
  };
}

/** A digest Gantry can compute (image-spec descriptor.md, "Digests"). */
export function readDigest(field: Field): Digest {
  const text = field.filledString();
  try {
    if (text.includes(':')) return parseDigest(text);
  } catch {
    // Said below, naming the field.
  }
  throw field.refuse(`${quote(text)} is not a sha256 or sha512 digest`);
}

/** A descriptor as OCI spells it. */
export function descriptorDocument(descriptor: Descriptor): Record<string, unknown> {
  const { mediaType, digest, size, annotations, artifactType } = descriptor;
  return { mediaType, digest: formatDigest(digest), size, annotations, artifactType };
}

function mediaTypeOf(root: Field, announced: string | undefined): string {
  const own = root.member('mediaType').optional((field) => field.filledString());
  const known =
    announced !== undefined && (manifestTypes.has(announced) || indexTypes.has(announced));
  if (own !== undefined && known && own !== announced) {
    throw root.member('mediaType').refuse(`is ${quote(own)}, but it came as ${quote(announced)}`);
  }
  const both = root.member('manifests').given && root.member('layers').given;
  if (both)
    throw root.member('manifests').refuse('stands beside layers: it must be one or the other');
  if (own !== undefined) return own;
  if (known) return announced;
  // Optional in OCI's documents; what they hold tells them apart.
  return root.member('manifests').given ? MEDIA_TYPES.index : MEDIA_TYPES.manifest;
}

function readManifest(root: Field, mediaType: string): OciManifest {
  const layers = root.member('layers');
  const descriptors = layers.list().map(readDescriptor);
  if (descriptors.length > maxLayers) throw layers.refuse(`holds more than ${maxLayers} layers`);
  const subject = root.member('subject').optional(readDescriptor);
  const artifactType = root.member('artifactType').optional((field) => field.string());
  return {
    kind: 'manifest',
    mediaType,
    ...(artifactType ? { artifactType } : {}),
    config: readDescriptor(root.member('config')),
    layers: descriptors,
    ...(subject === undefined ? {} : { subject }),
    annotations: root.member('annotations').stringMap(),
  };
}

function readIndex(root: Field, mediaType: string): OciIndex {
  const manifests = root
    .member('manifests')
    .list()
    .map((item) => {
      const platform = item.member('platform').optional(readPlatform);
      return { ...readDescriptor(item), ...(platform === undefined ? {} : { platform }) };
    });
  return {
    kind: 'index',
    mediaType,
    manifests,
    annotations: root.member('annotations').stringMap(),
  };
}

function readPlatform(field: Field): Platform {
  const variant = field.member('variant').optional((given) => given.string());
  return {
    os: field.member('os').string(),
    architecture: field.member('architecture').string(),
    ...(variant ? { variant } : {}),
  };
}

/** Refuses an index that holds itself: following it would never end. */
export function refuseOwnDigest(index: OciIndex, digest: Digest): void {
  const at = index.manifests.findIndex((entry) => sameDigest(entry.digest, digest));
  if (at === -1) return;
  throw new Field(undefined, `manifests[${at}].digest`, kind).refuse(
    'is the digest of the index itself',
  );
}
