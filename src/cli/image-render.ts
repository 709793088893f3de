import { Store } from '../store/store.ts';
import { dependencyFinder } from '../store/wish-lookup.ts';
import { type CommandDefinition, flag } from './command.ts';
import { requireRoot } from './context.ts';
import { imageAndPath, requireImage } from './image-selection.ts';

export const definition: CommandDefinition = {
  name: 'image render',
  summary: 'unpack a stored image with its dependencies, as a pod sees it',
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
    await store.renderImage(requireImage(store, image), path, {
      overwrite: options['overwrite'] === true,
      rootfsOnly: options['rootfsOnly'] === true,
      dependencies: dependencyFinder(store),
    });
    return 0;
  },
};
