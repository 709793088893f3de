/** A limit of setrlimit(2): a number, or undefined for unlimited. */
export interface Rlimit {
  readonly soft: bigint | undefined;
  readonly hard: bigint | undefined;
}

/** What setrlimit(2) limits, by the names of launch plans: RLIMIT_NOFILE is `nofile`. */
export const RLIMIT_NAMES: readonly string[] = [
  'as',
  'core',
  'cpu',
  'data',
  'fsize',
  'locks',
  'memlock',
  'msgqueue',
  'nice',
  'nofile',
  'nproc',
  'rss',
  'rtprio',
  'rttime',
  'sigpending',
  'stack',
];

/** RLIM_INFINITY is one more. */
const LARGEST = 2n ** 64n - 2n;

/**
 * Reads `SOFT:HARD`, or one number for both; `unlimited` stands for no limit.
 * @returns what is wrong with it, in words, where it is none
 */
export function parseRlimit(text: string): Rlimit | string {
  const [soft = '', hard = soft, ...more] = text.split(':');
  const limits = [soft, hard].map(parseLimit);
  if (more.length > 0 || limits.includes(null)) {
    return 'must be SOFT:HARD or a number for both, each a whole number or unlimited';
  }
  const [first, second] = limits as (bigint | undefined)[];
  if (second !== undefined && (first === undefined || first > second)) {
    return 'the soft limit is above the hard one';
  }
  return { soft: first, hard: second };
}

/** Undefined: unlimited; null: no limit at all. */
function parseLimit(word: string): bigint | undefined | null {
  if (word === 'unlimited') return undefined;
  if (!/^\d{1,20}$/.test(word) || BigInt(word) > LARGEST) return null;
  return BigInt(word);
}

/** As launch plans and people have it. */
export function formatLimit(limit: bigint | undefined): string {
  return limit === undefined ? 'unlimited' : String(limit);
}
