import { GantryError } from '../error.ts';
import { packImage } from '../store/packing.ts';
import { type CommandDefinition, flag, valued } from './command.ts';
import { print } from './print.ts';

export const definition: CommandDefinition = {
  name: 'image pack',
  summary: 'make an App Container image from a manifest and a root file system',
  description:
    'Packs a directory and a manifest into an ACI. The same input always gives the same bytes. Sign the result with: gpg --armor --detach-sign OUTPUT',
  operands: 'OUTPUT',
  options: [
    valued('--manifest <FILE>', 'the image manifest (JSON)'),
    valued('--rootfs <DIR>', 'the directory that becomes the root file system'),
    valued('--compression <KIND>', 'gzip, zstd or none', 'gzip'),
    flag('--overwrite', 'replace an existing file'),
  ],
  examples: [
    'gantry image pack --manifest=manifest.json --rootfs=rootfs hello-1.0.0-linux-amd64.aci',
  ],
  async run(_context, { operands, options }) {
    const [output] = operands;
    const { manifest, rootfs, compression } = options as Record<string, string | undefined>;
    if (
      output === undefined ||
      operands.length !== 1 ||
      manifest === undefined ||
      rootfs === undefined
    ) {
      throw new GantryError(
        'usage',
        'name the image to write, and --manifest and --rootfs to make it of',
      );
    }
    const id = await packImage({
      manifest,
      rootfs,
      output,
      compression: parseCompression(compression),
      overwrite: options['overwrite'] === true,
    });
    print(`${id}\n`);
    return 0;
  },
};

function parseCompression(word: string | undefined): 'gzip' | 'zstd' | 'none' {
  if (word === 'gzip' || word === 'zstd' || word === 'none') return word;
  throw new GantryError('usage', `--compression: "${word}" is unknown: use gzip, zstd or none`);
}
