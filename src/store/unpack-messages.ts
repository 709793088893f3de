import type { UnpackLimits } from '../image/unpack-limits.ts';

/** What the unpacking thread is started with. */
export interface UnpackOrder {
  /** Made by the thread; becomes the root file system. */
  readonly directory: string;
  readonly limits: UnpackLimits;
  /** See `ContentDigest`. */
  readonly outstanding: SharedArrayBuffer;
}

/** To the thread: the next bytes as fetched, that they are over, or that nobody wants them. */
export type ToUnpacker =
  | { readonly kind: 'piece'; readonly piece: Uint8Array<ArrayBuffer> }
  | { readonly kind: 'end' }
  | { readonly kind: 'abort' };

/** From the thread: content to digest, a piece was taken and its memory is free again, everything is on disk, or what went wrong. */
export type FromUnpacker =
  | { readonly kind: 'content'; readonly piece: Uint8Array }
  | { readonly kind: 'taken'; readonly buffer: ArrayBuffer }
  | {
      readonly kind: 'unpacked';
      readonly size: number;
      readonly manifest: Uint8Array;
      readonly deviceNodes: readonly string[];
    }
  | {
      readonly kind: 'failed';
      /** A GantryError's code, or undefined for any other error. */
      readonly code: string | undefined;
      readonly errno: string | undefined;
      readonly message: string;
    };
