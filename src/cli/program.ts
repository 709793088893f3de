import { GantryError } from '../error.ts';
import {
  bareInvocation,
  type CliOption,
  type CommandDefinition,
  type Invocation,
  longName,
  takesValue,
} from './command.ts';
import { createContext, type GlobalValues } from './context.ts';
import { globalOptions } from './globals.ts';
import { registry } from './registry.ts';
import { printError } from './report.ts';

/** The exit code when Gantry itself fails; otherwise it is the app's (rkt uses the same). */
export const FAILURE = 254;

/** Runs one command line (the words after `gantry`) and answers the exit code. */
export async function main(words: readonly string[]): Promise<number> {
  const debug = words.some((word) => word === '--debug' || word === '--debug=true');
  let name = '';
  // What a stream or a timer throws with nobody to catch it is a failure like every other.
  process.on('uncaughtException', (error) => {
    printError(name, error, debug);
    process.exit(FAILURE);
  });
  try {
    const call = splitCall(words, globalOptions());
    name = call.name;
    const load = registry.get(name);
    if (load === undefined) throw unknownCommand(name);
    return await invoke((await load()).definition, call.words);
  } catch (error) {
    printError(name, error, debug);
    if (error instanceof GantryError && error.code === 'interrupted') await die();
    return FAILURE;
  }
}

async function die(): Promise<void> {
  const { dieOfInterruption } = await import('./interruption.ts');
  await dieOfInterruption();
}

/** The command's name, and all other words in their order: global options may stand before it. */
function splitCall(words: readonly string[], globals: readonly CliOption[]) {
  const at = afterGlobals(words, 0, globals);
  const word = words[at] ?? '';
  if (word === '--help' || word === '-h') return { name: 'help', words: words.slice(at + 1) };
  if (word === '--version') return { name: 'version', words: [] };
  if (word.startsWith('-')) {
    throw new GantryError('usage', `unknown option ${word}: see gantry help`);
  }
  const leading = words.slice(0, at);
  const first = words[at];
  if (first === undefined) return { name: 'help', words: leading };
  // Global options may also stand between the words of a name: gantry image --dir=/srv list.
  const next = afterGlobals(words, at + 1, globals);
  const second = words[next];
  // `trust` is a command, and the group of `trust list`: only words it has belong to its name.
  const isGroup = [...registry.keys()].some((known) => known.startsWith(`${first} `));
  const isMember = registry.has(`${first} ${second}`);
  if (!isGroup || (registry.has(first) && !isMember)) {
    return { name: first, words: [...leading, ...words.slice(at + 1)] };
  }
  if (second === undefined || second === '--help' || second === '-h') {
    return { name: 'help', words: [first] };
  }
  const between = words.slice(at + 1, next);
  return { name: `${first} ${second}`, words: [...leading, ...between, ...words.slice(next + 1)] };
}

/**
 * The place of the first word from `at` on that is no global option, nor the value of one, nor `--option=value` of
 * the command's own: rkt's parser hands those on, and its documentation has `rkt --stage1-path=FILE run IMAGE`.
 */
function afterGlobals(words: readonly string[], at: number, globals: readonly CliOption[]): number {
  let next = at;
  for (;;) {
    const word = words[next] ?? '';
    const option = globals.find((known) => longName(known) === word.split('=', 1)[0]);
    if (option === undefined && !/^--.+=/.test(word)) return next;
    next += option !== undefined && takesValue(option) && !word.includes('=') ? 2 : 1;
  }
}

function unknownCommand(name: string): GantryError {
  return new GantryError('usage', `unknown command "${name}": gantry help lists them`);
}

async function invoke(definition: CommandDefinition, words: readonly string[]): Promise<number> {
  const invocation = await parse(definition, words);
  if (invocation === 'help') return 0;
  const [stray] = invocation.operands;
  if (definition.operands === undefined && stray !== undefined) {
    throw new GantryError(
      'usage',
      `unexpected ${JSON.stringify(stray)}: gantry ${definition.name} takes options only`,
    );
  }
  return await definition.run(createContext(invocation.options as GlobalValues), invocation);
}

/** Where there is nothing to parse, no parser is loaded. */
async function parse(
  definition: CommandDefinition,
  words: readonly string[],
): Promise<Invocation | 'help'> {
  if (words.length === 0 && definition.parse === undefined) return bareInvocation(definition);
  const { parseInvocation } = await import('./parser.ts');
  return parseInvocation(definition, words);
}
