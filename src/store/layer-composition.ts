import { createHash } from 'node:crypto';
import { closeSync, constants, lstatSync, openSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { GantryError } from '../error.ts';
import { quote } from '../image/quotation.ts';
import { system } from '../system/binding.ts';
import { isOpaque, isOverlayXattr, isWhiteout } from './overlay-marks.ts';
import { mergeTrees } from './tree-merging.ts';

/** A layer among those below and above it. */
export interface LaidLayer {
  /** Of its tree: what `layerTreeName` says. */
  readonly name: string;
  /** Absolute: where the tree is. */
  readonly tree: string;
  /** See `UnpackedLayer`. */
  readonly unmentioned: readonly string[];
}

/** A layer as it is laid over the ones below. */
export interface ComposedLayer {
  /** The layer's own tree, or the name of a variant of it. */
  readonly name: string;
  readonly tree: string;
  /** What makes it a variant. */
  readonly variant?: VariantNote;
}

/** What a directory takes over from the layers below. */
interface Adjustment {
  readonly path: string;
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  /** Values in base64. */
  readonly xattrs: Readonly<Record<string, string>>;
}

/** What lies beside a variant's tree, enough to make it anew. */
export interface VariantNote {
  readonly version: 1;
  readonly adjusted: readonly Adjustment[];
}

/** Gives the tree of a variant, made anew or found. */
type VariantMaker = (name: string, base: string, note: VariantNote) => string;

/**
 * Lays layers over each other that were unpacked by themselves, lowest first. Overlayfs shows a merged
 * directory as its top-most layer has it; a directory that a layer only goes through must look as the
 * layers below have it all the same (`/tmp` stays 1777 though a layer adds `/tmp/x` alone). Such a layer
 * is used in a variant: hard links, and directories adjusted.
 * Throws `invalid-archive` where a layer goes through what is no directory in the layers below: to
 * follow a symbolic link there would write wherever another layer points.
 */
export function composeLayers(
  layers: readonly LaidLayer[],
  makeVariant: VariantMaker,
): ComposedLayer[] {
  const composed: ComposedLayer[] = [];
  for (const [index, layer] of layers.entries()) {
    const below = new MergedTrees(composed.map(({ tree }) => tree).reverse());
    const adjusted = layer.unmentioned.flatMap(
      (path) => adjustmentOf(layer, path, below, index) ?? [],
    );
    if (adjusted.length === 0) {
      composed.push({ name: layer.name, tree: layer.tree });
      continue;
    }
    const variant: VariantNote = { version: 1, adjusted };
    const name = `${layer.name}-${shortDigest(adjusted)}`;
    composed.push({ name, tree: makeVariant(name, layer.tree, variant), variant });
  }
  return composed;
}

/** Makes a variant of a layer's tree at `target`, which must not exist. */
export function writeVariant(base: string, { adjusted }: VariantNote, target: string): void {
  mergeTrees([{ tree: base, whitelists: [] }], target);
  for (const adjustment of adjusted) adjust(join(target, adjustment.path), adjustment);
}

/** The layer's tree that a variant was made of. */
export function baseOfVariant(name: string): string {
  return name.split('-').slice(0, 3).join('-');
}

function adjustmentOf(
  layer: LaidLayer,
  path: string,
  below: MergedTrees,
  index: number,
): Adjustment | undefined {
  const found = below.find(path);
  if (found === undefined) return undefined;
  if (!found.stats.isDirectory()) {
    const what = found.stats.isSymbolicLink() ? 'the symbolic link' : 'what is no directory,';
    const shown = /^[\w./-]{1,200}$/.test(path) ? `/${path}` : quote(`/${path}`);
    throw new GantryError(
      'invalid-archive',
      `layer ${index + 1} (${layer.name.slice('diff-'.length, 'diff-sha256-'.length + 12)}) writes through ${what} ${shown} of a layer below`,
    );
  }
  const wanted = appearanceOf(found.at, found.stats);
  const own = join(layer.tree, path);
  const actual = appearanceOf(own, lstatSync(own));
  return JSON.stringify(wanted) === JSON.stringify(actual) ? undefined : { path, ...wanted };
}

/** Something in a tree. */
interface Found {
  /** Absolute. */
  readonly at: string;
  readonly stats: Stats;
}

/** A place in trees laid over each other, and of a directory the trees that take part in it, top first. */
interface MergedPlace {
  readonly found: Found;
  readonly directories: readonly string[];
}

/**
 * Trees laid over each other, top first; no symbolic link is followed. What was found is kept: a name of
 * 4 kB goes through two thousand directories, and each would be looked up from the root again.
 */
class MergedTrees {
  readonly #trees: readonly string[];
  readonly #known = new Map<string, MergedPlace | undefined>();

  constructor(trees: readonly string[]) {
    this.#trees = trees;
  }

  /** What is at `path`, relative to the root, which is ''. */
  find(path: string): Found | undefined {
    return this.#place(path)?.found;
  }

  #place(path: string): MergedPlace | undefined {
    if (this.#known.has(path)) return this.#known.get(path);
    const place = path === '' ? this.#root() : this.#below(path);
    this.#known.set(path, place);
    return place;
  }

  #root(): MergedPlace | undefined {
    const [top] = this.#trees;
    if (top === undefined) return undefined;
    const found = { at: top, stats: lstatSync(top) };
    return { found, directories: untilOpaque(this.#trees, '') };
  }

  #below(path: string): MergedPlace | undefined {
    const parent = this.#place(path.slice(0, Math.max(0, path.lastIndexOf('/'))));
    const entries = entriesAt(parent?.directories ?? [], path);
    const [found] = entries;
    if (found === undefined) return undefined;
    const below = entries.filter(({ stats }) => stats.isDirectory()).map(({ tree }) => tree);
    return { found, directories: untilOpaque(below, path) };
  }
}

/** What the trees have at `path`, top first, down to where nothing shows through any more. */
function entriesAt(trees: readonly string[], path: string): (Found & { tree: string })[] {
  const entries: (Found & { tree: string })[] = [];
  for (const tree of trees) {
    const at = join(tree, path);
    const stats = lstatSync(at, { throwIfNoEntry: false });
    if (stats === undefined) continue;
    if (isWhiteout(stats)) break;
    entries.push({ tree, at, stats });
    if (!stats.isDirectory()) break;
  }
  return entries;
}

/** The trees that take part in the merged directory at `path`: those down to the first opaque one. */
function untilOpaque(trees: readonly string[], path: string): readonly string[] {
  const last = trees.findIndex((tree) => isOpaque(join(tree, path)));
  return last === -1 ? trees : trees.slice(0, last + 1);
}

function appearanceOf(path: string, { uid, gid, mode }: Stats): Omit<Adjustment, 'path'> {
  const xattrs: Record<string, string> = {};
  for (const name of system.listXattr(path).sort()) {
    if (isOverlayXattr(name)) continue;
    const value = system.getXattr(path, name);
    if (value !== undefined) xattrs[name] = value.toString('base64');
  }
  return { uid, gid, mode: mode & 0o7777, xattrs };
}

function adjust(directory: string, { uid, gid, mode, xattrs }: Adjustment): void {
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    // An unmentioned directory is of the epoch, and of nobody else.
    system.settle(fd, uid, gid, mode, 0, 0);
  } finally {
    closeSync(fd);
  }
  for (const [name, value] of Object.entries(xattrs)) {
    system.setXattr(directory, name, Buffer.from(value, 'base64'));
  }
}

/** Long enough that nobody finds other adjustments for a name that an image of theirs would take first. */
function shortDigest(adjusted: readonly Adjustment[]): string {
  return createHash('sha256').update(JSON.stringify(adjusted)).digest('hex').slice(0, 32);
}
