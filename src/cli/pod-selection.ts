import { GantryError } from '../error.ts';
import { findPod, readUuidFile } from '../pod/find.ts';
import type { Pod } from '../pod/pod.ts';
import { valued } from './command.ts';
import type { Context } from './context.ts';

/** `--uuid-file`: a pod named by the file `--uuid-file-save` wrote. */
export function uuidFileOption() {
  return valued('--uuid-file <FILE>', 'read the UUID from a file that --uuid-file-save wrote');
}

/** The one pod a command is about, by UUID or `--uuid-file`. Throws `usage`, `not-found`, `ambiguous`. */
export function onlyPod(
  context: Context,
  operands: readonly string[],
  options: Record<string, unknown>,
): Pod {
  const [uuid, ...more] = podNames(operands, options);
  if (uuid === undefined || more.length > 0) {
    throw new GantryError('usage', 'name one pod by its UUID, or a file with --uuid-file');
  }
  return findPod(context.dataDir, uuid);
}

/** The UUIDs, or beginnings of them, that a command names. Throws `usage` where there are none. */
export function podNames(operands: readonly string[], options: Record<string, unknown>): string[] {
  const file = options['uuidFile'];
  if (typeof file === 'string') {
    if (operands.length > 0) {
      throw new GantryError('usage', '--uuid-file and a UUID exclude each other: give one of them');
    }
    return [readUuidFile(file)];
  }
  if (operands.length === 0) {
    throw new GantryError('usage', 'name a pod by its UUID: gantry list shows them');
  }
  return [...operands];
}
