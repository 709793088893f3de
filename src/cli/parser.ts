import { Command, CommanderError, Option } from 'commander';
import { GantryError } from '../error.ts';
import { quote } from '../image/quotation.ts';
import {
  type CliOption,
  type CommandDefinition,
  descriptionOf,
  type Invocation,
  shownFlags,
} from './command.ts';
import { globalOptions } from './globals.ts';

/**
 * Parses the words of one call, global options among them. Answers `help` when that is what was asked
 * for (it has been shown then). Throws `usage`.
 */
export function parseInvocation(
  definition: CommandDefinition,
  words: readonly string[],
): Invocation | 'help' {
  const command = buildCommand(definition);
  try {
    const parsed = definition.parse?.(command, words);
    if (definition.parse === undefined) {
      command.parse(normaliseWords(command, words, definition.optionsFirst), { from: 'user' });
    }
    return { operands: command.args, options: command.opts(), parsed };
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // By --help, or where a command's own parser saw that word.
    if (['commander.helpDisplayed', 'commander.help'].includes(error.code)) return 'help';
    const what = error.message.replace(/^error: /, '').replaceAll('\n', ' ');
    throw new GantryError('usage', `${what}: see gantry ${definition.name} --help`);
  }
}

/** The parser of a definition, with the global options accepted beside its own. */
export function buildCommand(definition: CommandDefinition): Command {
  const command = new Command(`gantry ${definition.name}`);
  command.summary(definition.summary).description(descriptionOf(definition));
  command.usage(`[options]${definition.operands === undefined ? '' : ` ${definition.operands}`}`);
  command.helpOption('-h, --help', 'show this help');
  command.configureHelp({ optionTerm: shownFlags });
  for (const option of definition.options ?? []) command.addOption(parserOption(option));
  for (const option of globalOptions()) command.addOption(parserOption(option).hideHelp());
  command.addHelpText('after', trailer(definition));
  command.allowExcessArguments(true).exitOverride();
  command.configureOutput({ writeErr: () => undefined });
  if (definition.optionsFirst) command.enablePositionalOptions().passThroughOptions();
  return command;
}

/** The examples, and which options every command has: what those are, the overview says once. */
function trailer({ examples }: CommandDefinition): string {
  const shown = examples === undefined ? [] : ['', 'Examples:', ...examples.map((e) => `  ${e}`)];
  const names = globalOptions().map((option) => shownFlags(option).replace(/[ =[].*$/, ''));
  const rows = [names.slice(0, 5), names.slice(5)].map((row) => `  ${row.join(' ')}`);
  return [...shown, '', 'Global options (gantry help explains them):', ...rows].join('\n');
}

function parserOption(definition: CliOption): Option {
  const { flags, description, fallback, repeats, group, deprecated } = definition;
  const option = new Option(flags, description);
  if (group !== undefined) option.helpGroup(`${group}:`);
  if (deprecated !== undefined) option.hideHelp();
  if (fallback !== undefined) option.default(fallback);
  if (repeats === true) {
    option.argParser((value: string, previous: unknown) =>
      Array.isArray(previous) ? [...(previous as string[]), value] : [value],
    );
  }
  return option;
}

/**
 * Rewrites what rkt's parser accepts and commander does not: `--flag=true|false`, and options whose
 * value is optional, which must take it only after `=` (`--wait UUID` waits without a limit). With
 * `stopAtOperand`, options end at the first operand.
 */
export function normaliseWords(
  command: Command,
  words: readonly string[],
  stopAtOperand = false,
): string[] {
  const result: string[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? '';
    if (word === '--') return [...result, ...words.slice(i)];
    const option = word.startsWith('--') ? optionFor(command, word) : undefined;
    if (option === undefined) {
      if (!word.startsWith('-') && stopAtOperand) return [...result, ...words.slice(i)];
      result.push(word);
      continue;
    }
    const rewritten = rewriteOption(command, option, word);
    if (rewritten !== undefined) result.push(rewritten);
    if (option.required && !word.includes('=') && i + 1 < words.length) {
      result.push(words[++i] ?? '');
    }
  }
  return result;
}

function optionFor(command: Command, word: string): Option | undefined {
  const name = word.split('=', 1)[0];
  return command.options.find((option) => option.long === name);
}

function rewriteOption(command: Command, option: Option, word: string): string | undefined {
  const equals = word.indexOf('=');
  if (option.optional) return equals < 0 ? `${word}=true` : word;
  // commander counts `--no-…` as no boolean; to rkt's parser it is one like the others.
  if (option.required || equals < 0) return word;
  const value = word.slice(equals + 1);
  if (['true', 't', '1', 'TRUE', 'True', 'T'].includes(value)) return word.slice(0, equals);
  if (['false', 'f', '0', 'FALSE', 'False', 'F'].includes(value)) {
    command.setOptionValue(option.attributeName(), option.negate);
    return undefined;
  }
  throw new GantryError('usage', `${option.long}: ${quote(value)} is neither true nor false`);
}
