import { GantryError } from '../error.ts';
import { displayName, type ImageRecord } from '../image/image-record.ts';
import type { Provenance } from '../image/provenance.ts';
import { namingsOf } from '../store/naming.ts';
import { Store } from '../store/store.ts';
import { type CommandDefinition, flag, valued } from './command.ts';
import { formatJson, formatRelative, formatSize, formatTime } from './format.ts';
import { formatOption, parseFormat } from './output.ts';
import { print } from './print.ts';
import { signerText } from './signer.ts';
import { formatTable } from './table.ts';

/** One line of the list before it is formatted. */
interface Entry {
  id: string;
  name: string;
  size: number;
  importTime: Date;
  lastUsed: Date;
  provenance: Provenance;
}

interface Field {
  header: string;
  text(entry: Entry, full: boolean): string;
  compare?(a: Entry, b: Entry): number;
}

const FIELDS: Readonly<Record<string, Field>> = {
  id: {
    header: 'ID',
    text: (entry, full) => (full ? entry.id : entry.id.slice(0, 'sha512-'.length + 12)),
  },
  name: {
    header: 'NAME',
    text: (entry) => entry.name,
    compare: (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
  },
  size: {
    header: 'SIZE',
    text: (entry, full) => (full ? String(entry.size) : formatSize(entry.size)),
    compare: (a, b) => a.size - b.size,
  },
  importtime: {
    header: 'IMPORT TIME',
    text: (entry, full) => timeText(entry.importTime, full),
    compare: (a, b) => a.importTime.getTime() - b.importTime.getTime(),
  },
  lastused: {
    header: 'LAST USED',
    text: (entry, full) => timeText(entry.lastUsed, full),
    compare: (a, b) => a.lastUsed.getTime() - b.lastUsed.getTime(),
  },
  signedby: { header: 'SIGNED BY', text: (entry, full) => signerText(entry.provenance, full) },
};

/** rkt's columns; `--full` adds who signed. */
const DEFAULT_FIELDS = 'id,name,size,importtime,lastused';

export const definition: CommandDefinition = {
  name: 'image list',
  summary: 'list the images in the store',
  options: [
    valued(
      '--fields <LIST>',
      `columns, of ${Object.keys(FIELDS).join(', ')} (default: ${DEFAULT_FIELDS}; with --full also signedby)`,
    ),
    valued('--sort <LIST>', 'sort by name, importtime, lastused or size', 'importtime'),
    valued('--order <ORDER>', 'asc or desc', 'asc'),
    flag('--full', 'whole ids, sizes in bytes, exact times, who signed'),
    flag('--no-legend', 'without the line of column names'),
    formatOption(),
  ],
  run(context, { options }) {
    const format = parseFormat(options['format']);
    const entries = sortEntries(readEntries(Store.open(context.dataDir)), options);
    if (format !== undefined) {
      print(`${formatJson(entries.map(jsonEntry), format)}\n`);
      return 0;
    }
    const full = options['full'] === true;
    const fallback = full ? `${DEFAULT_FIELDS},signedby` : DEFAULT_FIELDS;
    const fields = parseFields(String(options['fields'] ?? fallback), '--fields');
    const rows = entries.map((entry) => fields.map((field) => field.text(entry, full)));
    const legend = options['legend'] === false ? [] : [fields.map((field) => field.header)];
    print(formatTable([...legend, ...rows]));
    return 0;
  },
};

/** A line for each name of each image. */
function readEntries(store: Store): Entry[] {
  return store.listImages().flatMap((record) => {
    const lastUsed = store.lastUsed(record);
    return namingsOf(record).map((named: ImageRecord) => ({
      id: named.id,
      name: displayName(named),
      size: named.size,
      importTime: new Date(named.importedAt),
      lastUsed,
      provenance: named.provenance,
    }));
  });
}

function parseFields(list: string, option: string): Field[] {
  return list.split(',').map((name) => {
    const field = FIELDS[name];
    if (field === undefined) {
      throw new GantryError(
        'usage',
        `${option}: no field "${name}": use ${Object.keys(FIELDS).join(', ')}`,
      );
    }
    return field;
  });
}

function sortEntries(entries: Entry[], options: Record<string, unknown>): Entry[] {
  const order = String(options['order']).toLowerCase();
  if (order !== 'asc' && order !== 'desc') {
    throw new GantryError('usage', `--order: "${order}" is unknown: use asc or desc`);
  }
  const fields = parseFields(String(options['sort']), '--sort');
  if (fields.some((field) => field.compare === undefined)) {
    throw new GantryError('usage', '--sort: use name, importtime, lastused or size');
  }
  const direction = order === 'asc' ? 1 : -1;
  return entries.toSorted((a, b) => {
    for (const field of fields) {
      const result = field.compare?.(a, b) ?? 0;
      if (result !== 0) return direction * result;
    }
    return 0;
  });
}

function timeText(time: Date, full: boolean): string {
  return full ? formatTime(time) : formatRelative(time);
}

/** rkt's ImageListEntry, times in nanoseconds, and the provenance beside it. */
function jsonEntry(entry: Entry) {
  return {
    id: entry.id,
    name: entry.name,
    import_time: nanoseconds(entry.importTime),
    last_used_time: nanoseconds(entry.lastUsed),
    size: entry.size,
    provenance: entry.provenance,
  };
}

function nanoseconds(time: Date): bigint {
  return BigInt(time.getTime()) * 1_000_000n;
}
