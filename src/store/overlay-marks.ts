import type { BigIntStats, Stats } from 'node:fs';
import { errnoOf } from '../error.ts';
import { system } from '../system/binding.ts';
import { OPAQUE_ATTRIBUTE } from '../system/overlay-attribute.ts';

/**
 * How overlayfs marks in a layer what it hides of those below (Documentation/filesystems/overlayfs.rst,
 * "whiteouts and opaque directories").
 */
const opaqueValue = Buffer.from('y');

/** Whether something is a whiteout: character device 0/0. */
export function isWhiteout(stats: Stats | BigIntStats): boolean {
  return stats.isCharacterDevice() && BigInt(stats.rdev) === 0n;
}

/** Whether nothing of lower layers shows in the directory at `path`; nothing is hidden by what is not there. */
export function isOpaque(path: string): boolean {
  try {
    return system.getXattr(path, OPAQUE_ATTRIBUTE)?.equals(opaqueValue) === true;
  } catch (error) {
    // A tree that was removed meanwhile is for whoever uses it to miss.
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/** Marks the directory at `path`. */
export function makeOpaque(path: string): void {
  system.setXattr(path, OPAQUE_ATTRIBUTE, opaqueValue);
}

/** Whether overlayfs reads this extended attribute as its own bookkeeping. */
export function isOverlayXattr(name: string): boolean {
  return /^(trusted|user)\.overlay(\.|$)/.test(name);
}

/**
 * The trees of an image, top first, that overlayfs is to be given: each once, since it refuses one
 * that comes twice (of which the lower one would show nothing that the upper does not), and none
 * below a root that is opaque, a mark overlayfs does not look for there.
 */
export function showingTrees(trees: readonly string[]): string[] {
  const distinct = [...new Set(trees)];
  const last = distinct.findIndex(isOpaque);
  return last === -1 ? distinct : distinct.slice(0, last + 1);
}
