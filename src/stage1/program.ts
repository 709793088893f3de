import { posix } from 'node:path';
import { GantryError } from '../error.ts';
import type { LayerTree } from '../isolation/layer-tree.ts';

/**
 * The path an app's program is executed by (appc spec/aci.md, `exec`): as it is when it holds a
 * slash, otherwise the first executable file of that name along PATH, in the image.
 * @param path the app's PATH
 * @param directory the app's working directory, which relative elements of PATH start from
 * @throws GantryError `launch` when no directory of PATH holds it
 */
export function findProgram(
  program: string,
  path: string,
  directory: string,
  tree: LayerTree,
  where: string,
): string {
  if (program.includes('/')) return program;
  for (const element of path.split(':')) {
    const candidate = posix.resolve('/', directory, element, program);
    const stats = tree.stat(candidate);
    if (stats?.isFile() && (stats.mode & 0o111) !== 0) return candidate;
  }
  throw new GantryError(
    'launch',
    `${where}: unable to find ${JSON.stringify(program)} in ${JSON.stringify(path)}: its whole path is needed (--exec, for the app itself)`,
  );
}
