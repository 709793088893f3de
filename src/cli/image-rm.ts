import { GantryError } from '../error.ts';
import { displayName, type ImageRecord } from '../image/image-record.ts';
import { parseReference } from '../image/reference.ts';
import { imagesInUse } from '../pod/list.ts';
import { Store } from '../store/store.ts';
import type { CommandDefinition } from './command.ts';
import { requireRoot } from './context.ts';
import { requireImage } from './image-selection.ts';
import { oneLine, print, say } from './print.ts';
import { messageOf } from './report.ts';

export const definition: CommandDefinition = {
  name: 'image rm',
  summary: 'remove images from the store',
  description:
    'Removes each image: by id or digest with all its names; by name that name alone, and with its last name the image.',
  operands: 'IMAGE...',
  async run(context, { operands }) {
    requireRoot();
    if (operands.length === 0) throw new GantryError('usage', 'must provide at least one image ID');
    const removal = new Removal(Store.open(context.dataDir), () => imagesInUse(context.dataDir));
    const works: (() => Promise<void>)[] = [];
    let failed = 0;
    const attempt = async (work: () => Promise<void> | void) => {
      try {
        await work();
      } catch (error) {
        if (!(error instanceof GantryError)) throw error;
        failed++;
        say(`gantry: image rm: ${messageOf(error)}`);
      }
    };
    // All are looked up first: an image named twice, by id and by name, counts once.
    for (const image of operands) {
      await attempt(() => void works.push(removal.plan(image)));
    }
    for (const work of works) await attempt(work);
    const { removed } = removal;
    if (removed > 0) say(`rm: ${removed} image(s) successfully removed`);
    if (failed > 0) throw new GantryError('store', `${failed} image(s) cannot be removed`);
    return 0;
  },
};

/** The images and names that one command removes, each once. */
class Removal {
  removed = 0;
  readonly #store: Store;
  readonly #inUse: () => ReadonlySet<string>;
  readonly #whole = new Set<string>();
  readonly #done = new Set<string>();

  constructor(store: Store, inUse: () => ReadonlySet<string>) {
    this.#store = store;
    this.#inUse = inUse;
  }

  /** Looks up what an operand means; the answer removes it. */
  plan(image: string): () => Promise<void> {
    const record = requireImage(this.#store, image);
    if (!isOneName(image)) this.#whole.add(record.id);
    return () => this.#remove(record);
  }

  async #remove(record: ImageRecord): Promise<void> {
    const { id } = record;
    const isWhole = this.#whole.has(id);
    const what = isWhole ? id : `${id} ${displayName(record)}`;
    if (this.#done.has(what)) return;
    this.#done.add(what);
    if (isWhole) await this.#store.removeImage(id, this.#inUse);
    else if (!(await this.#store.removeName(id, record, this.#inUse))) {
      print(`${oneLine(`successfully removed name "${displayName(record)}" of image: "${id}"`)}\n`);
      return;
    }
    this.removed++;
    print(`successfully removed aci for image: "${id}"\n`);
  }
}

/** Whether an operand is one of the names an image may have: an id or a digest means the image itself. */
function isOneName(image: string): boolean {
  const reference = parseReference(image);
  return reference.kind === 'name' || (reference.kind === 'registry' && !reference.digest);
}
