import { GantryError } from '../error.ts';
import { type CliOption, valued } from './command.ts';

/** The machine-readable output formats; without one, text for people. */
export type OutputFormat = 'json' | 'json-pretty';

/** `--format`, for every command that lists. */
export function formatOption(): CliOption {
  return valued('--format <FORMAT>', 'json or json-pretty instead of text');
}

/** The value of `--format`. Throws `usage` for another word. */
export function parseFormat(value: unknown): OutputFormat | undefined {
  if (value === undefined || value === '') return undefined;
  if (value === 'json' || value === 'json-pretty') return value;
  throw new GantryError(
    'usage',
    `--format: "${String(value)}" is unknown: use json or json-pretty`,
  );
}
