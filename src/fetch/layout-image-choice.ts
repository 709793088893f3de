import { GantryError } from '../error.ts';
import type { Descriptor } from '../image/oci-manifest.ts';
import { quote } from '../image/quotation.ts';
import { parseRegistryReference } from '../image/reference.ts';
import { repositoryName } from '../image/repository.ts';

/** One image of a layout or archive. */
export interface LayoutImage {
  /** What it is called there: a tag, or a whole reference. */
  readonly ref?: string;
  /** The whole reference, where it is kept beside the tag. */
  readonly name?: string;
  readonly descriptor: Descriptor;
}

/** More names than this do not help to choose. */
const shownNames = 20;

/**
 * The image that `ref` means: `@N` is the one at that place; otherwise what is called exactly so, else
 * what a whole reference of the same meaning names, else what has it for a tag.
 *
 * @param shown the layout, for messages
 * @throws GantryError `not-found`, `ambiguous`
 */
export function findImage(
  images: readonly LayoutImage[],
  ref: string | undefined,
  shown: string,
): LayoutImage {
  if (images.length === 0) throw new GantryError('not-found', `${shown}: there is no image in it`);
  const found = ref === undefined ? distinct(images) : matching(images, ref);
  const [only] = found;
  if (only !== undefined && found.length === 1) return only;
  const names = images.map(({ ref: own, name }, index) => own ?? name ?? `@${index}`);
  const listed = `${names.slice(0, shownNames).map(quote).join(', ')}${names.length > shownNames ? ', …' : ''}`;
  if (ref === undefined) {
    throw new GantryError('ambiguous', `${shown}: say which of its images is meant: ${listed}`);
  }
  throw found.length === 0
    ? new GantryError(
        'not-found',
        `${shown}: no image in it is called ${quote(ref)}: there is ${listed}`,
      )
    : new GantryError(
        'ambiguous',
        `${shown}: ${found.length} images in it are called ${quote(ref)}: say @N`,
      );
}

function matching(images: readonly LayoutImage[], ref: string): LayoutImage[] {
  const [, place] = /^@(\d{1,6})$/.exec(ref) ?? [];
  if (place !== undefined) return images.slice(Number(place), Number(place) + 1);
  const wanted = wholeReference(ref);
  const tests: ((called: string) => boolean)[] = [
    (called) => called === ref,
    (called) => wanted !== undefined && wholeReference(called) === wanted,
    (called) => tagOf(called) === ref,
  ];
  for (const test of tests) {
    const found = images.filter(({ ref: own, name }) =>
      [own, name].some((one) => one && test(one)),
    );
    if (found.length > 0) return distinct(found);
  }
  return [];
}

/** Several names of one image are no choice. */
function distinct(images: readonly LayoutImage[]): LayoutImage[] {
  const seen = new Set<string>();
  return images.filter(({ descriptor: { digest } }) => {
    const known = seen.has(digest.hex);
    seen.add(digest.hex);
    return !known;
  });
}

/** `busybox:1.37` as `docker.io/library/busybox:1.37`; undefined for a tag, and what is no reference. */
function wholeReference(text: string): string | undefined {
  if (!/[/:]/.test(text)) return undefined;
  try {
    const { repository, tag } = parseRegistryReference(text);
    return `${repositoryName(repository)}:${tag}`;
  } catch {
    return undefined;
  }
}

function tagOf(text: string): string | undefined {
  return /:([^:/]+)$/.exec(text)?.[1];
}
