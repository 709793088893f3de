import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { errnoOf, GantryError } from '../error.ts';
import { LOCK, system } from '../system/binding.ts';
import { USER_LOCKS, USERS_OF_A_POD, type UserRange } from './user-map.ts';

/**
 * What systemd sets apart for containers, in ranges of 65,536 (https://systemd.io/UIDS-GIDS): no distribution gives
 * accounts, or subordinate users, numbers in it.
 */
const FIRST = 0x80000;
const LAST = 0x6fff0000;

/** Numbers from `first` up to but not including `end`. */
interface Span {
  readonly first: number;
  readonly end: number;
}

/** Where the host says who has which users; tests have others. */
export interface UserFiles {
  /** subuid(5) and subgid(5). */
  readonly subordinate: readonly string[];
  /** passwd(5) and group(5). */
  readonly accounts: readonly string[];
  /** user_namespaces(7): which users there are at all. */
  readonly maps: readonly string[];
  /** Where the locks of running pods lie. */
  readonly locks: string;
  /** Where systemd-nspawn has a file for the first user of each container with users of its own. */
  readonly containers: string;
}

const HOST: UserFiles = {
  subordinate: ['/etc/subuid', '/etc/subgid'],
  accounts: ['/etc/passwd', '/etc/group'],
  maps: ['/proc/self/uid_map', '/proc/self/gid_map'],
  locks: USER_LOCKS,
  containers: '/run/systemd/nspawn-uid',
};

/**
 * Gives a pod a range of users that is no other pod's, and no account's. It stays the pod's as long as the pod's
 * directory, whose files belong to these users: a file named for the range, in it the pod's UUID.
 * @throws GantryError `launch` when there is none left
 */
export function allotUsers(dataDir: string, uuid: string, host: UserFiles = HOST): UserRange {
  return withClaims(dataDir, (claims) => {
    const taken = takenSpans(host);
    const available = availableSpans(host);
    const places = (LAST - FIRST) / USERS_OF_A_POD + 1;
    // Anywhere first, so that data directories that know nothing of each other seldom meet.
    const start = Math.floor(Math.random() * places);
    for (let tried = 0; tried < places; tried++) {
      const first = FIRST + ((start + tried) % places) * USERS_OF_A_POD;
      const span = { first, end: first + USERS_OF_A_POD };
      if (taken.some((other) => overlap(span, other))) continue;
      if (!available.every((spans) => spans.some((other) => holds(other, span)))) continue;
      // Claimed first, so that the lock asked for is not one that a pod from here is about to take.
      if (!claim(claims, first, uuid)) continue;
      if (!isRunning(first, host)) return { first, count: USERS_OF_A_POD };
      unlinkSync(join(claims, String(first)));
    }
    throw new GantryError(
      'launch',
      `--private-users: no range of ${USERS_OF_A_POD} users is left from ${FIRST} to ${LAST + USERS_OF_A_POD - 1}: remove pods with gantry gc, or look at /etc/subuid and /etc/subgid`,
    );
  });
}

/** Takes back the range of a pod whose directory is gone. */
export function releaseUsers(dataDir: string, uuid: string, { first }: UserRange): void {
  withClaims(dataDir, (claims) => {
    const path = join(claims, String(first));
    if (holderOf(path) === uuid) giveBack(path, first);
  });
}

/** Takes back what a pod that never came to be was given. */
export function releaseUsersOf(dataDir: string, uuid: string): void {
  sweepUsers(dataDir, (holder) => holder !== uuid);
}

/**
 * Takes back the ranges of pods that are gone, of crashes and of pods that never came to be.
 * @param exists whether there is a pod, whatever its phase
 */
export function sweepUsers(dataDir: string, exists: (uuid: string) => boolean): void {
  if (claimsIn(dataDir).length === 0) return;
  withClaims(dataDir, (claims) => {
    for (const name of claimsIn(dataDir)) {
      const path = join(claims, name);
      const holder = holderOf(path);
      if (holder === undefined || !exists(holder)) giveBack(path, Number(name));
    }
  });
}

function giveBack(path: string, first: number): void {
  clearLock(first);
  unlinkSync(path);
}

/** Removes the file of a lock nobody holds; a supervisor that has it open already makes another (lock.c). */
function clearLock(first: number): void {
  const path = join(USER_LOCKS, String(first));
  const fd = openLock(path);
  if (fd === undefined) return;
  try {
    if (system.flock(fd, LOCK.exclusive | LOCK.nonBlocking)) unlinkSync(path);
  } finally {
    closeSync(fd);
  }
}

/** Undefined where there is none. */
function openLock(path: string): number | undefined {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch {
    return undefined;
  }
}

function claimsIn(dataDir: string): string[] {
  try {
    return readdirSync(join(dataDir, 'users'));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw cannot(dataDir, error);
  }
}

/** With the directory of claims locked, which whoever changes one holds for some milliseconds. */
function withClaims<T>(dataDir: string, action: (claims: string) => T): T {
  const claims = join(dataDir, 'users');
  let fd: number;
  try {
    mkdirSync(claims, { recursive: true, mode: 0o700 });
    fd = openSync(claims, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    throw cannot(dataDir, error);
  }
  try {
    system.flock(fd, LOCK.exclusive);
    return action(claims);
  } finally {
    closeSync(fd);
  }
}

function cannot(dataDir: string, cause: unknown): GantryError {
  return new GantryError(
    'store',
    `cannot keep account of users in ${join(dataDir, 'users')}: ${errnoOf(cause) ?? 'failed'}`,
    { cause },
  );
}

/** False when the range is a pod's. */
function claim(claims: string, first: number, uuid: string): boolean {
  try {
    writeFileSync(join(claims, String(first)), `${uuid}\n`, { flag: 'wx', mode: 0o600 });
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false;
    throw error;
  }
}

/** The UUID; undefined where a crash left none. */
function holderOf(path: string): string | undefined {
  const text = readIfThere(path).trim();
  return text === '' ? undefined : text;
}

/** Whether a pod of any data directory runs with the range. */
function isRunning(first: number, { locks }: UserFiles): boolean {
  const fd = openLock(join(locks, String(first)));
  if (fd === undefined) return false;
  try {
    return !system.flock(fd, LOCK.shared | LOCK.nonBlocking);
  } finally {
    closeSync(fd);
  }
}

/** What is others': subordinate users (subuid(5)), accounts where there should be none, containers of systemd-nspawn. */
function takenSpans(host: UserFiles): Span[] {
  const subordinate = host.subordinate.flatMap((path) =>
    fieldsOf(path).map(([, first, count]) => spanOf(first, count)),
  );
  const accounts = host.accounts.flatMap((path) =>
    fieldsOf(path).map(([, , id]) => spanOf(id, '1')),
  );
  const containers = namesIn(host.containers).map((first) => spanOf(first, `${USERS_OF_A_POD}`));
  return [...subordinate, ...accounts, ...containers].filter((span) => span !== undefined);
}

/** None where there is no such directory. */
function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function fieldsOf(path: string): string[][] {
  return readIfThere(path)
    .split('\n')
    .map((line) => line.split(':').map((field) => field.trim()));
}

function spanOf(first = '', count = ''): Span | undefined {
  if (!/^\d+$/.test(first) || !/^\d+$/.test(count)) return undefined;
  return { first: Number(first), end: Number(first) + Number(count) };
}

/** The users, and the groups, that there are at all: fewer than all of them in a container. */
function availableSpans(host: UserFiles): Span[][] {
  return host.maps.map((path) =>
    readIfThere(path)
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .map(([first, , count]) => spanOf(first, count))
      .filter((span) => span !== undefined),
  );
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return '';
    throw new GantryError('launch', `cannot read ${path}: ${errnoOf(error)}`, { cause: error });
  }
}

function overlap(a: Span, b: Span): boolean {
  return a.first < b.end && b.first < a.end;
}

function holds(outer: Span, inner: Span): boolean {
  return outer.first <= inner.first && inner.end <= outer.end;
}
