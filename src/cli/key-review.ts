import { createInterface } from 'node:readline/promises';
import { isatty } from 'node:tty';
import type { KeyReview } from '../fetch/context.ts';
import type { KeyDescription } from '../trust/review.ts';
import { oneLine, print, say } from './print.ts';

/** Whether somebody is there who can read a fingerprint and answer. */
export function canAsk(): boolean {
  // Of the descriptors themselves: `process.stdin` would make a stream first.
  return isatty(0) && isatty(2);
}

/** Asks about keys found while fetching; undefined where nobody can answer. */
export function askForReview(): KeyReview | undefined {
  if (!canAsk()) return undefined;
  return async (prefix, url, key) => {
    await showKey(prefix, url, key);
    return await askWhetherToTrust();
  };
}

/** Prints prefix, location, fingerprints and whose each key of a file is; of OpenPGP in rkt's words. */
export async function showKey(prefix: string, location: string, bytes: Uint8Array): Promise<void> {
  say(`prefix: ${JSON.stringify(prefix)}`);
  say(`key: ${JSON.stringify(location)}`);
  const { describeKeys } = await import('../trust/review.ts');
  for (const key of await describeKeys(bytes)) print(`${reviewLines(key).join('\n')}\n`);
}

/** What is to be known of a key before it is trusted. */
export function reviewLines(key: KeyDescription): string[] {
  const lines = identifyingLines(key);
  if (key.problem === undefined) return lines;
  const what = key.kind === 'sigstore-identity' ? '' : 'nothing it signs is believed: ';
  return [...lines, `    warning: ${what}${key.problem}`];
}

function identifyingLines(key: KeyDescription): string[] {
  switch (key.kind) {
    case 'openpgp':
      return [
        `gpg key fingerprint is: ${key.displayFingerprint}`,
        ...key.subkeys.map((subkey) => `    Subkey fingerprint: ${subkey.displayFingerprint}`),
        ...key.userIds.map((user) => `\t${oneLine(user)}`),
      ];
    case 'sigstore-key':
      return [`sigstore key fingerprint is: ${key.displayFingerprint}`, `\t${key.algorithm}`];
    case 'sigstore-identity':
      return [
        `keyless identity is${key.match === 'exact' ? '' : ' whatever matches'}: ${oneLine(key.subject)}`,
        `\tissuer: ${oneLine(key.issuer)}`,
      ];
    case 'x509':
      return [
        `certificate authority fingerprint is: ${key.displayFingerprint}`,
        `\t${oneLine(key.subject)}`,
        `\tvalid from ${key.created.toISOString()} until ${key.expires.toISOString()}`,
      ];
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
