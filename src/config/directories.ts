import { GantryError } from '../error.ts';

/** Where configuration is read from; a later directory overrides an earlier one. */
export interface Directories {
  /** The vendor's, read only. */
  system: string;
  /** The machine's. */
  local: string;
  /** One user's, where asked for; an ordinary user's own. */
  user?: string | undefined;
  /** What is written to where it is not the machine's, and alone says where data are: an ordinary user's. */
  own?: string | undefined;
}

/** Where configuration lies unless the command line says otherwise. */
export const defaultDirectories: Readonly<Directories> = {
  system: '/usr/lib/gantry',
  local: '/etc/gantry',
};

/** The directories in the order they are read: system, local, user. */
export function inOrder(directories: Directories): string[] {
  const { system, local, user } = directories;
  // An empty --user-config means none, as in rkt.
  return user === undefined || user === '' ? [system, local] : [system, local, user];
}

/**
 * A directory of an ordinary user's own, by the XDG Base Directory Specification: that of the variable
 * where it is absolute, as a relative one is to be ignored, else one of their home.
 * @throws GantryError `config` where nothing says where that is
 */
export function userDirectory(
  variable: 'XDG_DATA_HOME' | 'XDG_CONFIG_HOME',
  fallback: string,
  environment: NodeJS.ProcessEnv,
): string {
  const told = environment[variable];
  if (told?.startsWith('/')) return `${told}/gantry`;
  const home = environment['HOME'];
  if (home?.startsWith('/')) return `${home}/${fallback}/gantry`;
  throw new GantryError(
    'config',
    `cannot tell where your files are: neither ${variable} nor HOME is an absolute path: set HOME`,
  );
}
