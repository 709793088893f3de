import { type Stats, statSync } from 'node:fs';
import { type Directories, defaultDirectories, userDirectory } from '../config/directories.ts';
import { type InsecureOptions, parseInsecureOptions } from '../config/insecure.ts';
import { loadPaths } from '../config/paths.ts';
import { GantryError } from '../error.ts';
import { ordinaryUser } from '../system/ordinary-user.ts';
import { createReporter, type TerminalReporter } from './reporter.ts';

/** The values of the global options, as commander names them. */
export interface GlobalValues {
  debug?: boolean;
  dir?: string;
  insecureOptions?: string;
  localConfig?: string;
  systemConfig?: string;
  userConfig?: string;
  trustKeysFromHttps?: boolean;
}

/** What every command gets: where things are, what is allowed, and how to speak. */
export interface Context {
  readonly directories: Directories;
  /** The data directory; reads the configuration where no `--dir` says it. */
  readonly dataDir: string;
  readonly insecure: InsecureOptions;
  readonly trustKeysFromHttps: boolean;
  readonly debug: boolean;
  readonly report: TerminalReporter;
}

/** Turns the global options into a context. Throws `usage` for an unknown insecure option. */
export function createContext(values: GlobalValues): Context {
  const directories = createDirectories(values);
  const debug = values.debug === true;
  return {
    directories,
    get dataDir() {
      return requireOwn(values.dir ?? loadPaths(directories).data ?? defaultDataDir());
    },
    insecure: parseInsecureOptions(values.insecureOptions ?? 'none'),
    trustKeysFromHttps: values.trustKeysFromHttps === true,
    debug,
    report: createReporter(debug),
  };
}

/** An ordinary user has a configuration of their own, which outranks the machine's. */
function createDirectories(values: GlobalValues): Directories {
  const ordinary = ordinaryUser() !== undefined;
  const user =
    values.userConfig ??
    (ordinary ? userDirectory('XDG_CONFIG_HOME', '.config', process.env) : undefined);
  const own = values.localConfig ?? (user === '' ? undefined : user);
  return {
    system: values.systemConfig ?? defaultDirectories.system,
    local: values.localConfig ?? defaultDirectories.local,
    ...(user === undefined ? {} : { user }),
    ...(ordinary && own !== undefined ? { own } : {}),
  };
}

function defaultDataDir(): string {
  if (ordinaryUser() === undefined) return '/var/lib/gantry';
  return userDirectory('XDG_DATA_HOME', '.local/share', process.env);
}

/**
 * Refuses a data directory of somebody else's, and one where everybody can put things: what lies there names programs
 * that are run, and files that are believed, as whoever uses it.
 */
function requireOwn(directory: string): string {
  const stats = statsOf(directory);
  if (stats === undefined) return directory;
  if (stats.uid !== process.geteuid?.()) {
    throw new GantryError(
      'permission',
      `the data directory ${directory} belongs to another user: use it as that user, or choose one of your own with --dir`,
    );
  }
  if ((stats.mode & 0o002) === 0) return directory;
  throw new GantryError(
    'permission',
    `the data directory ${directory} can be written to by everybody: chmod o-w it, or choose another with --dir`,
  );
}

/** Undefined where there is nothing, or nothing that could be looked at: whoever goes there says so. */
function statsOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

/**
 * Refuses an ordinary user, in rkt's words. The front has made them root of a namespace of their own
 * where it could, and said why where not: this is one who got past it.
 */
export function requireRoot(): void {
  if (process.geteuid?.() !== 0) {
    throw new GantryError(
      'permission',
      'cannot run as unprivileged user: run it as root, or start it by bin/gantry',
    );
  }
}
