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
    const removed = new Set<string>();
    let failed = 0;
    for (const image of operands) {
      try {
        const { id } = requireAgain(store, image, removed);
        if (removed.has(id)) continue;
        await store.removeImage(id, inUse);
        removed.add(id);
        print(`successfully removed aci for image: "${id}"\n`);
      } catch (error) {
        if (!(error instanceof GantryError)) throw error;
        failed++;
        say(`gantry: image rm: ${messageOf(error)}`);
      }
    }
    if (removed.size > 0) say(`rm: ${removed.size} image(s) successfully removed`);
    if (failed > 0) throw new GantryError('store', `${failed} image(s) cannot be removed`);
    return 0;
  },
};

/** An image named twice counts once, although the first removal makes the second name unknown. */
function requireAgain(store: Store, image: string, removed: ReadonlySet<string>): { id: string } {
  const gone = [...removed].find((id) => image.startsWith('sha512-') && id.startsWith(image));
  return gone === undefined ? requireImage(store, image) : { id: gone };
}
