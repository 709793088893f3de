import { createHash } from 'node:crypto';
import { GantryError } from '../error.ts';
import { matchesImageId } from '../image/digest.ts';
import type { Dependency } from '../image/image-manifest.ts';
import type { ImageRecord } from '../image/image-record.ts';

/** One image's tree to be laid over what came before, and what of it. */
export interface RenderStep {
  readonly record: ImageRecord;
  /** Every path whitelist on the way down to this image, its own included; a path must be in all. */
  readonly whitelists: readonly PathWhitelist[];
}

/** Deeper than any sensible chain; stops dependencies that go round in circles. */
const maxDepth = 64;

/**
 * The order in which an image's dependencies and the image itself are laid down: depth first, the
 * lowest first, the image last; an image reached on two ways comes twice, each time with that way's
 * whitelists (appc spec/ace.md, Filesystem Setup).
 * Throws `not-found` for a dependency that is not stored, `invalid-manifest` for a circle.
 */
export function renderSteps(
  record: ImageRecord,
  find: (dependency: Dependency) => ImageRecord | undefined,
): RenderStep[] {
  const steps: RenderStep[] = [];
  const descend = (image: ImageRecord, above: readonly PathWhitelist[], way: string[]): void => {
    if (way.includes(image.id) || way.length > maxDepth) {
      throw new GantryError(
        'invalid-manifest',
        `image ${record.name}: its dependencies go round in a circle through ${image.name}`,
      );
    }
    const { pathWhitelist, dependencies } = image.manifest;
    const own = pathWhitelist.length === 0 ? [] : [new PathWhitelist(pathWhitelist)];
    const whitelists = [...above, ...own];
    for (const dependency of dependencies) {
      descend(storedDependency(image, dependency, find), whitelists, [...way, image.id]);
    }
    steps.push({ record: image, whitelists });
  };
  descend(record, [], []);
  return steps;
}

/**
 * Names the tree the steps render to: the same images with the same whitelists in the same order
 * give the same name, and a dependency that was replaced gives another.
 */
export function renderingId(steps: readonly RenderStep[]): string {
  const recipe = steps.map(({ record, whitelists }) => [
    record.id,
    ...whitelists.map((whitelist) => whitelist.paths),
  ]);
  return treeName(recipe);
}

/** Names a tree by what it is made of. */
export function treeName(recipe: unknown): string {
  return `deps-sha512-${createHash('sha512').update(JSON.stringify(recipe)).digest('hex')}`;
}

function storedDependency(
  image: ImageRecord,
  dependency: Dependency,
  find: (dependency: Dependency) => ImageRecord | undefined,
): ImageRecord {
  const found = find(dependency);
  if (found === undefined) {
    throw new GantryError(
      'not-found',
      `image ${image.name} needs ${dependency.imageName}, which is not in the store: gantry fetch ${image.name} fetches both`,
    );
  }
  if (dependency.imageId !== undefined && !matchesImageId(found.id, dependency.imageId)) {
    throw new GantryError(
      'invalid-manifest',
      `image ${image.name} needs ${dependency.imageName} with the ID ${dependency.imageId}, but the store has ${found.id}`,
    );
  }
  return found;
}

/** The only paths that may exist (appc spec/aci.md, pathWhitelist), relative and without slashes around. */
export class PathWhitelist {
  /** Sorted, so that equal lists render to the same name. */
  readonly paths: readonly string[];
  readonly #paths: ReadonlySet<string>;
  readonly #parents: ReadonlySet<string>;

  constructor(absolutePaths: readonly string[]) {
    const paths = absolutePaths.map((path) =>
      path
        .split('/')
        .filter((part) => part !== '' && part !== '.')
        .join('/'),
    );
    this.paths = [...new Set(paths)].sort();
    this.#paths = new Set(this.paths);
    this.#parents = new Set(this.paths.flatMap(parentsOf));
  }

  /** Whether the path itself is listed. */
  admits(path: string): boolean {
    return this.#paths.has(path);
  }

  /** Whether a listed path lies below this one, so that it has to exist as a directory. */
  leadsOn(path: string): boolean {
    return this.#parents.has(path);
  }
}

function parentsOf(path: string): string[] {
  const parts = path.split('/');
  return parts.slice(0, -1).map((_, i) => parts.slice(0, i + 1).join('/'));
}
