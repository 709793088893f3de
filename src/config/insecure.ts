import { GantryError } from '../error.ts';
import { quote } from '../image/quotation.ts';

/** The checks an operator asked to leave out with `--insecure-options`. */
export interface InsecureOptions {
  /** Do not ask who signed an image. */
  readonly image: boolean;
  /** Do not check server certificates. */
  readonly tls: boolean;
  /** Fetch over plain HTTP. */
  readonly http: boolean;
  /** Fetch public keys over plain HTTP. */
  readonly pubkey: boolean;
  /** Keep every capability. */
  readonly capabilities: boolean;
  /** Leave dangerous paths in /proc and /sys open. */
  readonly paths: boolean;
  /** No seccomp filter. */
  readonly seccomp: boolean;
}

type Check = keyof InsecureOptions;

const fetchChecks: Check[] = ['image', 'tls', 'http', 'pubkey'];
const runChecks: Check[] = ['capabilities', 'paths', 'seccomp'];

const meanings = new Map<string, readonly Check[]>([
  ['none', []],
  // rkt once checked stored images on disk; scripts still say it, and it means nothing.
  ['ondisk', []],
  ...[...fetchChecks, ...runChecks].map((check): [string, Check[]] => [check, [check]]),
  ['all-fetch', fetchChecks],
  ['all-run', runChecks],
  ['all', [...fetchChecks, ...runChecks]],
]);

/** Every check in force. */
export const secure: InsecureOptions = {
  image: false,
  tls: false,
  http: false,
  pubkey: false,
  capabilities: false,
  paths: false,
  seccomp: false,
};

/**
 * Reads `--insecure-options`: words separated by commas, in any case, each at most once.
 * @throws GantryError `usage`
 */
export function parseInsecureOptions(text: string): InsecureOptions {
  const options: { -readonly [K in Check]: boolean } = { ...secure };
  const words = text === '' ? [] : text.toLowerCase().split(',');
  for (const [index, word] of words.entries()) {
    const checks = meanings.get(word);
    if (checks === undefined) {
      const known = [...meanings.keys()].join(', ');
      throw refusal(`unknown option ${quote(word)} (one of: ${known})`);
    }
    if (words.indexOf(word) !== index) throw refusal(`duplicated option ${quote(word)}`);
    for (const check of checks) options[check] = true;
  }
  return options;
}

function refusal(why: string): GantryError {
  return new GantryError('usage', `--insecure-options: ${why}`);
}
