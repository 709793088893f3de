import { isRootless, usableIds } from '../system/ordinary-user.ts';
import { refusedEntry } from './entry-name.ts';
import type { TarEntry } from './tar-reader.ts';

/** What an ordinary user cannot put into a tree of theirs; of root's trees it is all possible. */
export class OrdinaryOwner {
  /** How many ids there are for owners. */
  readonly #ids = isRootless() ? { uid: usableIds('uid'), gid: usableIds('gid') } : undefined;

  /** A device, which nobody makes in a user namespace. */
  cannotMake({ type }: Pick<TarEntry, 'type'>): boolean {
    return this.#ids !== undefined && (type === 'character-device' || type === 'block-device');
  }

  /** @throws GantryError for an owner the user has no id for */
  check({ name, uid, gid }: Pick<TarEntry, 'name' | 'uid' | 'gid'>): void {
    if (this.#ids === undefined || (uid < this.#ids.uid && gid < this.#ids.gid)) return;
    const ids = Math.min(this.#ids.uid, this.#ids.gid);
    throw refusedEntry(
      name,
      `its owner ${uid}:${gid} is beyond your ${ids} ids: have more in /etc/subuid and /etc/subgid`,
    );
  }
}
