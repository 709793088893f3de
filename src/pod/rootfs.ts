import { chmodSync, chownSync, mkdirSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { GantryError } from '../error.ts';
import type { Rootfs } from '../stage1/settings.ts';

/**
 * How an app's root file system is given to the plan: as paths relative to the pod directory, which
 * stay the same from phase to phase, are short (a mount option has 255 bytes), and hold none of the
 * characters overlayfs takes apart.
 * @param layers absolute, top first
 */
export function rootfsOf(podDir: string, layers: readonly string[], overlay: boolean): Rootfs {
  if (!overlay) return { kind: 'copy' };
  return { kind: 'overlay', lowers: layers.map((layer) => relative(podDir, layer)) };
}

/**
 * Makes what an app writes to below `directory`: an overlay's upper and work directories, or a copy
 * of the layer.
 */
export async function makeRootfs(
  directory: string,
  layers: readonly string[],
  overlay: boolean,
): Promise<void> {
  const [top] = layers;
  if (top === undefined) throw new GantryError('internal', `no layers for ${directory}`);
  if (!overlay) {
    if (layers.length > 1) {
      throw new GantryError(
        'unsupported',
        'an image of several layers cannot be copied: leave out --no-overlay',
      );
    }
    const { copyTree } = await import('./tree-copy.ts');
    copyTree(top, join(directory, 'rootfs'));
    return;
  }
  const upper = join(directory, 'upper');
  mkdirSync(upper);
  mkdirSync(join(directory, 'work'), 0o700);
  // The root of an overlay has the owner and mode of its upper directory.
  const { uid, gid, mode } = statSync(top);
  if (uid !== 0 || gid !== 0) chownSync(upper, uid, gid);
  chmodSync(upper, mode & 0o7777);
}
