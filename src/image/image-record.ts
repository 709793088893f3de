import type { Digest, ImageId } from './digest.ts';
import type { ImageManifest } from './image-manifest.ts';
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

/**
 * What the store keeps beside an image: `images/<id>.json`. Its manifest was validated when the
 * image came in, so a record that is read back is trusted as it is.
 */
export interface ImageRecord {
  version: 1;
  id: ImageId;
  name: string;
  labels: Record<string, string>;
  /** The bytes as they were fetched, compressed or not; size in bytes. */
  blob: Digest & { size: number };
  /** Bytes unpacked. */
  size: number;
  manifest: ImageManifest;
  /** ISO 8601. */
  importedAt: string;
  source: ImageSource;
  provenance: Provenance;
}

/** `name:version`, as every table shows an image; the name alone where there is no version. */
export function displayName({ name, labels }: Pick<ImageRecord, 'name' | 'labels'>): string {
  const version = labels['version'];
  return version === undefined ? name : `${name}:${version}`;
}
