import type { Digest } from '../image/digest.ts';
import type { Descriptor } from '../image/oci-manifest.ts';
import type { DownloadTarget } from './download.ts';

/** A manifest or index as it lies there. */
export interface FoundManifest {
  /** Of the very bytes; where it was asked for by digest, that digest. */
  readonly digest: Digest;
  /** What the source calls it; what it says of itself is another question. */
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

/** One place that has OCI content: a repository, a layout, an archive. */
export interface OciSource {
  /** For messages: `docker://host/path`, `oci:DIR`. */
  readonly shown: string;
  /**
   * The manifest or index of a tag or digest; undefined where there is none.
   * @throws GantryError `network`, `invalid-archive` where bytes are not those of the digest asked for
   */
  manifest(reference: string | Digest): Promise<FoundManifest | undefined>;
  /**
   * Brings a blob. What exceeds or falls short of the descriptor's size is refused here; the digest is
   * for whoever takes the bytes to check.
   */
  blob(descriptor: Descriptor, target: DownloadTarget): Promise<void>;
  /**
   * A small blob whole, size and digest checked.
   * @param limit in bytes
   */
  document(descriptor: Descriptor, limit: number): Promise<Uint8Array>;
  /** What says that it is about this manifest (distribution-spec, "Listing Referrers"). */
  referrers(digest: Digest): Promise<Descriptor[]>;
  close(): Promise<void>;
}

/** One place that OCI content can be put into. */
export interface OciDestination {
  readonly shown: string;
  hasBlob(digest: Digest): Promise<boolean>;
  /** Takes a blob; what its bytes are not, size and digest, is refused, and nothing is kept of it. */
  putBlob(
    descriptor: Pick<Descriptor, 'digest' | 'size'>,
    content: AsyncIterable<Uint8Array>,
  ): Promise<void>;
  /** Takes a manifest or index, under a tag or under its own digest. What it names must be there. */
  putManifest(bytes: Uint8Array, mediaType: string, reference: string | Digest): Promise<void>;
  /** Makes what was put there visible, where that is not so at once. */
  finish(): Promise<void>;
  /** Gives up: a layout or archive is as it was before. Harmless when repeated, or after `finish`. */
  abort(): Promise<void>;
}
