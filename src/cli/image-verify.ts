import { GantryError } from '../error.ts';
import { Store } from '../store/store.ts';
import type { CommandDefinition } from './command.ts';
import { requireImage } from './image-selection.ts';
import { print } from './print.ts';

export const definition: CommandDefinition = {
  name: 'image verify',
  summary: 'check that stored images are what was fetched',
  description:
    'Reads the stored bytes of each image again, checks their digest, and compares every file of the unpacked tree with them.',
  operands: 'IMAGE...',
  async run(context, { operands }) {
    if (operands.length === 0) throw new GantryError('usage', 'must provide at least one image');
    const store = Store.open(context.dataDir);
    using _pin = store.pinImages();
    for (const image of operands) {
      const record = requireImage(store, image);
      await store.verifyImage(record);
      print(`successfully verified checksum for image: "${image}" ("${record.id}")\n`);
    }
    return 0;
  },
};
