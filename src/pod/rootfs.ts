import { chmodSync, chownSync, mkdirSync, statSync, symlinkSync } from 'node:fs';
import { join, relative } from 'node:path';
import { GantryError } from '../error.ts';
import { hostUser, type UserRange } from '../isolation/user-map.ts';
import { fitsOneOption } from '../stage1/overlay.ts';
import type { Rootfs } from '../stage1/settings.ts';

/** Short names for layers: links in this directory of the pod, or of an app that came later. */
export const LINKS = 'l';

/** The root file systems of a pod's apps. */
export interface PodRoots {
  /** One for each app, in order. */
  readonly rootfs: readonly Rootfs[];
  /** The layers, absolute, that `l/0`, `l/1` and so on lead to. */
  readonly links: readonly string[];
}

/**
 * How the roots of apps are given to the plan: as paths relative to the pod directory, which stay the same
 * from phase to phase, and hold none of the characters overlayfs takes apart.
 *
 * A mount option has 255 bytes, and layers by name take 80 to 150 each, so that two or three would fill
 * it; kernels before 6.5 have no other way. Several layers are therefore named by links, of which some 50
 * fit. Where there are more, each has an option of its own, and its own name.
 * @param apps the layers of each, absolute, top first
 * @param linksAt where the links will be, relative to the pod directory
 */
export function podRoots(
  podDir: string,
  apps: readonly (readonly string[])[],
  overlay: boolean,
  linksAt = LINKS,
): PodRoots {
  if (!overlay) return { rootfs: apps.map(() => ({ kind: 'copy' })), links: [] };
  let links: readonly string[] = [];
  const rootfs = apps.map((layers): Rootfs => {
    const [only, ...others] = layers;
    const more = [...new Set([...links, ...layers])];
    const short = layers.map((layer) => `${linksAt}/${more.indexOf(layer)}`);
    if (only === undefined || others.length === 0 || !fitsOneOption(short)) {
      return { kind: 'overlay', lowers: layers.map((layer) => relative(podDir, layer)) };
    }
    links = more;
    return { kind: 'overlay', lowers: short };
  });
  return { rootfs, links };
}

/**
 * Makes the links of `podRoots` in `directory`, which is made. Root's own, in root's own directory, they are as much to be relied upon
 * as the plan beside them; relative, they lead to the same layers in every phase.
 */
export function linkLayers(directory: string, links: readonly string[]): void {
  if (links.length === 0) return;
  mkdirSync(directory);
  for (const [number, layer] of links.entries()) {
    symlinkSync(relative(directory, layer), join(directory, String(number)));
  }
}

/**
 * Makes what an app writes to below `directory`: an overlay's upper and work directories, or a copy
 * of what the layers show.
 * @param users whose the files are; undefined: the host's own
 */
export async function makeRootfs(
  directory: string,
  layers: readonly string[],
  overlay: boolean,
  users: UserRange | undefined,
): Promise<void> {
  const [top] = layers;
  if (top === undefined) throw new GantryError('internal', `no layers for ${directory}`);
  if (!overlay) {
    const { flattenLayers } = await import('../store/tree-copy.ts');
    flattenLayers(layers, join(directory, 'rootfs'), 'copy', (id) => hostUser(id, users));
    return;
  }
  const upper = join(directory, 'upper');
  mkdirSync(upper);
  mkdirSync(join(directory, 'work'), 0o700);
  // The root of an overlay has the owner and mode of its upper directory.
  const { uid, gid, mode } = statSync(top);
  if (uid !== 0 || gid !== 0 || users !== undefined) {
    chownSync(upper, hostUser(uid, users), hostUser(gid, users));
  }
  chmodSync(upper, mode & 0o7777);
}
