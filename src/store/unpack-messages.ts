import type { UnpackLimits } from '../image/unpack-limits.ts';
import type { UnpackedArchive } from './archive-unpacking.ts';
import type { UnpackedLayer } from './layer-unpacking.ts';

/** What an unpacking thread is to unpack next. */
export interface UnpackOrder {
  /** An App Container Image's archive, or an OCI layer. */
  readonly kind: 'image' | 'layer';
  /** Made by the thread; becomes the root file system, or a layer of one. */
  readonly directory: string;
  readonly limits: UnpackLimits;
  /** See `UnpackBudget`: what the image's archives unpacked to together. */
  readonly budget: SharedArrayBuffer;
}

/** To the thread: an order and the count of its `ContentDigest`, the next bytes as fetched, that they are over, or that nobody wants anything any more. */
export type ToUnpacker =
  | {
      readonly kind: 'start';
      readonly order: UnpackOrder;
      readonly outstanding: SharedArrayBuffer;
    }
  | { readonly kind: 'piece'; readonly piece: Uint8Array<ArrayBuffer> }
  | { readonly kind: 'end' }
  | { readonly kind: 'quit' };

/** From the thread: content to digest, a piece was taken and its memory is free again, everything is written, or what went wrong. */
export type FromUnpacker =
  | { readonly kind: 'content'; readonly piece: Uint8Array }
  | { readonly kind: 'taken'; readonly buffer: ArrayBuffer }
  | { readonly kind: 'unpacked'; readonly unpacked: UnpackedArchive | UnpackedLayer }
  | {
      readonly kind: 'failed';
      /** A GantryError's code, or undefined for any other error. */
      readonly code: string | undefined;
      readonly errno: string | undefined;
      readonly message: string;
    };
