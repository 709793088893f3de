import { GantryError } from '../error.ts';
import { quote } from '../image/quotation.ts';
import type { CallChoice } from '../isolation/system-calls.ts';

const MODES = ['retain', 'remove'] as const;

/**
 * Reads `--seccomp mode=retain|remove[,errno=ENAME],CALL,…`, the words in any order as in rkt. Whether there are such
 * calls, sets and errors is looked at when the pod is prepared.
 * @throws GantryError `usage` naming the option and what of it is wrong
 */
export function parseSeccomp(text: string): CallChoice {
  const words = text.split(',');
  const set = words.filter((word) => !word.includes('='));
  const values = new Map<string, string>();
  for (const word of words.filter((word) => word.includes('='))) {
    const [key = '', value = ''] = word.split('=', 2);
    if (key !== 'mode' && key !== 'errno') {
      refuse(text, `unknown word ${quote(key)}: there are mode= and errno=`);
    }
    if (values.has(key)) refuse(text, `${key}= is given twice`);
    values.set(key, value);
  }
  const mode = MODES.find((known) => known === values.get('mode'));
  if (mode === undefined) refuse(text, 'mode=retain or mode=remove must be given');
  const bad = set.find((name) => !/^(@[-a-z0-9._]+\/[-a-z0-9._]+|[a-z0-9_]+)$/.test(name));
  if (bad !== undefined) {
    refuse(text, `${quote(bad)} is neither a system call nor a set (@scope/name)`);
  }
  if (set.length === 0) refuse(text, 'no system call is named');
  const errno = values.get('errno');
  if (errno !== undefined && !/^E[A-Z0-9]+$/.test(errno)) {
    refuse(text, `${quote(errno)} is not the name of an errno (E…)`);
  }
  return { mode, set, ...(errno === undefined ? {} : { errno }) };
}

function refuse(text: string, why: string): never {
  throw new GantryError('usage', `--seccomp ${quote(text)}: ${why}`);
}
