import { GantryError } from '../error.ts';
import { parseAppName } from '../image/identifier.ts';
import type { Mount } from '../image/pod-manifest.ts';
import { quote } from '../image/quotation.ts';
import { PROPAGATIONS, type Volume } from '../image/volume.ts';

/** The `key=value` words of one option, each key at most once. */
interface Words {
  /** Begins every refusal: `--volume data`. */
  readonly where: string;
  readonly values: ReadonlyMap<string, string>;
}

/**
 * Reads every `--volume` (rkt Documentation/subcommands/run.md, "Mounting Volumes"):
 * `NAME,kind=host,source=PATH` or `NAME,kind=empty`, and what else each kind knows.
 * @throws GantryError `usage` naming the option and what of it is wrong
 */
export function parseVolumes(texts: readonly string[]): Volume[] {
  const volumes = texts.map((text) => parseVolume(text));
  const names = volumes.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) {
    throw new GantryError('usage', `--volume ${twice}: two volumes have this name`);
  }
  return volumes;
}

/**
 * Reads every `--mount`: `volume=NAME,target=PATH`.
 * @throws GantryError `usage`
 */
export function parseMounts(texts: readonly string[]): Mount[] {
  return texts.map((text) => {
    const words = readWords(`--mount ${quote(text)}`, text.split(','), ['volume', 'target']);
    return {
      volume: parseAppName(required(words, 'volume'), words.where),
      path: pathOf(words, 'target'),
    };
  });
}

/**
 * Reads every `--mnt-volume`: a volume as `--volume` has it, and with `target=PATH` where the one app it is of
 * has it. In rkt's words its name stands anywhere, as `name=NAME`.
 * @throws GantryError `usage`
 */
export function parseMountVolumes(texts: readonly string[]): Mount[] {
  return texts.map((text) => {
    const words = text.split(',');
    const given = words.find((word) => word.startsWith('name='))?.slice('name='.length);
    const [first, ...others] = given === undefined ? words : [given, ...words];
    const isPlace = (word: string) => word.startsWith('target=') || word.startsWith('name=');
    const rest = others.filter((word) => !isPlace(word));
    const appVolume = parseVolume([first, ...rest].join(','), '--mnt-volume');
    const where = `--mnt-volume ${appVolume.name}`;
    if (appVolume.kind === 'host' && appVolume.propagation !== undefined) {
      throw new GantryError(
        'usage',
        `${where}: propagation= is for pods that have their apps at once`,
      );
    }
    const place = readWords(where, others.filter(isPlace), ['name', 'target']);
    return { volume: appVolume.name, path: pathOf(place, 'target'), appVolume };
  });
}

function parseVolume(text: string, option = '--volume'): Volume {
  const [first = '', ...rest] = text.split(',');
  const name = parseAppName(first, option);
  const where = `${option} ${name}`;
  const kind = rest.find((word) => word.startsWith('kind='))?.slice('kind='.length);
  if (kind === 'host') {
    const keys = ['kind', 'source', 'readOnly', 'recursive', 'propagation'];
    return hostVolume(name, readWords(where, rest, keys));
  }
  if (kind === 'empty') {
    const keys = ['kind', 'readOnly', 'mode', 'uid', 'gid'];
    return emptyVolume(name, readWords(where, rest, keys));
  }
  const why = kind === undefined ? 'kind=host or kind=empty must follow the name' : quote(kind);
  throw new GantryError(
    'usage',
    kind === undefined ? `${where}: ${why}` : `${where}: kind must be host or empty, not ${why}`,
  );
}

function hostVolume(name: string, words: Words): Volume {
  const propagation = words.values.get('propagation');
  const recursive = flagOf(words, 'recursive');
  const known = PROPAGATIONS.find((word) => word === propagation);
  if (propagation !== undefined && known === undefined) {
    throw refuse(words, 'propagation', `must be ${PROPAGATIONS.join(', ')}`);
  }
  return {
    name,
    kind: 'host',
    source: pathOf(words, 'source'),
    readOnly: flagOf(words, 'readOnly') ?? false,
    ...(recursive === undefined ? {} : { recursive }),
    ...(known === undefined ? {} : { propagation: known }),
  };
}

function emptyVolume(name: string, words: Words): Volume {
  const mode = words.values.get('mode') ?? '0755';
  if (!/^[0-7]{3,4}$/.test(mode)) throw refuse(words, 'mode', 'must be three or four octal digits');
  return {
    name,
    kind: 'empty',
    readOnly: flagOf(words, 'readOnly') ?? false,
    mode,
    uid: idOf(words, 'uid'),
    gid: idOf(words, 'gid'),
  };
}

function readWords(where: string, texts: readonly string[], keys: readonly string[]): Words {
  const values = new Map<string, string>();
  for (const text of texts) {
    const equals = text.indexOf('=');
    const key = text.slice(0, Math.max(equals, 0));
    if (!keys.includes(key)) {
      throw new GantryError(
        'usage',
        `${where}: ${quote(text)} is none of ${keys.map((known) => `${known}=`).join(', ')}`,
      );
    }
    if (values.has(key)) throw new GantryError('usage', `${where}: ${key} is given twice`);
    values.set(key, text.slice(equals + 1));
  }
  return { where, values };
}

function required(words: Words, key: string): string {
  const value = words.values.get(key);
  if (value === undefined || value === '') {
    throw new GantryError('usage', `${words.where}: ${key}= is required`);
  }
  return value;
}

function pathOf(words: Words, key: string): string {
  const path = required(words, key);
  if (!path.startsWith('/') || path.split('/').includes('..')) {
    throw refuse(words, key, 'must be an absolute path without ".."');
  }
  return path;
}

/** The words rkt takes for true and false (Go's strconv.ParseBool). */
function flagOf(words: Words, key: string): boolean | undefined {
  const value = words.values.get(key);
  if (value === undefined) return undefined;
  if (/^(1|t|T|true|True|TRUE)$/.test(value)) return true;
  if (/^(0|f|F|false|False|FALSE)$/.test(value)) return false;
  throw refuse(words, key, 'must be true or false');
}

function idOf(words: Words, key: string): number {
  const value = words.values.get(key) ?? '0';
  // The greatest number means "unchanged" to chown(2).
  if (/^\d{1,10}$/.test(value) && Number(value) < 0xffffffff) return Number(value);
  throw refuse(words, key, 'must be a number below 4294967295');
}

function refuse({ where, values }: Words, key: string, why: string): GantryError {
  return new GantryError('usage', `${where}: ${key} ${why}, not ${quote(values.get(key) ?? '')}`);
}
