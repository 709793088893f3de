import { defaultUnpackLimits, type UnpackLimits } from '../image/unpack-limits.ts';
import { type Directories, inOrder } from './directories.ts';
import { Origins, readConfigFiles } from './file.ts';

export type { UnpackLimits } from '../image/unpack-limits.ts';

const names = ['maxUnpackedBytes', 'maxEntries', 'maxCompressionRatio'] as const;

/**
 * How far an image may unpack: the `limits` files of `limits.d` over the defaults, each limit
 * overridden by itself. The kind is Gantry's own; rkt had no bound.
 * @throws GantryError `config`
 */
export function loadLimits(directories: Directories): UnpackLimits {
  const limits: UnpackLimits = { ...defaultUnpackLimits };
  for (const directory of inOrder(directories)) {
    const origins = new Origins();
    for (const file of readConfigFiles(directory, 'limits.d', ['limits'])) {
      for (const name of names) {
        const field = file.root.member(name);
        if (!field.given) continue;
        origins.claim(name, name, file);
        limits[name] = field.integer(1, Number.MAX_SAFE_INTEGER);
      }
    }
  }
  return limits;
}
