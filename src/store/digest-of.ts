import { createHash } from 'node:crypto';
import type { Digest } from '../image/digest.ts';

/**
 * The SHA-256 of some bytes: what everything new is named by. Apart from image/digest.ts, for the way to
 * a running pod loads no cryptography.
 */
export function digestOf(bytes: Uint8Array): Digest {
  return { algorithm: 'sha256', hex: createHash('sha256').update(bytes).digest('hex') };
}
