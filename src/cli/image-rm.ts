import { GantryError } from '../error.ts';
import { imagesInUse } from '../pod/list.ts';
import { Store } from '../store/store.ts';
import type { CommandDefinition } from './command.ts';
import { requireRoot } from './context.ts';
import { requireImage } from './image-selection.ts';
import { print, say } from './print.ts';
import { messageOf } from './report.ts';

export const definition: CommandDefinition = {
  name: 'image rm',
  summary: 'remove images from the store',
  operands: 'IMAGE...',
  async run(context, { operands }) {
    requireRoot();
    if (operands.length === 0) throw new GantryError('usage', 'must provide at least one image ID');
    const store = Store.open(context.dataDir);
    const inUse = imagesInUse(context.dataDir);
    const ids = new Set<string>();
    let removed = 0;
    let failed = 0;
    const attempt = async (remove: () => Promise<void> | void) => {
      try {
        await remove();
      } catch (error) {
        if (!(error instanceof GantryError)) throw error;
        failed++;
        say(`gantry: image rm: ${messageOf(error)}`);
      }
    };
    // All are looked up first: an image named twice, by id and by name, counts once.
    for (const image of operands) await attempt(() => void ids.add(requireImage(store, image).id));
    for (const id of ids) {
      await attempt(async () => {
        await store.removeImage(id, inUse);
        removed++;
        print(`successfully removed aci for image: "${id}"\n`);
      });
    }
    if (removed > 0) say(`rm: ${removed} image(s) successfully removed`);
    if (failed > 0) throw new GantryError('store', `${failed} image(s) cannot be removed`);
    return 0;
  },
};
