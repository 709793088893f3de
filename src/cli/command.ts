import { Command, Option } from 'commander';
import type { Context } from './context.ts';

/** Everything a command says of itself; `--help`, the man pages and the completions come from it. */
export interface CommandDefinition {
  /** Its words after `gantry`, for example `image list`. */
  name: string;
  summary: string;
  /** Operands as they stand in the usage line, for example `UUID [COMMAND ARGS...]`. */
  operands?: string;
  description?: string;
  examples?: readonly string[];
  options?: readonly Option[];
  /** Options end at the first operand: what follows it belongs to another program. */
  optionsFirst?: boolean;
  /** Does the work and answers the exit code; a command that must not run as a user says so. */
  run(context: Context, invocation: Invocation): Promise<number> | number;
  /** Takes the words itself, when operands and options depend on each other's order. */
  parse?(command: Command, words: readonly string[]): unknown;
}

/** The words of one call, parsed. */
export interface Invocation {
  operands: readonly string[];
  options: Record<string, unknown>;
  /** What the definition's own `parse` returned. */
  parsed: unknown;
}

/** A flag: `--full`. It also takes `--full=true` and `--full=false`. */
export function flag(flags: string, description: string): Option {
  return new Option(flags, description);
}

/** An option with a value: `--app <NAME>`. */
export function valued(flags: string, description: string, fallback?: string): Option {
  const option = new Option(flags, description);
  return fallback === undefined ? option : option.default(fallback);
}

/** An option that may be given several times; its value is the array of all. */
export function repeated(flags: string, description: string): Option {
  return new Option(flags, description).argParser((value: string, previous: unknown) =>
    Array.isArray(previous) ? [...(previous as string[]), value] : [value],
  );
}

/** The parser of a definition, with `globals` accepted beside its own options. */
export function buildCommand(definition: CommandDefinition, globals: readonly Option[]): Command {
  const command = new Command(`gantry ${definition.name}`);
  command.summary(definition.summary).description(definition.description ?? definition.summary);
  command.usage(`[options]${definition.operands === undefined ? '' : ` ${definition.operands}`}`);
  command.helpOption('-h, --help', 'show this help');
  for (const option of definition.options ?? []) command.addOption(option);
  command.optionsGroup('Global options:');
  for (const option of globals) command.addOption(option);
  if (definition.examples !== undefined) {
    command.addHelpText(
      'after',
      `\nExamples:\n${definition.examples.map((e) => `  ${e}`).join('\n')}`,
    );
  }
  command.allowExcessArguments(true).exitOverride();
  command.configureOutput({ writeErr: () => undefined });
  if (definition.optionsFirst) command.enablePositionalOptions().passThroughOptions();
  return command;
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
  if (!option.isBoolean() || equals < 0) return word;
  const value = word.slice(equals + 1);
  if (['true', 't', '1', 'TRUE', 'True', 'T'].includes(value)) return word.slice(0, equals);
  if (['false', 'f', '0', 'FALSE', 'False', 'F'].includes(value)) {
    command.setOptionValue(option.attributeName(), option.negate);
    return undefined;
  }
  return word;
}
