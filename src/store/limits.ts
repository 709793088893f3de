/** How much one image may unpack to before it is refused as a decompression bomb. */
export interface UnpackLimits {
  /** Bytes of the archive once decompressed, headers and padding included. */
  readonly maxUnpackedBytes: number;
  /** Entries of the archive. */
  readonly maxEntries: number;
  /** Decompressed bytes for each byte fetched; judged once a few megabytes have come out. */
  readonly maxCompressionRatio: number;
}
