import { constants } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The functions of `files.c`, `processes.c` and `host.c`: see there for what each takes, answers and throws. */
interface Binding {
  flock(fd: number, operation: number): boolean;
  openat2(dirfd: number, path: string, flags: number, mode: number, resolve: number): number;
  writeFileAt(
    dirfd: number,
    name: string,
    data: Uint8Array,
    uid: number,
    gid: number,
    mode: number,
    seconds: number,
    nanoseconds: number,
  ): void;
  settle(
    fd: number,
    uid: number,
    gid: number,
    mode: number,
    seconds: number,
    nanoseconds: number,
  ): void;
  mkdirAt(dirfd: number, path: string, mode: number): void;
  unlinkAt(dirfd: number, path: string, flags: number): void;
  chownAt(dirfd: number, path: string, uid: number, gid: number): void;
  chmodAt(dirfd: number, path: string, mode: number): void;
  setTimesAt(dirfd: number, path: string, seconds: number, nanoseconds: number): void;
  mknodAt(dirfd: number, path: string, mode: number, device: number): void;
  symlinkAt(target: string, dirfd: number, path: string): void;
  linkAt(fromfd: number, from: string, tofd: number, to: string, flags: number): void;
  renameAt(fromfd: number, from: string, tofd: number, to: string, flags: number): void;
  setXattr(path: string, name: string, value: Uint8Array): void;
  getXattr(path: string, name: string): Buffer | undefined;
  listXattr(path: string): string[];
  syncFilesystem(fd: number): void;
  canMapUsers(path: string, recursive: boolean): boolean;
  execve(
    path: string,
    argv: readonly string[],
    env: readonly string[],
    keep: readonly number[],
  ): never;
  pidfdOpen(pid: number): number;
  pidfdSendSignal(fd: number, signal: number): boolean;
  setNetworkNamespace(fd: number): void;
  notify(socket: string, state: string): void;
  canFilterDevices(): boolean;
  localTime(seconds: number, fraction: string): string;
}

function load(): Binding {
  // The bundle lies beside the binding in dist/; the sources, when tests run them, two folders away.
  const fromSource = import.meta.url.endsWith('.ts');
  const url = new URL(fromSource ? '../../dist/gantry.node' : './gantry.node', import.meta.url);
  // As require would in the end, but without a millisecond of looking for the file.
  const module = { exports: {} };
  process.dlopen(module, fileURLToPath(url));
  return module.exports as Binding;
}

/** The system calls Node lacks; synchronous, and throwing errors shaped like Node's own. */
export const system: Binding = load();

/** open(2) flags that `fs.constants` has no names for. */
export const O_PATH = 0o10000000;
export const O_DIRECTORY = constants.O_DIRECTORY;
export const O_NOFOLLOW = constants.O_NOFOLLOW;

/** flock(2) operations. */
export const LOCK = { shared: 1, exclusive: 2, nonBlocking: 4, unlock: 8 } as const;

/** openat2(2) resolve flags. */
export const RESOLVE = {
  noMagicLinks: 0x02,
  noSymlinks: 0x04,
  beneath: 0x08,
  inRoot: 0x10,
} as const;

/** unlinkat(2): remove a directory. */
export const AT_REMOVEDIR = 0x200;
/** renameat2(2) flags. */
export const RENAME = { noReplace: 1, exchange: 2 } as const;
