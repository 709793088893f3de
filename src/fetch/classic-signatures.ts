import { GantryError } from '../error.ts';
import { formatDigest, sameDigest } from '../image/digest.ts';
import { type Descriptor, parseOciManifest } from '../image/oci-manifest.ts';
import type { ArtifactPart } from './artifact.ts';
import type { FoundManifest } from './oci-source.ts';
import { classicManifest } from './signature-artifact.ts';

/** What is to lie under a signature tag after a copy. */
export type MergedSignatures =
  /** What comes, as it is. */
  | 'coming'
  /** What is there already. */
  | 'present'
  /** Both together. */
  | Record<'manifest' | 'config', ArtifactPart>;

/**
 * All classic signatures of an image share one tag, so that putting those that come there would take away
 * those others made: both stay.
 *
 * @throws GantryError `invalid-manifest` where something else lies under the tag
 */
export function mergeSignatures(present: FoundManifest, coming: FoundManifest): MergedSignatures {
  if (sameDigest(present.digest, coming.digest)) return 'present';
  const [there, here] = [layersOf(present), layersOf(coming)];
  const known = new Set(there.map(identityOf));
  const added = here.filter((layer) => !known.has(identityOf(layer)));
  if (added.length === 0) return 'present';
  const all = [...there, ...added];
  return all.length === here.length ? 'coming' : classicManifest(all);
}

function layersOf({ bytes, mediaType, digest }: FoundManifest): Descriptor[] {
  const document = parseOciManifest(bytes, mediaType);
  if (document.kind === 'manifest') return document.layers;
  throw new GantryError(
    'invalid-manifest',
    `${formatDigest(digest)} is an image index, where signatures should lie: remove its tag`,
  );
}

/** The same payload may be signed by several keys. */
function identityOf({ digest, annotations }: Descriptor): string {
  const sorted = Object.entries(annotations ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([formatDigest(digest), sorted]);
}
