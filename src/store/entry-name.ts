import { GantryError } from '../error.ts';

/** Where in an App Container Image a member belongs (appc spec/aci.md, Image Archives). */
export type Place =
  | { readonly kind: 'archive' } // the directory the archive was made of, `./`
  | { readonly kind: 'manifest' }
  /** Relative to the root file system, without slashes at either end; '' is the root itself. */
  | { readonly kind: 'rootfs'; readonly path: string };

/** In what the archives of images and those of layers differ. */
export interface ArchiveDialect {
  /** Where in the tree the member lies that a hard link names; undefined where that is outside. */
  targetOf(linkName: string): string | undefined;
  /**
   * Whether what other tools write and is harmless is taken: a relative symbolic link that climbs past
   * the root (the kernel stops there), a hard link to a symbolic link, a directory that gives way to
   * something else of its name.
   */
  readonly lenient: boolean;
}

/** What a name in a layer asks for (image-spec layer.md, "Whiteouts"). */
export type LayerPlace =
  /** Relative to the root, without slashes at either end; '' is the root itself. */
  | { readonly kind: 'entry'; readonly path: string }
  /** What lower layers have at `path` is gone. */
  | { readonly kind: 'whiteout'; readonly path: string }
  /** What lower layers have in the directory `path` is gone. */
  | { readonly kind: 'opaque'; readonly path: string }
  /** AUFS's own bookkeeping, which means nothing to anybody else. */
  | { readonly kind: 'bookkeeping' };

const whiteoutPrefix = '.wh.';
const aufsPrefix = '.wh..wh.';
const opaqueMark = '.wh..wh..opq';

// NAME_MAX and PATH_MAX of Linux, less the terminating NUL.
const maxComponent = 255;
const maxPath = 4095;

/**
 * Tells where a member named `name` goes, or throws `invalid-archive` saying why it goes nowhere.
 * Nothing is resolved on disk: `..` is refused even where it would stay inside.
 */
export function placeOf(name: string): Place {
  const parts = components(name);
  const [top, ...rest] = parts;
  if (top === undefined) return { kind: 'archive' };
  if (top === 'rootfs') return { kind: 'rootfs', path: rest.join('/') };
  if (top === 'manifest' && rest.length === 0) return { kind: 'manifest' };
  throw refusedEntry(name, 'only "manifest" and "rootfs" may be at the top of an image');
}

/** An App Container Image's archive (appc spec/aci.md). */
export const imageDialect: ArchiveDialect = {
  targetOf(linkName) {
    const place = placeOf(linkName);
    return place.kind === 'rootfs' && place.path !== '' ? place.path : undefined;
  },
  lenient: false,
};

/** An OCI layer's archive (image-spec layer.md). */
export const layerDialect: ArchiveDialect = {
  targetOf(linkName) {
    const path = components(withoutRoot(linkName)).join('/');
    return path === '' ? undefined : path;
  },
  lenient: true,
};

/**
 * Tells what a member of a layer named `name` asks for, or throws `invalid-archive`. A name may begin
 * with a slash, as some tools write it: it is relative to the root all the same.
 */
export function placeInLayer(name: string): LayerPlace {
  const parts = components(withoutRoot(name));
  if (!name.includes(whiteoutPrefix)) return { kind: 'entry', path: parts.join('/') };
  if (parts.some((part) => part.startsWith(aufsPrefix) && part !== opaqueMark)) {
    return { kind: 'bookkeeping' };
  }
  const last = parts.pop() ?? '';
  if (parts.some((part) => part.startsWith(whiteoutPrefix))) {
    throw refusedEntry(name, 'its path leads through a whiteout');
  }
  if (last === opaqueMark) return { kind: 'opaque', path: parts.join('/') };
  if (!last.startsWith(whiteoutPrefix)) return { kind: 'entry', path: [...parts, last].join('/') };
  const hidden = last.slice(whiteoutPrefix.length);
  if (['', '.', '..'].includes(hidden)) {
    throw refusedEntry(name, `a whiteout of ${hidden === '' ? 'nothing' : JSON.stringify(hidden)}`);
  }
  return { kind: 'whiteout', path: [...parts, hidden].join('/') };
}

/**
 * Throws unless a symbolic link at `path` (relative to the root file system) points inside it.
 * An absolute target means the app's own root. A relative one is followed component by component
 * from where the link lies; climbing past the root would be harmless in a pod, whose root it cannot
 * pass, but nothing that is well made does it.
 */
export function checkSymlinkTarget(name: string, path: string, target: string): void {
  checkSymlinkText(name, target);
  let depth = target.startsWith('/') ? 0 : path.split('/').length - 1;
  for (const part of target.split('/')) {
    if (part === '' || part === '.') continue;
    depth += part === '..' ? -1 : 1;
    if (depth < 0 && !target.startsWith('/')) {
      throw refusedEntry(name, `the symbolic link to ${JSON.stringify(target)} leaves the root`);
    }
  }
}

/** Throws unless a symbolic link can say `target`, wherever that leads. */
export function checkSymlinkText(name: string, target: string): void {
  if (target === '') throw refusedEntry(name, 'a symbolic link to nothing');
  if (target.includes('\0')) throw refusedEntry(name, 'the link target holds a NUL');
  if (Buffer.byteLength(target) > maxPath) throw refusedEntry(name, 'the link target is too long');
}

/** What a member is refused with: one line, naming it as the archive does. */
export function refusedEntry(name: string, why: string, cause?: unknown): GantryError {
  const shown = name.length > 200 ? `${name.slice(0, 200)}…` : name;
  return new GantryError(
    'invalid-archive',
    `image archive: entry ${JSON.stringify(shown)} refused: ${why}`,
    { cause },
  );
}

/** A name that begins at the root, seen from there. */
function withoutRoot(name: string): string {
  return name.startsWith('/') ? `.${name}` : name;
}

function components(name: string): string[] {
  if (name === '') throw refusedEntry(name, 'it has no name');
  if (name.includes('\0')) throw refusedEntry(name, 'its name holds a NUL');
  if (name.startsWith('/')) throw refusedEntry(name, 'its name is absolute');
  if (Buffer.byteLength(name) > maxPath) throw refusedEntry(name, 'its name is too long');
  const parts: string[] = [];
  for (const part of name.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..') throw refusedEntry(name, 'its name contains ".."');
    if (part.length > maxComponent / 4 && Buffer.byteLength(part) > maxComponent) {
      throw refusedEntry(name, 'its name is too long');
    }
    parts.push(part);
  }
  return parts;
}
