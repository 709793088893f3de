/** Where configuration is read from; a later directory overrides an earlier one. */
export interface Directories {
  /** The vendor's, read only. */
  system: string;
  /** The machine's. */
  local: string;
  /** One user's, where asked for. */
  user?: string | undefined;
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
