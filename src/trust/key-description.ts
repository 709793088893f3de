import type { Key, Subkey } from 'openpgp';
import { primaryFault } from './key-standing.ts';
import { algorithmName, POLICY } from './policy.ts';
import { displayFingerprint, printable } from './printable.ts';
import type { OpenPgpDescription, SubkeyDescription } from './review.ts';

/** What an operator is shown of an OpenPGP key beyond its fingerprint. */
export async function describeOpenPgpKey(
  key: Key,
  now: Date,
): Promise<Omit<OpenPgpDescription, 'kind' | 'fingerprint' | 'displayFingerprint'>> {
  const expires = await key.getExpirationTime(undefined, POLICY);
  const problem = await primaryFault(key, now);
  return {
    userIds: await ownUserIds(key, now),
    algorithm: algorithmName(key.getAlgorithmInfo()),
    created: key.getCreationTime(),
    ...(expires instanceof Date ? { expires } : {}),
    subkeys: key.subkeys.map(describeSubkey),
    ...(problem === undefined ? {} : { problem: `the key ${problem}` }),
  };
}

/** The user ids the key's owner has signed: anyone can attach others to a key. */
async function ownUserIds(key: Key, now: Date): Promise<string[]> {
  const ids: string[] = [];
  for (const user of key.users) {
    if (user.userID === null) continue;
    try {
      await user.verify(now, POLICY);
      ids.push(printable(user.userID.userID));
    } catch {
      // Without a valid self-signature it says nothing about the key, so it is not shown.
    }
  }
  return ids;
}

/** The user id a record names the key by: the one its owner marked as the primary one. */
export async function primaryUserId(key: Key, now: Date): Promise<string | undefined> {
  try {
    const { user } = await key.getPrimaryUser(now, undefined, POLICY);
    return user.userID === null ? undefined : printable(user.userID.userID);
  } catch {
    return undefined; // A version 6 key need not have any (RFC 9580 section 10.1.1).
  }
}

function describeSubkey(subkey: Subkey): SubkeyDescription {
  const fingerprint = subkey.getFingerprint();
  return { fingerprint, displayFingerprint: displayFingerprint(fingerprint) };
}
