import { readFileSync } from 'node:fs';
import { GantryError, reasonOf } from '../error.ts';
import { quote } from '../image/quotation.ts';
import { isVariableName } from '../pod/app-section.ts';
import { type CliOption, flag, repeated } from './command.ts';
import { parsePair } from './pairs.ts';

/** What every app of a pod finds in its environment. */
export const ENVIRONMENT_OPTIONS: readonly CliOption[] = [
  flag('--inherit-env', 'give the apps all variables of this environment that they do not set'),
  repeated(
    '--set-env <NAME=VALUE>',
    'an environment variable of every app that has no --environment of that name; may be repeated',
  ),
  repeated(
    '--set-env-file <FILE>',
    'variables of every app, one NAME=VALUE a line, which --set-env outranks; may be repeated',
  ),
];

/**
 * What `--set-env` and `--set-env-file` say, the former outranking the latter (rkt
 * Documentation/subcommands/run.md, "Influencing Environment Variables").
 * @throws GantryError `usage`, `not-found` for a file that cannot be read
 */
export function setEnvironment(options: Readonly<Record<string, unknown>>): Map<string, string> {
  const files = (options['setEnvFile'] ?? []) as string[];
  return new Map([
    ...files.flatMap(readEnvironmentFile),
    ...parseVariables(options['setEnv'], '--set-env'),
  ]);
}

/**
 * Variables by name, of an option that may be repeated.
 * @throws GantryError `usage`
 */
export function parseVariables(values: unknown, option: string): Map<string, string> {
  return new Map(((values ?? []) as string[]).map((text) => parseVariable(text, option)));
}

/** The environment of this process. */
export function ownEnvironment(): Map<string, string> {
  return new Map(Object.entries(process.env).map(([name, value]) => [name, value ?? '']));
}

/** Lines `NAME=VALUE`; empty ones and those beginning with `#` or `;` are passed over. */
function readEnvironmentFile(path: string): [string, string][] {
  const where = `--set-env-file ${path}`;
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new GantryError('not-found', `--set-env-file: cannot read ${path}: ${reasonOf(cause)}`, {
      cause,
    });
  }
  if (text.includes('\0')) throw new GantryError('usage', `${where}: it holds a NUL byte`);
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !/^[#;]/.test(line));
  return lines.map((line) => parseVariable(line, where));
}

function parseVariable(text: string, option: string): [string, string] {
  const [name, value] = parsePair(text, option);
  if (isVariableName(name)) return [name, value];
  throw new GantryError(
    'usage',
    `${option}: environment variable ${quote(name)}: a name has letters, digits, "_", "." and "-", no digit first`,
  );
}
