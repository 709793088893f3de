import { GantryError } from '../error.ts';
import type { Descriptor, OciIndex, Platform } from '../image/oci-manifest.ts';
import { quote } from '../image/quotation.ts';

/** Names of processors that OCI's registry of them has two of (image-spec image-index.md, `variant`). */
const defaultVariants: Readonly<Record<string, string>> = { arm: 'v7', arm64: 'v8' };

/** Docker's largest official images have a dozen; an index may have tens of thousands. */
const SHOWN_PLATFORMS = 20;

/**
 * The manifest of an index for a platform: of those for its system and processor the one whose variant
 * comes nearest to the one wished for without going beyond it; where none is wished for, the one that
 * asks least of the machine (image-spec image-index.md, "platform"). Saying a platform is optional: an only
 * one that says none, such as an index in an index, is taken at what it turns out to be.
 *
 * @throws GantryError `unsupported` naming the platforms there are
 */
export function chooseManifest(index: OciIndex, wanted: Platform, image: string): Descriptor {
  const candidates = index.manifests.filter(({ platform }) => isFor(platform, wanted));
  const direction = wanted.variant === undefined ? 1 : -1;
  const [best] = candidates.toSorted(
    (a, b) => direction * (variantOf(a.platform) - variantOf(b.platform)),
  );
  if (best !== undefined) return best;
  const [open, ...others] = index.manifests.filter(({ platform }) => platform === undefined);
  if (open !== undefined && others.length === 0) return open;
  const offered = index.manifests
    .flatMap(({ platform }) => (platform === undefined ? [] : [formatPlatform(platform)]))
    .filter((text) => text !== 'unknown/unknown');
  const distinct = [...new Set(offered)];
  const more = distinct.length > SHOWN_PLATFORMS ? ', …' : '';
  const listed = distinct.slice(0, SHOWN_PLATFORMS).join(', ');
  const has = distinct.length === 0 ? 'it names none' : `it has ${listed}${more}`;
  throw new GantryError(
    'unsupported',
    `${image}: the index has no image for ${formatPlatform(wanted)} (${has}): choose one with --os, --arch and --variant`,
  );
}

/** `linux/arm/v7`, as docker writes platforms. */
function formatPlatform({ os, architecture, variant }: Platform): string {
  const words = [os, architecture, ...(variant === undefined ? [] : [variant])];
  return words.map((word) => (/^[\w.-]+$/.test(word) ? word : quote(word))).join('/');
}

/** Refuses an image that is for another machine than the one it was chosen for. */
export function requirePlatform(found: Platform, wanted: Platform, image: string): void {
  if (isFor(found, wanted)) return;
  throw new GantryError(
    'unsupported',
    `${image}: the image is for ${formatPlatform(found)}, not for ${formatPlatform(wanted)}`,
  );
}

function isFor(platform: Platform | undefined, wanted: Platform): boolean {
  if (platform?.os !== wanted.os || platform.architecture !== wanted.architecture) return false;
  return wanted.variant === undefined || variantOf(platform) <= variantOf(wanted);
}

/** `v7` as 7; what is not said is the usual variant. */
function variantOf(platform: Platform | undefined): number {
  const variant = platform?.variant ?? defaultVariants[platform?.architecture ?? ''] ?? 'v0';
  return Number(/^v(\d+)/.exec(variant)?.[1] ?? 0);
}
