import { displayName, type ImageRecord } from '../image/image-record.ts';
import type { Provenance } from '../image/provenance.ts';
import { namingsOf } from '../store/naming.ts';
import { Store } from '../store/store.ts';
import type { CommandDefinition } from './command.ts';
import { formatJson, formatSize } from './format.ts';
import {
  chosenFields,
  chosenOrder,
  compareValues,
  compareWords,
  type ListDefaults,
  type ListFields,
  listOptions,
  timeText,
} from './listing.ts';
import { parseFormat } from './output.ts';
import { print } from './print.ts';
import { signerText } from './signer.ts';
import { formatTable } from './table.ts';

/** One line of the list before it is formatted. */
interface Entry {
  id: string;
  name: string;
  size: number;
  /** Nanoseconds since 1970. */
  importTime: bigint;
  lastUsed: bigint;
  provenance: Provenance;
}

const FIELDS: ListFields<Entry> = {
  id: {
    header: 'ID',
    text: (entry, full) => (full ? entry.id : entry.id.slice(0, 'sha512-'.length + 12)),
  },
  name: {
    header: 'NAME',
    text: (entry) => entry.name,
    compare: (a, b) => compareWords(a.name, b.name),
  },
  size: {
    header: 'SIZE',
    text: (entry, full) => (full ? String(entry.size) : formatSize(entry.size)),
    compare: (a, b) => compareValues(a.size, b.size),
  },
  importtime: {
    header: 'IMPORT TIME',
    text: (entry, full) => timeText(entry.importTime, full),
    compare: (a, b) => compareValues(a.importTime, b.importTime),
  },
  lastused: {
    header: 'LAST USED',
    text: (entry, full) => timeText(entry.lastUsed, full),
    compare: (a, b) => compareValues(a.lastUsed, b.lastUsed),
  },
  signedby: { header: 'SIGNED BY', text: (entry, full) => signerText(entry.provenance, full) },
};

/** rkt's columns; `--full` adds who signed. */
const DEFAULTS: ListDefaults = {
  fields: 'id,name,size,importtime,lastused',
  full: 'id,name,size,importtime,lastused,signedby',
  sort: 'importtime',
};

export const definition: CommandDefinition = {
  name: 'image list',
  summary: 'list the images in the store',
  options: listOptions(FIELDS, DEFAULTS, 'whole ids, sizes in bytes, exact times, who signed'),
  run(context, { options }) {
    const format = parseFormat(options['format']);
    const fields = chosenFields(FIELDS, DEFAULTS, options);
    const order = chosenOrder(FIELDS, options);
    const entries = readEntries(Store.open(context.dataDir)).sort(order);
    if (format !== undefined) {
      print(`${formatJson(entries.map(jsonEntry), format)}\n`);
      return 0;
    }
    const full = options['full'] === true;
    const rows = entries.map((entry) => fields.map((field) => field.text(entry, full)));
    const legend = options['legend'] === false ? [] : [fields.map((field) => field.header)];
    print(formatTable([...legend, ...rows]));
    return 0;
  },
};

/** A line for each name of each image. */
function readEntries(store: Store): Entry[] {
  return store.listImages().flatMap((record) => {
    const lastUsed = nanoseconds(store.lastUsed(record));
    return namingsOf(record).map((named: ImageRecord) => ({
      id: named.id,
      name: displayName(named),
      size: named.size,
      importTime: nanoseconds(new Date(named.importedAt)),
      lastUsed,
      provenance: named.provenance,
    }));
  });
}

/** rkt's ImageListEntry, times in nanoseconds, and the provenance beside it. */
function jsonEntry(entry: Entry) {
  return {
    id: entry.id,
    name: entry.name,
    import_time: entry.importTime,
    last_used_time: entry.lastUsed,
    size: entry.size,
    provenance: entry.provenance,
  };
}

function nanoseconds(time: Date): bigint {
  return BigInt(time.getTime()) * 1_000_000n;
}
