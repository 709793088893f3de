import { lstatSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, GantryError } from '../error.ts';
import { type Field, parseDocument } from '../image/document.ts';
import { quote } from '../image/quotation.ts';
import { ordinaryUser } from '../system/ordinary-user.ts';

/** One configuration file, its header checked. */
export interface ConfigFile {
  path: string;
  /** The `rktKind` it declares. */
  kind: string;
  root: Field;
  /** Whether others than its owner may read it. */
  exposed: boolean;
}

/** Every kind there is, in its only version so far. */
const version = 'v1';

/**
 * The `*.json` files of one subdirectory (such as `auth.d`) of one configuration directory, in the
 * order of their names. Directories, links and other files are passed over, as in rkt; an absent
 * directory holds none.
 * @throws GantryError `config`, naming the file, where one cannot be read, is of a kind that does not
 * belong here, or of a version nobody knows
 */
export function readConfigFiles(
  directory: string,
  subdirectory: string,
  kinds: readonly string[],
): ConfigFile[] {
  const folder = join(directory, subdirectory);
  // The machine's credentials are kept from ordinary users, who have their own or none.
  const kept = subdirectory === 'auth.d' && ordinaryUser() !== undefined;
  return passingOver(kept, () => jsonFiles(folder), []).flatMap((name) => {
    const read = () => [readConfigFile(join(folder, name), kinds)];
    return passingOver(kept, read, []);
  });
}

/** What `read` gives; `otherwise` where `kept` and this process may not read it. */
function passingOver<T>(kept: boolean, read: () => T, otherwise: T): T {
  try {
    return read();
  } catch (error) {
    if (kept && error instanceof GantryError && errnoOf(error.cause) === 'EACCES') return otherwise;
    throw error;
  }
}

function jsonFiles(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.name.endsWith('.json') && isRegular(folder, entry))
      .map((entry) => entry.name)
      .sort();
  } catch (cause) {
    // ENOTDIR is refused: what stands in the directory's place was meant to say something.
    if (errnoOf(cause) === 'ENOENT') return [];
    throw unreadable(folder, cause);
  }
}

function isRegular(
  folder: string,
  entry: { name: string; isFile(): boolean; isDirectory(): boolean; isSymbolicLink(): boolean },
): boolean {
  if (entry.isFile() || entry.isDirectory() || entry.isSymbolicLink()) return entry.isFile();
  // Some file systems do not tell types in a listing.
  return lstatSync(join(folder, entry.name)).isFile();
}

function readConfigFile(path: string, kinds: readonly string[]): ConfigFile {
  const root = parseDocument(readBytes(path), { what: path, code: 'config', confidential: true });
  const kind = root.member('rktKind').filledString();
  const found = root.member('rktVersion').filledString();
  if (!kinds.includes(kind)) {
    throw root
      .member('rktKind')
      .refuse(`${quote(kind)} does not belong here (must be ${kinds.join(' or ')})`);
  }
  if (found !== version) {
    throw root
      .member('rktVersion')
      .refuse(`${quote(found)} is not known for ${kind} (must be ${version})`);
  }
  return { path, kind, root, exposed: (statSync(path).mode & 0o044) !== 0 };
}

function readBytes(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

function unreadable(path: string, cause: unknown): GantryError {
  return new GantryError('config', `${path}: cannot be read: ${errnoOf(cause) ?? String(cause)}`, {
    cause,
  });
}

/**
 * Where each setting of one directory was made: a setting made by two files of the same directory is
 * an error, because nothing says which one counts.
 */
export class Origins {
  private readonly paths = new Map<string, string>();

  /** Notes that `file` makes `setting`, described as `what`. */
  claim(setting: string, what: string, file: ConfigFile): void {
    const earlier = this.paths.get(setting);
    if (earlier !== undefined) {
      throw new GantryError('config', `${file.path}: ${what} is already specified in ${earlier}`);
    }
    this.paths.set(setting, file.path);
  }
}
