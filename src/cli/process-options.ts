import { GantryError } from '../error.ts';
import type { Isolator } from '../image/isolator.ts';
import { quote } from '../image/quotation.ts';
import { parseRlimit, RLIMIT_NAMES } from '../image/rlimit.ts';
import { APPARMOR, RLIMITS, SELINUX } from '../isolation/process-limits.ts';
import { readSysctl, SYSCTL } from '../isolation/sysctl.ts';
import { parsePair } from './pairs.ts';

/**
 * The isolator of all `--rlimit` of an app.
 * @throws GantryError `usage`, as all here
 */
export function rlimitsIsolator(words: readonly string[]): Isolator {
  const value: Record<string, string> = {};
  for (const word of words) {
    const [name, text] = parsePair(word, '--rlimit', 'NAME=SOFT[:HARD]');
    if (!RLIMIT_NAMES.includes(name)) {
      throw new GantryError(
        'usage',
        `--rlimit: ${quote(name)} is no limit: known are ${RLIMIT_NAMES.join(', ')}`,
      );
    }
    if (name in value) throw new GantryError('usage', `--rlimit: ${name} is given twice`);
    const limit = parseRlimit(text);
    if (typeof limit === 'string') {
      throw new GantryError('usage', `--rlimit: ${quote(word)}: ${limit}`);
    }
    value[name] = text;
  }
  return { name: RLIMITS, value };
}

/** The isolator of `--selinux-context`; a level may hold colons. */
export function selinuxIsolator(text: string): Isolator {
  const [, user, role, type, level] = /^([^:]+):([^:]+):([^:]+):(.+)$/.exec(text) ?? [];
  if (user === undefined || role === undefined || type === undefined || level === undefined) {
    throw new GantryError('usage', `--selinux-context: ${quote(text)} is not USER:ROLE:TYPE:LEVEL`);
  }
  return { name: SELINUX, value: { user, role, type, level } };
}

/** The isolator of `--apparmor-profile`. */
export function apparmorIsolator(profile: string): Isolator {
  if (profile === '' || profile.includes('\n')) {
    throw new GantryError('usage', `--apparmor-profile: ${quote(profile)} is no name of a profile`);
  }
  return { name: APPARMOR, value: { profile } };
}

/** The pod's isolator of all `--sysctl`. */
export function sysctlIsolator(words: readonly string[]): Isolator {
  const pairs = words.map((word) => parsePair(word, '--sysctl', 'KEY=VALUE'));
  const isolator = { name: SYSCTL, value: Object.fromEntries(pairs) };
  const twice = pairs.find(([name], at) => pairs.findIndex((pair) => pair[0] === name) < at);
  if (twice !== undefined) throw new GantryError('usage', `--sysctl ${twice[0]}: is given twice`);
  readSysctl([isolator], '--sysctl');
  return isolator;
}
