import { createInterface } from 'node:readline/promises';
import type { KeyReview } from '../fetch/context.ts';
import { describeKeys } from '../trust/review.ts';
import { oneLine, print, say } from './print.ts';

/** Whether somebody is there who can read a fingerprint and answer. */
export function canAsk(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true;
}

/** Asks about keys found while fetching; undefined where nobody can answer. */
export function askForReview(): KeyReview | undefined {
  if (!canAsk()) return undefined;
  return async (prefix, url, key) => {
    await showKey(prefix, url, key);
    return await askWhetherToTrust();
  };
}

/** Prints prefix, location, fingerprints and user ids of a key file, in rkt's words. */
export async function showKey(prefix: string, location: string, bytes: Uint8Array): Promise<void> {
  say(`prefix: ${JSON.stringify(prefix)}`);
  say(`key: ${JSON.stringify(location)}`);
  for (const key of await describeKeys(bytes)) {
    const lines = [
      `gpg key fingerprint is: ${key.displayFingerprint}`,
      ...key.subkeys.map((subkey) => `    Subkey fingerprint: ${subkey.displayFingerprint}`),
      ...key.userIds.map((user) => `\t${oneLine(user)}`),
      ...(key.problem === undefined
        ? []
        : [`    warning: nothing it signs is believed: ${key.problem}`]),
    ];
    print(`${lines.join('\n')}\n`);
  }
}

/** Asks until the answer is yes or no; no answer at all is no. */
export async function askWhetherToTrust(): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    for (;;) {
      const answer = await terminal.question('Are you sure you want to trust this key (yes/no)? ');
      if (answer === 'yes') return true;
      if (answer === 'no') return false;
      say("Please enter 'yes' or 'no'");
    }
  } catch {
    return false;
  } finally {
    terminal.close();
  }
}
