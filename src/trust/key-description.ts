import type { Key } from 'openpgp';
import { primaryFault } from './key-standing.ts';
import { algorithmName, POLICY } from './policy.ts';
import { printable } from './printable.ts';
import { readPublicKeys } from './public-key.ts';
import type { KeyDescription, SubkeyDescription } from './review.ts';

/** Behind `describeKeys`: see there. */
export async function describePublicKeys(bytes: Uint8Array): Promise<KeyDescription[]> {
  const now = new Date();
  return await Promise.all((await readPublicKeys(bytes)).map((key) => describe(key, now)));
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

async function describe(key: Key, now: Date): Promise<KeyDescription> {
  const expires = await key.getExpirationTime(undefined, POLICY);
  const problem = await primaryFault(key, now);
  return {
    ...fingerprints(key),
    userIds: await ownUserIds(key, now),
    algorithm: algorithmName(key.getAlgorithmInfo()),
    created: key.getCreationTime(),
    ...(expires instanceof Date ? { expires } : {}),
    subkeys: key.subkeys.map(fingerprints),
    ...(problem === undefined ? {} : { problem: `the key ${problem}` }),
  };
}

function fingerprints(component: { getFingerprint(): string }): SubkeyDescription {
  const fingerprint = component.getFingerprint();
  return { fingerprint, displayFingerprint: spaced(fingerprint) };
}

/** Groups of four, and a wider gap in the middle, as gpg and rkt print them. */
function spaced(fingerprint: string): string {
  const groups = fingerprint.toUpperCase().match(/.{4}/g) ?? [];
  const half = groups.length / 2;
  return `${groups.slice(0, half).join(' ')}  ${groups.slice(half).join(' ')}`;
}
