import { readFileSync, statSync, utimesSync } from 'node:fs';
import { errnoOf, GantryError } from '../error.ts';
import { type Digest, type ImageId, isImageId, sameDigest } from '../image/digest.ts';
import type { ImageRecord } from '../image/image-record.ts';
import type { Reference, RegistryReference } from '../image/reference.ts';
import { repositoryName } from '../image/repository.ts';
import { makeDirectory, writeFileAtomically } from './durable.ts';
import { storeFailure } from './failure.ts';
import type { StoreLayout } from './layout.ts';
import { namingsOf, newestFirst } from './naming.ts';
import { namesIn } from './staging.ts';

export const recordMode = 0o640;
const recordExtension = '.json';

/**
 * The image records, one JSON file each, whose time of last change is when the image was last used.
 * Read afresh each time: other processes add and remove them.
 */
export class ImageIndex {
  readonly #layout: StoreLayout;

  constructor(layout: StoreLayout) {
    this.#layout = layout;
  }

  /** See `Store.findImage`. */
  find(reference: Reference): ImageRecord | undefined {
    switch (reference.kind) {
      case 'name':
        return this.#named(reference.name, (record) => hasLabels(record, reference.labels));
      case 'registry':
        return this.#named(repositoryName(reference.repository), (record) =>
          isMeant(record, reference),
        );
      case 'id':
        return this.#byPrefix(reference.prefix);
      case 'url': {
        const url = reference.url.href;
        return this.#newest(url, (record) => record.source.url === url);
      }
      // What a file or directory holds, it says itself.
      case 'path':
      case 'layout':
        return undefined;
    }
  }

  /** The record of exactly this image. Throws `store` for a damaged one. */
  get(id: ImageId): ImageRecord | undefined {
    const text = readIfThere(this.#layout.record(id));
    return text === undefined ? undefined : parseRecord(text, this.#layout.record(id), id);
  }

  /** Every record, oldest import first. Throws `store` for a damaged one. */
  list(): ImageRecord[] {
    const records: ImageRecord[] = [];
    for (const id of this.ids()) {
      const record = this.get(id);
      if (record !== undefined) records.push(record);
    }
    return records.sort((a, b) => newestFirst(b, a));
  }

  /** The ids of every record, damaged ones included. */
  ids(): ImageId[] {
    return namesIn(this.#layout.images).flatMap((name) => {
      const id = name.slice(0, -recordExtension.length);
      return name.endsWith(recordExtension) && isImageId(id) ? [id] : [];
    });
  }

  lastUsed(id: ImageId): Date {
    return statSync(this.#layout.record(id)).mtime;
  }

  touch(id: ImageId, at = new Date()): void {
    try {
      utimesSync(this.#layout.record(id), at, at);
    } catch (error) {
      // Removed by another process, or a store this user may only read: nothing depends on it.
      const errno = errnoOf(error) ?? '';
      if (!['ENOENT', 'EACCES', 'EPERM', 'EROFS'].includes(errno)) throw error;
    }
  }

  write(record: ImageRecord): void {
    try {
      makeDirectory(this.#layout.images);
      writeFileAtomically(this.#layout.record(record.id), recordText(record), recordMode);
    } catch (error) {
      throw storeFailure(this.#layout.images, 'write the image record', error);
    }
  }

  #named(name: string, matches: (record: ImageRecord) => boolean): ImageRecord | undefined {
    return this.#newest(name, (record) => record.name === name && matches(record));
  }

  /** The newest import among the records that mention `word` and match under one of their names. */
  #newest(word: string, matches: (record: ImageRecord) => boolean): ImageRecord | undefined {
    const quoted = JSON.stringify(word);
    let newest: ImageRecord | undefined;
    for (const id of this.ids()) {
      const path = this.#layout.record(id);
      const text = readIfThere(path);
      // Searching the text costs a tenth of parsing it, and most records are of other images.
      if (text === undefined || !(text.includes(quoted) || !text.endsWith('}\n'))) continue;
      for (const record of namingsOf(parseRecord(text, path, id))) {
        if (matches(record) && (newest === undefined || newestFirst(record, newest) <= 0)) {
          newest = record;
        }
      }
    }
    return newest;
  }

  #byPrefix(prefix: string): ImageRecord | undefined {
    const exact = isImageId(prefix) ? this.get(prefix) : undefined;
    if (exact !== undefined) return exact;
    const ids = this.ids().filter((id) => id.startsWith(prefix));
    const [id] = ids;
    if (id === undefined) {
      throw new GantryError(
        'not-found',
        `no image IDs found that begin with ${prefix}: gantry image list shows them`,
      );
    }
    if (ids.length > 1) {
      throw new GantryError('ambiguous', `ambiguous image ID: ${JSON.stringify(prefix)}`);
    }
    return this.get(id);
  }
}

/** A record as it is stored. */
export function recordText(record: ImageRecord): string {
  return `${JSON.stringify(record)}\n`;
}

function hasLabels(record: ImageRecord, wanted: ReadonlyMap<string, string>): boolean {
  for (const [name, value] of wanted) if (record.labels[name] !== value) return false;
  return true;
}

/** Whether a registry's image of the right repository is the one a reference means. */
function isMeant({ labels, oci }: ImageRecord, { tag, digest }: RegistryReference): boolean {
  if (oci === undefined || (tag !== undefined && labels['version'] !== tag)) return false;
  const is = (found: Digest | undefined): boolean =>
    digest === undefined || (found !== undefined && sameDigest(found, digest));
  return is(oci.manifest.digest) || is(oci.index?.digest);
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw storeFailure(path, 'read the image record', error);
  }
}

/**
 * A light check: the record was whole and valid when Gantry wrote it, so this only has to notice a
 * file that was cut, emptied, misplaced or written by another version.
 */
function parseRecord(text: string, path: string, id: ImageId): ImageRecord {
  let record: Partial<ImageRecord> | null;
  try {
    record = JSON.parse(text) as Partial<ImageRecord> | null;
  } catch (cause) {
    throw damagedRecord(path, 'it is no JSON', cause);
  }
  if (typeof record !== 'object' || record === null) throw damagedRecord(path, 'it is no object');
  if (record.version !== 1) throw damagedRecord(path, `its version is ${record.version}, not 1`);
  if (record.id !== id) throw damagedRecord(path, 'its id is not its name');
  for (const field of ['labels', 'blob', 'manifest', 'source', 'provenance'] as const) {
    if (typeof record[field] !== 'object' || record[field] === null) {
      throw damagedRecord(path, `${field} is missing`);
    }
  }
  if (typeof record.name !== 'string') throw damagedRecord(path, 'name is missing');
  if (typeof record.importedAt !== 'string') throw damagedRecord(path, 'importedAt is missing');
  return record as ImageRecord;
}

function damagedRecord(path: string, why: string, cause?: unknown): GantryError {
  return new GantryError(
    'store',
    `image record ${path} is damaged: ${why}; remove the file and fetch the image again`,
    { cause },
  );
}
