import { GantryError } from '../error.ts';
import type { ImageRecord } from '../image/image-record.ts';
import { parseReference } from '../image/reference.ts';
import type { Store } from '../store/store.ts';

/** The stored image that `text`, an id, a name or a URL, means. Throws `not-found` and `ambiguous`. */
export function requireImage(store: Store, text: string): ImageRecord {
  const record = store.findImage(parseReference(text));
  if (record === undefined) {
    throw new GantryError(
      'not-found',
      `image "${text}" is not in the store: gantry image list shows what is`,
    );
  }
  return record;
}

/** The one operand of a command that takes one. Throws `usage`. */
export function onlyOperand(operands: readonly string[], what: string): string {
  const [operand] = operands;
  if (operand === undefined || operands.length !== 1) {
    throw new GantryError('usage', `name one ${what}`);
  }
  return operand;
}

/** The image and the path of a command that takes both. Throws `usage`. */
export function imageAndPath(operands: readonly string[]): { image: string; path: string } {
  const [image, path] = operands;
  if (image === undefined || path === undefined || operands.length !== 2) {
    throw new GantryError('usage', 'name an image and where to write it');
  }
  return { image, path };
}
