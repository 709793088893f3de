/** The decoder inside unbzip2-stream, one block at a time; its stream queues whole blocks instead. */
declare module 'unbzip2-stream/lib/bzip2.js' {
  /** Answers the next `count` bits; null skips to the next whole byte. */
  type Bits = ((count: number | null) => number) & { readonly bytesRead: number };
  const bzip2: {
    /** Reads a stream's header and answers its block size in units of 100,000 bytes. */
    header(bits: Bits): number;
    /**
     * Decodes one block into `out`, a byte for each call. Answers the checksum of the stream so far,
     * or null where the stream ended instead.
     */
    decompress(
      bits: Bits,
      out: (byte: number) => void,
      work: Int32Array,
      workSize: number,
      checksum: number,
    ): number | null;
  };
  export default bzip2;
}

declare module 'unbzip2-stream/lib/bit_iterator.js' {
  /** Reads bits from buffers asked for one after the other. */
  export default function bitIterator(
    next: () => Uint8Array | undefined,
  ): ((count: number | null) => number) & { readonly bytesRead: number };
}
