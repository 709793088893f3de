import { Store } from '../store/store.ts';
import { type CommandDefinition, flag } from './command.ts';
import { imageAndPath, requireImage } from './image-selection.ts';

export const definition: CommandDefinition = {
  name: 'image export',
  summary: 'write a stored image to a file: an OCI archive, or an ACI',
  description:
    'Writes an OCI image as an OCI archive (a tar of an image layout), which gantry fetch takes as oci-archive:OUTPUT, and an App Container image as an uncompressed ACI, so that its digest is the image id. The stored bytes are checked on the way; nothing is fetched. Signatures stay behind: gantry image copy takes them along.',
  operands: 'IMAGE OUTPUT',
  options: [flag('--overwrite', 'replace an existing file')],
  examples: [
    'gantry image export registry.example.com/app:1.0 app.tar',
    'gantry image export example.com/app:1.0.0 app.aci',
  ],
  async run(context, { operands, options }) {
    const { image, path } = imageAndPath(operands);
    const store = Store.open(context.dataDir);
    using _pin = store.pinImages();
    await store.exportImage(requireImage(store, image), path, {
      overwrite: options['overwrite'] === true,
    });
    return 0;
  },
};
