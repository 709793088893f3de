import type { ImageNaming, ImageRecord } from '../image/image-record.ts';

/**
 * An OCI image has as many names as it was fetched under. Its record says one of them as the image's
 * own and keeps the others in `aliases`; a record that was found by a name is turned round so that it
 * says that one.
 */

/** The record as each of its names would show it, its own first. */
export function namingsOf(record: ImageRecord): ImageRecord[] {
  return [record, ...(record.aliases ?? []).map((naming) => renamed(record, naming))];
}

/**
 * The record that says `naming` as its own and keeps the names it had, but for an earlier import under
 * the very same one.
 */
export function renamed(record: ImageRecord, naming: ImageNaming): ImageRecord {
  const { aliases = [], ...rest } = record;
  const others = [namingOf(record), ...aliases]
    .filter((other) => !isSameName(other, naming))
    .sort(newestFirst);
  return {
    ...rest,
    ...naming,
    manifest: { ...record.manifest, name: naming.name, labels: labelList(naming.labels) },
    ...(others.length === 0 ? {} : { aliases: others }),
  };
}

/** The record without one of its names; undefined where that was the last. */
export function withoutName(record: ImageRecord, name: ImageNaming): ImageRecord | undefined {
  const [own, ...aliases] = namingsOf(record)
    .filter((naming) => !isSameName(naming, name))
    .map(namingOf);
  if (own === undefined) return undefined;
  const { aliases: _, ...rest } = renamed(record, own);
  return aliases.length === 0 ? rest : { ...rest, aliases };
}

/** Of two imports the later first. */
export function newestFirst(a: ImageNaming, b: ImageNaming): number {
  return a.importedAt < b.importedAt ? 1 : a.importedAt > b.importedAt ? -1 : 0;
}

/** What a record, or one of its names, says of that name alone. */
export function namingOf({
  name,
  labels,
  importedAt,
  source,
  provenance,
}: ImageNaming): ImageNaming {
  return { name, labels, importedAt, source, provenance };
}

/** Whether two names of one image are the same. */
export function isSameName(a: ImageNaming, b: ImageNaming): boolean {
  return a.name === b.name && a.labels['version'] === b.labels['version'];
}

function labelList(labels: Record<string, string>): { name: string; value: string }[] {
  return Object.entries(labels).map(([name, value]) => ({ name, value }));
}
