/** How much an archive may unpack to before it is refused as a decompression bomb. */
export interface UnpackLimits {
  /** All of an image's content together, in bytes. */
  maxUnpackedBytes: number;
  /** Archive entries of any kind. */
  maxEntries: number;
  /** Unpacked bytes for each compressed byte; looked at only past `ratioFloorBytes`. */
  maxCompressionRatio: number;
}

/** Below this many unpacked bytes a high ratio harms nobody: a small image may be mostly zeros. */
export const ratioFloorBytes = 256 * 1024 * 1024;

/** What holds where no `limits` configuration says otherwise. */
export const defaultUnpackLimits: Readonly<UnpackLimits> = {
  maxUnpackedBytes: 32 * 1024 ** 3,
  maxEntries: 2_000_000,
  maxCompressionRatio: 250,
};
