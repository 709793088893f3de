import { GantryError } from '../error.ts';
import type { Isolator } from '../image/isolator.ts';
import { parseQuantity, type Quantity, wholeUnits } from '../image/quantity.ts';
import { quote } from '../image/quotation.ts';
import { capabilityName } from '../isolation/capabilities.ts';
import {
  callIsolator,
  NO_NEW_PRIVILEGES_ISOLATOR,
  removeIsolator,
  retainIsolator,
} from '../isolation/isolators.ts';
import {
  cpuIsolator,
  cpuSharesIsolator,
  ioWeightIsolator,
  memoryIsolator,
  pidsIsolator,
} from '../isolation/limits.ts';
import { OOM_SCORE } from '../isolation/process-limits.ts';
import { type CliOption, flag, optionKey, repeated, valued } from './command.ts';
import { apparmorIsolator, rlimitsIsolator, selinuxIsolator } from './process-options.ts';
import { parseSeccomp } from './seccomp-option.ts';

/** An option after an image that stands for an isolator. */
interface IsolatorOption {
  readonly option: CliOption;
  /** Throws `usage` naming the option and what of its value is wrong. */
  readonly parse: (value: string) => Isolator;
}

/** The same, of one that may be repeated: all of its values make one isolator. */
interface ManyOption {
  readonly option: CliOption;
  readonly parseAll: (values: readonly string[]) => Isolator;
}

/** The same, of a flag. */
interface FlagOption {
  readonly option: CliOption;
  readonly isolator: Isolator;
}

const TABLE: readonly (IsolatorOption | ManyOption | FlagOption)[] = [
  {
    option: valued(
      '--caps-retain <LIST>',
      'comma-separated capabilities to keep, all others are removed',
    ),
    parse: (list) => retainIsolator(capabilityList('--caps-retain', list)),
  },
  {
    option: valued(
      '--caps-remove <LIST>',
      'comma-separated capabilities to remove from the default set',
    ),
    parse: (list) => removeIsolator(capabilityList('--caps-remove', list)),
  },
  {
    option: valued('--memory <QUANTITY>', 'memory limit of the app: 128M, 1Gi, …'),
    parse: (text) => memoryIsolator(memoryQuantity(text)),
  },
  {
    option: valued('--cpu <QUANTITY>', 'processor limit of the app: 2, 750m, … (m: thousandths)'),
    parse: (text) => cpuIsolator(someQuantity('--cpu', text, '500m')),
  },
  {
    option: valued('--cpu-shares <NUMBER>', "the app's share of processors: 2 to 262144"),
    parse: (text) => cpuSharesIsolator(wholeNumber('--cpu-shares', text, 2, 262_144)),
  },
  {
    option: valued('--pids <NUMBER>', 'how many processes and threads the app may have'),
    parse: (text) => pidsIsolator(String(wholeNumber('--pids', text, 1, MOST_PIDS))),
  },
  {
    option: valued('--io-weight <NUMBER>', "the app's share of disks: 1 to 10000, 100 by default"),
    parse: (text) => ioWeightIsolator(wholeNumber('--io-weight', text, 1, 10_000)),
  },
  {
    option: flag('--no-new-privileges', 'set-user-ID programs give the app no privileges'),
    isolator: NO_NEW_PRIVILEGES_ISOLATOR,
  },
  {
    option: valued(
      '--oom-score-adj <SCORE>',
      'how soon the app is ended when memory runs out: -1000 (never) to 1000',
    ),
    parse: (text) => oomScoreIsolator('--oom-score-adj', text),
  },
  {
    option: valued('--oom-score-adjust <SCORE>', 'the same as --oom-score-adj'),
    parse: (text) => oomScoreIsolator('--oom-score-adjust', text),
  },
  {
    option: repeated(
      '--rlimit <NAME=SOFT[:HARD]>',
      'a resource limit of setrlimit(2), such as nofile=1024:4096 or core=unlimited; may be repeated',
    ),
    parseAll: rlimitsIsolator,
  },
  {
    option: valued(
      '--selinux-context <CONTEXT>',
      'SELinux context of the app, as USER:ROLE:TYPE:LEVEL, on a host that has SELinux',
    ),
    parse: selinuxIsolator,
  },
  {
    option: valued(
      '--apparmor-profile <NAME>',
      'AppArmor profile of the app, on a host that has AppArmor',
    ),
    parse: apparmorIsolator,
  },
  {
    option: valued(
      '--seccomp <MODE>',
      'system calls to keep or to take away: mode=retain|remove[,errno=ENAME],CALL|@SET,...',
    ),
    parse: (value) => callIsolator(parseSeccomp(value)),
  },
];

/** The kernel's own limit (PID_MAX_LIMIT). */
const MOST_PIDS = 4_194_304;

function capabilityList(option: string, list: string): string[] {
  return list.split(',').map((name) => capabilityName(name, option));
}

/** Less is most likely `m` typed for `M`: rkt's rule and words. */
function memoryQuantity(text: string): string {
  const quantity = parsed('--memory', text, '128M');
  const bytes = wholeUnits(quantity);
  if (bytes >= 4096n) return text;
  throw new GantryError(
    'usage',
    `--memory: memory limit of ${bytes} bytes too low. Try a reasonable value, such as --memory=16M`,
  );
}

function someQuantity(option: string, text: string, example: string): string {
  if (parsed(option, text, example).milli > 0n) return text;
  throw new GantryError(
    'usage',
    `${option}: a limit of 0 lets nothing run: try ${option}=${example}`,
  );
}

function parsed(option: string, text: string, example: string): Quantity {
  const quantity = parseQuantity(text);
  if (quantity !== undefined) return quantity;
  throw new GantryError('usage', `${option}: ${quote(text)} is not a quantity such as ${example}`);
}

function oomScoreIsolator(option: string, text: string): Isolator {
  return { name: OOM_SCORE, value: wholeNumber(option, text, -1000, 1000) };
}

function wholeNumber(option: string, text: string, least: number, most: number): number {
  const number = Number(text);
  if (/^[-+]?\d{1,10}$/.test(text) && number >= least && number <= most) return number;
  throw new GantryError(
    'usage',
    `${option}: ${quote(text)} is not a whole number from ${least} to ${most}`,
  );
}

/** The options of the table, as commands have them. */
export const ISOLATOR_OPTIONS: readonly CliOption[] = TABLE.map(({ option }) => option);

/** Options that say the same, or contradict each other. */
const EXCLUSIVE = [
  ['--caps-retain', '--caps-remove'],
  ['--oom-score-adj', '--oom-score-adjust'],
] as const;

const keyOf = (flags: string) => optionKey({ flags });

/**
 * The isolators that the options after an image stand for.
 * @throws GantryError `usage`
 */
export function parseIsolators(options: Readonly<Record<string, unknown>>): Isolator[] {
  for (const [one, other] of EXCLUSIVE) {
    if (options[keyOf(one)] === undefined || options[keyOf(other)] === undefined) continue;
    throw new GantryError('usage', `cannot use both ${one} and ${other} on the same image`);
  }
  return TABLE.flatMap((row) => {
    const value = options[optionKey(row.option)];
    if (value === undefined) return [];
    if ('isolator' in row) return value === true ? [row.isolator] : [];
    return [
      'parseAll' in row ? row.parseAll(value as readonly string[]) : row.parse(String(value)),
    ];
  });
}
