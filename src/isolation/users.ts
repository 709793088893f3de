import { GantryError } from '../error.ts';
import { isRootless, usableIds } from '../system/ordinary-user.ts';
import type { LayerTree } from './layer-tree.ts';

/** (uid_t)-1 means "no change" to the kernel and is nobody's id. */
const MAX_ID = 0xfffffffe;

/** Who an app runs as. */
export interface Credentials {
  readonly uid: number;
  readonly gid: number;
  readonly gids: readonly number[];
  /** From the image's passwd, where the user has an entry; else `root` or the number. */
  readonly name: string;
  readonly home: string;
  readonly shell: string;
}

/** What an app section says of its user. */
export interface UserChoice {
  readonly user: string;
  /** Empty: the user's own, as OCI images have it; then the user's supplementary groups come along. */
  readonly group: string;
  readonly supplementaryGids: readonly number[];
}

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
  readonly shell: string;
}

interface GroupEntry {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

/**
 * Turns user and group into numbers, as appc spec/aci.md (`user`, `group`) has it: a name of the
 * image's own etc/passwd or etc/group first, then a number, and for a path the owner of that file.
 * Without a group, as image-spec config.md (`User`) has it: the user's group in etc/passwd, or 0 for one
 * who is not there, and the groups etc/group says the user is in.
 * @param where names the app, for messages
 * @throws GantryError `launch` naming the user, group or file the image does not have
 */
export function resolveUser(choice: UserChoice, tree: LayerTree, where: string): Credentials {
  const accounts = readPasswd(tree);
  const uid = resolveUid(choice.user, accounts, tree, where);
  const account = accounts.find((entry) => entry.uid === uid);
  const gid = resolveGid(choice.group, account, tree, where);
  for (const extra of choice.supplementaryGids) {
    if (!isId(extra)) {
      throw new GantryError('launch', `${where}: supplementary group ${extra} is no group id`);
    }
  }
  const gids = [...new Set([...choice.supplementaryGids, ...memberships(choice, account, tree)])];
  if (isRootless()) requireUsable({ uid, gid, gids }, where);
  return {
    uid,
    gid,
    gids,
    name: account?.name ?? (uid === 0 ? 'root' : String(uid)),
    home: account?.home || (uid === 0 ? '/root' : '/'),
    shell: account?.shell || '/bin/sh',
  };
}

/** An ordinary user has so many ids for all that pods and images have. */
function requireUsable(
  { uid, gid, gids }: Pick<Credentials, 'uid' | 'gid' | 'gids'>,
  where: string,
): void {
  const [uids, groups] = [usableIds('uid'), usableIds('gid')];
  const group = [gid, ...gids].find((each) => each >= groups);
  if (uid < uids && group === undefined) return;
  const [what, id, count] = uid < uids ? ['group', group, groups] : ['user', uid, uids];
  throw new GantryError(
    'launch',
    `${where}: ${what} ${id} is beyond your ${count} ids: choose another with --${what}, or have more in /etc/sub${what === 'user' ? 'u' : 'g'}id`,
  );
}

function resolveUid(
  user: string,
  accounts: readonly PasswdEntry[],
  tree: LayerTree,
  where: string,
): number {
  if (user.startsWith('/')) return ownerOf(user, 'user', tree, where).uid;
  const named = accounts.find((entry) => entry.name === user);
  if (named !== undefined) return named.uid;
  const id = numericId(user === 'root' ? '0' : user);
  if (id !== undefined) return id;
  throw new GantryError(
    'launch',
    `${where}: the image has no user ${JSON.stringify(user)} in /etc/passwd: give a number with --user`,
  );
}

function resolveGid(
  group: string,
  account: PasswdEntry | undefined,
  tree: LayerTree,
  where: string,
): number {
  if (group === '') return account?.gid ?? 0;
  if (group.startsWith('/')) return ownerOf(group, 'group', tree, where).gid;
  const named = readGroups(tree).find((entry) => entry.name === group);
  if (named !== undefined) return named.gid;
  const id = numericId(group === 'root' ? '0' : group);
  if (id !== undefined) return id;
  throw new GantryError(
    'launch',
    `${where}: the image has no group ${JSON.stringify(group)} in /etc/group: give a number with --group`,
  );
}

/** docker and podman add these where an image names no group. */
function memberships(
  { group }: UserChoice,
  account: PasswdEntry | undefined,
  tree: LayerTree,
): number[] {
  if (group !== '' || account === undefined) return [];
  return readGroups(tree)
    .filter(({ members }) => members.includes(account.name))
    .map(({ gid }) => gid);
}

function ownerOf(
  path: string,
  what: 'user' | 'group',
  tree: LayerTree,
  where: string,
): { uid: number; gid: number } {
  const stats = tree.stat(path);
  if (stats !== undefined) return stats;
  throw new GantryError(
    'launch',
    `${where}: the image has no file ${path}, whose ${what} the app should run as`,
  );
}

function numericId(text: string): number | undefined {
  if (!/^[0-9]{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return isId(id) ? id : undefined;
}

function isId(id: number): boolean {
  return Number.isInteger(id) && id >= 0 && id <= MAX_ID;
}

/** passwd(5); lines that are none are skipped, as the C library does. */
function readPasswd(tree: LayerTree): PasswdEntry[] {
  return lines(tree, '/etc/passwd').flatMap((line) => {
    const [name, , uid, gid, , home, shell] = line.split(':');
    const uidNumber = numericId(uid ?? '');
    const gidNumber = numericId(gid ?? '');
    if (!name || uidNumber === undefined || gidNumber === undefined) return [];
    return [{ name, uid: uidNumber, gid: gidNumber, home: home ?? '', shell: shell ?? '' }];
  });
}

/** group(5); of several lines with one name the first counts. */
function readGroups(tree: LayerTree): GroupEntry[] {
  return lines(tree, '/etc/group').flatMap((line) => {
    const [name, , gid, members] = line.split(':');
    const id = numericId(gid ?? '');
    if (!name || id === undefined) return [];
    return [{ name, gid: id, members: members?.split(',') ?? [] }];
  });
}

function lines(tree: LayerTree, path: string): string[] {
  return tree.readFile(path)?.toString('utf8').split('\n') ?? [];
}
