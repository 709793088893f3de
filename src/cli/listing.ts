import { GantryError } from '../error.ts';
import { type CliOption, flag, valued } from './command.ts';
import { formatRelative, formatTime } from './format.ts';
import { formatOption } from './output.ts';

/** A column of a list: what it is called, shows, and sorts by. */
export interface ListField<Entry> {
  readonly header: string;
  text(entry: Entry, full: boolean): string;
  /** By what is meant, not by its text; absent where that has no order. */
  compare?(a: Entry, b: Entry): number;
}

/** The columns of a list by the words `--fields` and `--sort` take. */
export type ListFields<Entry> = Readonly<Record<string, ListField<Entry>>>;

/** What a list shows without options; `full` with `--full`. */
export interface ListDefaults {
  readonly fields: string;
  readonly full: string;
  readonly sort: string;
}

/** The options of every command that lists in columns. */
export function listOptions<Entry>(
  fields: ListFields<Entry>,
  defaults: ListDefaults,
  full: string,
): CliOption[] {
  return [
    valued(
      '--fields <LIST>',
      `columns, of ${Object.keys(fields).join(', ')} (default: ${defaults.fields}; with --full ${defaults.full})`,
    ),
    valued(
      '--sort <LIST>',
      `sort by these, the first first: ${sortable(fields).join(', ')}`,
      defaults.sort,
    ),
    { ...valued('--order <ORDER>', 'asc or desc', 'asc'), values: ['asc', 'desc'] },
    flag('--full', full),
    flag('--no-legend', 'without the line of column names'),
    formatOption(),
  ];
}

/** The columns to show. @throws GantryError `usage` */
export function chosenFields<Field>(
  fields: Readonly<Record<string, Field>>,
  defaults: ListDefaults,
  options: Record<string, unknown>,
): Field[] {
  const fallback = options['full'] === true ? defaults.full : defaults.fields;
  return readFields(fields, Object.keys(fields), String(options['fields'] ?? fallback), '--fields');
}

/**
 * How `--sort` and `--order` put entries in order; what they find equal keeps its order.
 * @throws GantryError `usage`
 */
export function chosenOrder<Entry>(
  fields: ListFields<Entry>,
  options: Record<string, unknown>,
): (a: Entry, b: Entry) => number {
  const order = String(options['order']).toLowerCase();
  if (order !== 'asc' && order !== 'desc') {
    throw new GantryError('usage', `--order: "${order}" is unknown: use asc or desc`);
  }
  const direction = order === 'asc' ? 1 : -1;
  const chosen = readFields(fields, sortable(fields), String(options['sort']), '--sort');
  return (a, b) => {
    for (const field of chosen) {
      const result = field.compare?.(a, b) ?? 0;
      if (result !== 0) return direction * result;
    }
    return 0;
  };
}

/** As rkt reads lists of options: in any case, each at most once. */
function readFields<Field>(
  fields: Readonly<Record<string, Field>>,
  known: readonly string[],
  list: string,
  option: string,
): Field[] {
  const names = list.toLowerCase().split(',');
  return names.map((name, index) => {
    const field = known.includes(name) ? fields[name] : undefined;
    if (field === undefined) {
      throw new GantryError('usage', `${option}: no field "${name}": use ${known.join(', ')}`);
    }
    if (names.indexOf(name) !== index) {
      throw new GantryError('usage', `${option}: field "${name}" is there twice: name it once`);
    }
    return field;
  });
}

function sortable<Entry>(fields: ListFields<Entry>): string[] {
  return Object.keys(fields).filter((name) => fields[name]?.compare !== undefined);
}

/** Words by their characters, digits among them by the number they make: 1.9 before 1.10. */
export function compareWords(a: string, b: string): number {
  const [first, second] = [a, b].map((text) => text.split(/(\d+)/));
  for (const [at, part] of (first ?? []).entries()) {
    const other = second?.[at];
    if (other === undefined) return 1;
    const result = at % 2 === 1 ? compareDigits(part, other) : compareValues(part, other);
    if (result !== 0) return result;
  }
  return (first?.length ?? 0) - (second?.length ?? 0);
}

/** Numbers of any length; of two that are equal, the one with fewer zeros before it first. */
function compareDigits(a: string, b: string): number {
  const [first, second] = [a, b].map((text) => text.replace(/^0+/, '')) as [string, string];
  return first.length - second.length || compareValues(first, second) || a.length - b.length;
}

/** Numbers, or text by its characters; what is absent comes last. */
export function compareValues<T extends number | bigint | string>(
  a: T | undefined,
  b: T | undefined,
): number {
  if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined);
  return a < b ? -1 : a > b ? 1 : 0;
}

/** A time in nanoseconds since 1970 as lists show it: exact with `--full`, else how long ago. */
export function timeText(time: bigint | undefined, full: boolean): string {
  if (time === undefined) return '';
  return full ? formatTime(time) : formatRelative(new Date(Number(time / 1_000_000n)));
}
