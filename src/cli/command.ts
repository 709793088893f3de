import type { Command } from 'commander';
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
  options?: readonly CliOption[];
  /** Options end at the first operand: what follows it belongs to another program. */
  optionsFirst?: boolean;
  /** Does the work and answers the exit code; a command that must not run as a user says so. */
  run(context: Context, invocation: Invocation): Promise<number> | number;
  /** Takes the words itself, when operands and options depend on each other's order. */
  parse?(command: Command, words: readonly string[]): unknown;
}

/** What a command does, in sentences: its description, or its summary as one. */
export function descriptionOf({ description, summary }: CommandDefinition): string {
  return description ?? `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`;
}

/** The words of one call, parsed. */
export interface Invocation {
  operands: readonly string[];
  options: Record<string, unknown>;
  /** What the definition's own `parse` returned. */
  parsed: unknown;
}

/** One option, as data: what parses it, help, man pages and completions are made from this. */
export interface CliOption {
  /** `--full`, `--no-legend`, `--app <NAME>`, or `--wait [DURATION]` where the value may be left out. */
  readonly flags: string;
  readonly description: string;
  /** The value without the option. */
  readonly fallback?: string;
  /** May be given several times: the value is the array of all. */
  readonly repeats?: boolean;
  /** Values worth completing; others may be given too. */
  readonly values?: readonly string[];
  /** The heading it stands under in help and man pages; `Options` without. */
  readonly group?: string;
  /** Of an option of rkt's that has gone out of use: what to use instead. It is taken, and not shown. */
  readonly deprecated?: string;
}

/** A flag: `--full`. It also takes `--full=true` and `--full=false`. */
export function flag(flags: string, description: string): CliOption {
  return { flags, description };
}

/** An option with a value: `--app <NAME>`. */
export function valued(flags: string, description: string, fallback?: string): CliOption {
  return fallback === undefined ? { flags, description } : { flags, description, fallback };
}

/** An option that may be given several times; its value is the array of all. */
export function repeated(flags: string, description: string): CliOption {
  return { flags, description, repeats: true };
}

/** Options under a heading of their own. */
export function inGroup(group: string, options: readonly CliOption[]): CliOption[] {
  return options.map((option) => ({ ...option, group }));
}

/** An option that is only there for scripts written for rkt. */
export function deprecated(flags: string, instead: string): CliOption {
  return { flags, description: `use ${instead}`, deprecated: instead };
}

/** What rkt says where an option is used that has gone out of use. */
export function deprecation(option: CliOption): string {
  return `${longName(option)} has been deprecated: use ${option.deprecated} instead`;
}

/** Those that help, man pages and completions show. */
export function shownOptions(options: readonly CliOption[] = []): CliOption[] {
  return options.filter(({ deprecated: instead }) => instead === undefined);
}

/** `--app` of `--app <NAME>`. */
export function longName({ flags }: Pick<CliOption, 'flags'>): string {
  return flags.split(' ', 1)[0] ?? flags;
}

/** The option as help and man pages show it: a value that may be left out comes after `=` only. */
export function shownFlags({ flags }: Pick<CliOption, 'flags'>): string {
  return flags.replace(/ \[(.*)\]$/, '[=$1]');
}

/** Whether the word after it is its value. */
export function takesValue({ flags }: CliOption): boolean {
  return flags.includes('<');
}

/** The name its value has among an invocation's options: `gracePeriod` of `--grace-period`. */
export function optionKey(option: Pick<CliOption, 'flags'>): string {
  const name = longName(option).replace(/^--(no-)?/, '');
  return name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** The invocation of a command that was given no words at all. */
export function bareInvocation({ options = [] }: CommandDefinition): Invocation {
  const fallbacks = options.filter(({ fallback }) => fallback !== undefined);
  return {
    operands: [],
    options: Object.fromEntries(fallbacks.map((option) => [optionKey(option), option.fallback])),
    parsed: undefined,
  };
}
