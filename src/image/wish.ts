import { GantryError } from '../error.ts';
import { matchesImageId } from './digest.ts';
import { type Dependency, type ImageManifest, labelOf } from './image-manifest.ts';
import { platformLabels } from './platform.ts';
import { formatName, type NameReference } from './reference.ts';

/** What was asked for by name, and so must be what the manifest of the image that came says. */
export interface Wish {
  /** As messages call it. */
  readonly text: string;
  readonly name: string;
  /** Asked for: the image must carry each of them, with this value. */
  readonly labels: ReadonlyMap<string, string>;
  /** A dependency may name the image by its digest as well. */
  readonly imageId?: string | undefined;
}

/** The wish an operator's reference expresses. */
export function wishOf(reference: NameReference): Wish {
  const { text, name, labels } = reference;
  return { text, name, labels };
}

/** What an image's manifest asks for beneath it (appc spec/aci.md, Dependency Matching). */
export function wishOfDependency({ imageName, imageId, labels }: Dependency): Wish {
  const asked = new Map(labels.map(({ name, value }) => [name, value]));
  return { text: `dependency ${imageName}`, name: imageName, labels: asked, imageId };
}

/** The wish as a reference the store can look up. */
export function referenceOf(wish: Wish): NameReference {
  const { name, labels } = wish;
  return { kind: 'name', text: formatName(name, labels), name, labels };
}

/** The labels to look for: those asked for, and this machine's os and arch where they are not. */
export function completeLabels(wish: Wish): ReadonlyMap<string, string> {
  return new Map([...platformLabels(), ...wish.labels]);
}

/**
 * Holds a manifest against what was asked for (appc spec/discovery.md, Validation). A label nobody
 * asked for may have any value, but os and arch must not be another machine's: an image without
 * them, such as a dependency of plain data, is for every machine.
 *
 * @throws GantryError `invalid-manifest`, in rkt's words
 */
export function requireGranted(wish: Wish, manifest: ImageManifest, id: string): void {
  if (manifest.name !== wish.name) {
    throw mismatch(
      wish,
      `error when reading the app name: ${quote(wish.name)} expected but ${quote(manifest.name)} found`,
    );
  }
  for (const [label, value] of wish.labels) {
    const found = labelOf(manifest, label);
    if (found === undefined) {
      throw mismatch(wish, `requested label ${quote(label)} not provided by the image manifest`);
    }
    if (found !== value) throw mismatch(wish, differs(label, value, found));
  }
  for (const [label, value] of platformLabels()) {
    const found = labelOf(manifest, label);
    if (!wish.labels.has(label) && found !== undefined && found !== value) {
      throw mismatch(wish, differs(label, value, found));
    }
  }
  if (wish.imageId !== undefined && !matchesImageId(id, wish.imageId)) {
    throw mismatch(wish, `the image ID ${wish.imageId} is asked for, and ${id} came`);
  }
}

/** Whether a stored image is what is asked for. */
export function isGranted(wish: Wish, manifest: ImageManifest, id: string): boolean {
  try {
    requireGranted(wish, manifest, id);
    return true;
  } catch {
    return false;
  }
}

function differs(label: string, wanted: string, found: string): string {
  return `requested value for label ${quote(label)}: ${quote(wanted)} differs from fetched aci label value: ${quote(found)}`;
}

function mismatch(wish: Wish, why: string): GantryError {
  return new GantryError('invalid-manifest', `${wish.text}: ${why}`);
}

function quote(text: string): string {
  return JSON.stringify(text);
}
