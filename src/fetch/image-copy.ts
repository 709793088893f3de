import { GantryError } from '../error.ts';
import { type Digest, formatDigest, sameDigest } from '../image/digest.ts';
import type { Platform } from '../image/oci-manifest.ts';
import { ociPlatform } from '../image/platform.ts';
import type { LayoutReference, Reference, RegistryReference } from '../image/reference.ts';
import type { FetchContext } from './context.ts';
import { copyImage } from './copying.ts';
import { openDestination, openImage } from './image-place.ts';
import { resolveManifest } from './oci-intake.ts';
import type { FoundManifest, OciSource } from './oci-source.ts';

/** What is to be copied whereto, and how much of it. */
export interface CopyRequest {
  readonly from: Reference;
  readonly to: RegistryReference | LayoutReference;
  /** The one image of an index that is meant; undefined for all of them. */
  readonly platform: Platform | undefined;
  readonly signatures: boolean;
  /** Replace a file, or an image of the same name in a layout. */
  readonly overwrite: boolean;
}

/**
 * Copies an image with what lies beside it from one place to another, and answers the digest of what was
 * copied. Signatures are carried, not checked: who fetches the image from there checks them.
 *
 * @throws GantryError `usage`, `not-found`, `unsupported`, and what `copyImage` throws
 */
export async function copyBetween(request: CopyRequest, context: FetchContext): Promise<Digest> {
  const failing = new AbortController();
  const signals = [failing.signal, ...(context.signal === undefined ? [] : [context.signal])];
  const own = { ...context, signal: AbortSignal.any(signals) };
  const { source, image, isLocal, close } = await openImage(request.from, own);
  try {
    const chosen = await choose(image, source, request);
    refuseOtherDigest(chosen, request);
    const to = await openDestination(request.to, request, own);
    try {
      const { destination, tag, mayReplace } = to;
      const terms = { tag, mayReplace, signatures: carriesSignatures(request, own) };
      await copyImage(chosen, terms, {
        source,
        destination,
        isLocal,
        report: own.report,
        signal: own.signal,
        present: (name) => to.present(name),
        abandon: (reason) => failing.abort(reason),
      });
    } finally {
      await to.close();
    }
    return chosen.digest;
  } finally {
    await close();
  }
}

/** What of an index is meant: all of it, unless a platform was asked for or only one image has room. */
async function choose(
  image: FoundManifest,
  source: OciSource,
  { platform, to }: CopyRequest,
): Promise<FoundManifest> {
  const wanted = platform ?? (isDockerArchive(to) ? ociPlatform(new Map()) : undefined);
  if (wanted === undefined) return image;
  const { descriptor, bytes } = await resolveManifest(image, source, wanted);
  return { digest: descriptor.digest, mediaType: descriptor.mediaType, bytes };
}

function carriesSignatures({ to, signatures }: CopyRequest, { report }: FetchContext): boolean {
  if (!isDockerArchive(to)) return signatures;
  if (signatures) {
    report.info(
      'image: a docker-archive has no place for signatures, and its image may get another digest',
    );
  }
  return false;
}

function isDockerArchive(place: RegistryReference | LayoutReference): boolean {
  return place.kind === 'layout' && place.format === 'docker-archive';
}

/** A destination that is named by digest can only take that. */
function refuseOtherDigest({ digest }: FoundManifest, { to }: CopyRequest): void {
  if (to.kind !== 'registry' || to.digest === undefined || sameDigest(to.digest, digest)) return;
  throw new GantryError(
    'usage',
    `${to.text}: the image is ${formatDigest(digest)}: name that digest, or only a tag`,
  );
}
