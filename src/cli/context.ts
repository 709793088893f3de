import { type Directories, defaultDirectories } from '../config/directories.ts';
import { type InsecureOptions, parseInsecureOptions } from '../config/insecure.ts';
import { loadPaths } from '../config/paths.ts';
import { GantryError } from '../error.ts';
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
  const directories: Directories = {
    system: values.systemConfig ?? defaultDirectories.system,
    local: values.localConfig ?? defaultDirectories.local,
    ...(values.userConfig === undefined ? {} : { user: values.userConfig }),
  };
  const debug = values.debug === true;
  return {
    directories,
    get dataDir() {
      return values.dir ?? loadPaths(directories).data ?? '/var/lib/gantry';
    },
    insecure: parseInsecureOptions(values.insecureOptions ?? 'none'),
    trustKeysFromHttps: values.trustKeysFromHttps === true,
    debug,
    report: createReporter(debug),
  };
}

/** Refuses an ordinary user, in rkt's words. */
export function requireRoot(): void {
  if (process.geteuid?.() !== 0) {
    throw new GantryError('permission', 'cannot run as unprivileged user: run it as root');
  }
}
