import type { Digest, ImageId } from './digest.ts';
import type { ImageManifest } from './image-manifest.ts';
import type { Descriptor } from './oci-manifest.ts';
import type { Provenance } from './provenance.ts';

/** Where an image came from, and what a server said about keeping it. */
export interface ImageSource {
  url?: string;
  /** Absolute. */
  path?: string;
  etag?: string;
  /** As the server sent it. */
  lastModified?: string;
  /** ISO 8601, from Cache-Control. */
  expiresAt?: string;
}

/** What an image is called, and who vouches for it under that name. */
export interface ImageNaming {
  name: string;
  labels: Record<string, string>;
  /** ISO 8601. */
  importedAt: string;
  source: ImageSource;
  provenance: Provenance;
}

/** One layer of a stored OCI image, lowest first. */
export interface StoredLayer {
  descriptor: Descriptor;
  /** The digest of the uncompressed layer (image-spec config.md, "Layer DiffID"). */
  diffId: Digest;
  /** Name of its tree below `layers/`. */
  tree: string;
}

/** What an OCI image consists of; every digest is a blob of the store. */
export interface OciContent {
  manifest: Descriptor;
  /** The index the manifest was chosen from, where there was one. */
  index?: Descriptor;
  config: Descriptor;
  layers: StoredLayer[];
}

/**
 * What the store keeps beside an image: `images/<id>.json`. Its manifest was validated when the
 * image came in, so a record that is read back is trusted as it is.
 *
 * An App Container image has the one name its manifest says. An OCI image has as many as it was
 * fetched under, each vouched for by itself: a record that was found by a name shows that name's
 * `ImageNaming`, and keeps the others in `aliases`.
 */
export interface ImageRecord extends ImageNaming {
  version: 1;
  id: ImageId;
  /** The bytes as they were fetched, compressed or not; size in bytes. Of an OCI image: its manifest. */
  blob: Digest & { size: number };
  /** Bytes unpacked. */
  size: number;
  /** Of an OCI image: its configuration in appc's terms. */
  manifest: ImageManifest;
  oci?: OciContent;
  /** Other names of an OCI image, the newest first. */
  aliases?: ImageNaming[];
}

/** `name:version`, as every table shows an image; the name alone where there is no version. */
export function displayName({ name, labels }: Pick<ImageRecord, 'name' | 'labels'>): string {
  const version = labels['version'];
  return version === undefined ? name : `${name}:${version}`;
}
