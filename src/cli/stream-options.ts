import { GantryError } from '../error.ts';
import { quote } from '../image/quotation.ts';
import type { StreamName } from '../stage1/settings.ts';
import { type CliOption, longName, optionKey } from './command.ts';

interface StreamOption {
  readonly option: CliOption;
  readonly stream: StreamName;
}

function streamOption(stream: StreamName, name: string, values: string[], what: string) {
  const option = { flags: `--${name} <MODE>`, description: what, values };
  return { option, stream };
}

const TABLE: readonly StreamOption[] = [
  streamOption('input', 'stdin', ['null'], 'what the app reads: null, nothing'),
  streamOption(
    'output',
    'stdout',
    ['null', 'log'],
    'where its output goes: log (the default) or null',
  ),
  streamOption(
    'errors',
    'stderr',
    ['null', 'log'],
    'where its errors go: log (the default) or null',
  ),
];

/** Where an app's standard streams lead (rkt Documentation/subcommands/run.md, "Per-application options"). */
export const STREAM_OPTIONS: readonly CliOption[] = TABLE.map(({ option }) => option);

/**
 * The streams of an app that lead nowhere.
 * @throws GantryError `usage`, `unsupported` for what rkt has and Gantry has not
 */
export function parseStreams(options: Readonly<Record<string, unknown>>): StreamName[] {
  return TABLE.flatMap(({ option, stream }) => {
    const value = options[optionKey(option)];
    if (value === undefined) return [];
    requireMode(option, String(value));
    return value === 'null' ? [stream] : [];
  });
}

function requireMode(option: CliOption, mode: string): void {
  if (option.values?.includes(mode)) return;
  const name = longName(option);
  if (mode === 'tty' || mode === 'stream') {
    throw new GantryError(
      'unsupported',
      `${name}: ${mode} is not supported: give the app this terminal with --interactive`,
    );
  }
  throw new GantryError(
    'usage',
    `${name}: ${quote(mode)} is unknown: use ${option.values?.join(' or ')}`,
  );
}
