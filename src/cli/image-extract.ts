import { Store } from '../store/store.ts';
import { type CommandDefinition, flag } from './command.ts';
import { requireRoot } from './context.ts';
import { imageAndPath, requireImage } from './image-selection.ts';

export const definition: CommandDefinition = {
  name: 'image extract',
  summary: 'unpack a stored image into a directory',
  operands: 'IMAGE DIRECTORY',
  options: [
    flag('--overwrite', 'replace an existing directory'),
    flag('--rootfs-only', 'only the root file system, without the manifest'),
  ],
  async run(context, { operands, options }) {
    requireRoot();
    const { image, path } = imageAndPath(operands);
    const store = Store.open(context.dataDir);
    using _pin = store.pinImages();
    await store.extractImage(requireImage(store, image), path, {
      overwrite: options['overwrite'] === true,
      rootfsOnly: options['rootfsOnly'] === true,
    });
    return 0;
  },
};
