import { GantryError } from '../error.ts';
import { quote } from './quotation.ts';

/** The hash algorithms Gantry names content by. */
export type DigestAlgorithm = 'sha256' | 'sha512';

/** What some bytes hash to; `hex` is whole and lower case. */
export interface Digest {
  readonly algorithm: DigestAlgorithm;
  readonly hex: string;
}

/**
 * An image ID. Of an App Container image: `sha512-` and the 128 hex digits of the SHA-512 of the
 * uncompressed archive (appc spec/aci.md, "Image ID"). Of an OCI image: `sha256-` and the 64 hex digits
 * of its manifest's digest (or `sha512-` and 128, where a registry uses that), which is the same for
 * whoever pulls it.
 */
export type ImageId = string;

/** What the ID of every App Container image starts with (appc spec/types.md). */
const imageIdPrefix = 'sha512-';

const wholeId = /^(?:sha512-[0-9a-f]{128}|sha256-[0-9a-f]{64})$/;
// rkt keeps and prints only the first half of the hash, so manifests written beside rkt hold that.
const referredId = /^(?:sha512-[0-9a-f]{64,128}|sha256-[0-9a-f]{64})$/;

/** Whether `text` is a whole image ID. */
export function isImageId(text: string): boolean {
  return wholeId.test(text);
}

/**
 * A whole image ID.
 * @throws GantryError `invalid-reference`
 */
export function parseImageId(text: string): ImageId {
  if (!wholeId.test(text)) {
    throw new GantryError(
      'invalid-reference',
      `invalid image ID ${quote(text)}: an image ID is sha512- and 128 lower-case hex digits, or sha256- and 64`,
    );
  }
  return text;
}

/**
 * Whether `text` is an image ID as a manifest may refer to an image: whole, or at least the 64
 * digits rkt keeps of it. Compare with `matchesImageId`.
 */
export function isReferredImageId(text: string): boolean {
  return referredId.test(text);
}

/** Whether `id` (whole) is the image that `wanted` (whole, or shortened as rkt does) means. */
export function matchesImageId(id: ImageId, wanted: string): boolean {
  return referredId.test(wanted) && id.startsWith(wanted);
}

/** The image ID of an archive whose uncompressed bytes have this SHA-512, in hex. */
export function imageIdOf(sha512Hex: string): ImageId {
  return parseImageId(imageIdPrefix + sha512Hex);
}

/** The image ID of the OCI image whose manifest has this digest. */
export function imageIdOfManifest({ algorithm, hex }: Digest): ImageId {
  return parseImageId(`${algorithm}-${hex}`);
}

/** A digest as OCI writes it: `sha256:…` (image-spec descriptor.md, "Digests"). */
export function formatDigest({ algorithm, hex }: Digest): string {
  return `${algorithm}:${hex}`;
}

/** Whether two digests are the same. */
export function sameDigest(a: Digest, b: Digest): boolean {
  return a.algorithm === b.algorithm && a.hex === b.hex;
}

/** `sha512:abcd…`, or `sha256-abcd…`: both separators are in use (OCI, appc). */
export function parseDigest(text: string): Digest {
  const match = /^(sha256|sha512)[:-]([0-9a-f]+)$/.exec(text);
  const [, algorithm, hex] = match ?? [];
  if (algorithm === 'sha256' && hex?.length === 64) return { algorithm, hex };
  if (algorithm === 'sha512' && hex?.length === 128) return { algorithm, hex };
  throw new GantryError(
    'invalid-reference',
    `invalid digest ${quote(text)}: a digest is sha256 or sha512, ":" and its hex digits`,
  );
}
