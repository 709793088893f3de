import type { Digest } from '../image/digest.ts';
import type { ImageManifest } from '../image/image-manifest.ts';
import type { ImageRecord, ImageSource } from '../image/image-record.ts';
import type { Provenance } from '../image/provenance.ts';

/** What the committer knows and the bytes do not say. */
export interface Attestation {
  readonly source: ImageSource;
  readonly provenance: Provenance;
  /** What `provenance.signatureBlob` names: kept for checking it again. */
  readonly signature?: Uint8Array | undefined;
}

/** An image being received: its bytes go in as they come, in order. */
export interface Ingest {
  /**
   * Takes the next bytes of the image as fetched. Await what it answers before the next call, or
   * memory grows. The chunk may be reused by the caller once this returned.
   * Throws what is wrong with the image so far (`invalid-archive`, `store`).
   */
  write(chunk: Uint8Array): void | Promise<void>;
  /**
   * Says that all bytes came. Everything is on disk when this answers, but not in the store yet.
   * Throws `invalid-archive`, `invalid-manifest` or `store`; nothing of the image is kept then.
   */
  finish(): Promise<StagedImage>;
  /** Gives up: nothing of the image is kept. Harmless after `finish` failed, or twice. */
  abort(): Promise<void>;
}

/** An image received whole, digested and unpacked, waiting for the verdict. */
export interface StagedImage {
  /** `sha512-` and the digest of the uncompressed archive (appc spec/aci.md, Image ID). */
  readonly id: string;
  readonly manifest: ImageManifest;
  /** The bytes as they were fetched. */
  readonly blob: Digest & { readonly size: number };
  /** Absolute: where those bytes lie until commit or discard, for a signature that comes later. */
  readonly blobPath: string;
  /** Bytes of the uncompressed archive. */
  readonly size: number;
  /** Paths in the root file system that are device nodes. */
  readonly deviceNodes: readonly string[];
  /**
   * Makes the image part of the store. When the same image is already there, its tree and blob stay
   * and only the record is renewed.
   */
  commit(attestation: Attestation): Promise<ImageRecord>;
  /** Throws the image away. Harmless after `commit`. */
  discard(): Promise<void>;
}
