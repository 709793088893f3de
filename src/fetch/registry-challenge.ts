import type { ResponseHead } from './exchange.ts';

/** What a server asks to be shown (RFC 9110 section 11.3). */
export interface Challenge {
  /** Lower case. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: ReadonlyMap<string, string>;
}

const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const parameter = new RegExp(
  `^(${token})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|(${token}))\\s*(?:,\\s*|$)`,
);
const scheme = new RegExp(`^(${token})(?:\\s+|\\s*,\\s*|$)`);

/** The challenges of a 401, in the order they came; what cannot be read ends the list. */
export function challengesOf({ headers }: ResponseHead): Challenge[] {
  const value = headers['www-authenticate'];
  const fields = typeof value === 'string' ? [value] : (value ?? []);
  return fields.flatMap(parseChallenges);
}

function parseChallenges(field: string): Challenge[] {
  const challenges: Challenge[] = [];
  let rest = field.trim();
  while (rest !== '') {
    const [whole, name] = scheme.exec(rest) ?? [];
    if (whole === undefined || name === undefined) break;
    rest = rest.slice(whole.length);
    const parameters = new Map<string, string>();
    for (let match = parameter.exec(rest); match !== null; match = parameter.exec(rest)) {
      const [text, key = '', quoted, bare = ''] = match;
      parameters.set(key.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? bare);
      rest = rest.slice(text.length);
    }
    challenges.push({ scheme: name.toLowerCase(), parameters });
  }
  return challenges;
}
