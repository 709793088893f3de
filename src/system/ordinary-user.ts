import { readFileSync } from 'node:fs';

/**
 * The number of the ordinary user this process serves; undefined where it is root's. The front says so in
 * `GANTRY_USER`, which it takes from no caller: in the user's own namespace the user is 0, as root is in a
 * container (specs/rootless.md).
 */
export function ordinaryUser(): number | undefined {
  const uid = process.geteuid?.() ?? 0;
  if (uid !== 0) return uid;
  const said = process.env['GANTRY_USER'];
  return said !== undefined && /^[1-9]\d{0,9}$/.test(said) ? Number(said) : undefined;
}

/** Whether this process is root of an ordinary user's namespace only. */
export function isRootless(): boolean {
  return process.geteuid?.() === 0 && ordinaryUser() !== undefined;
}

/**
 * The mode of directories that hold images and pods. Root's group may look in. An ordinary user's may be everybody's
 * group, and a set-user-ID program of an image, where it can be reached, makes whoever executes it that user.
 */
export function dataMode(): number {
  return ordinaryUser() === undefined ? 0o750 : 0o700;
}

/** What the kernel shows instead of owners that have no number in a namespace (user_namespaces(7)). */
const OVERFLOW = 65534;
/** Where nothing is anybody's but root's, on every system. */
const SYSTEM = /^\/(?:$|(?:bin|etc|gnu|lib|lib64|nix|opt|sbin|usr)(?:\/|$))/;

/** Whether in the namespace of an ordinary user that owner may be root, whom nobody sees there. */
export function isHidden(uid: number): boolean {
  return uid === OVERFLOW && isRootless();
}

/** Whether what lies at `path` (absolute) is root's, of whose files an ordinary user's namespace hides the owner. */
export function isHiddenRoots(path: string, uid: number): boolean {
  return isHidden(uid) && SYSTEM.test(path);
}

/** How many ids this process can give to files and processes: all, or those of its namespace from 0 on. */
export function usableIds(kind: 'uid' | 'gid'): number {
  let end = 0;
  for (const line of readFileSync(`/proc/self/${kind}_map`, 'utf8').trim().split('\n')) {
    const [inside = 0, , count = 0] = line.trim().split(/\s+/).map(Number);
    if (inside === end) end += count;
  }
  return end;
}
