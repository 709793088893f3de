import { GantryError } from '../error.ts';
import { parseAppName } from '../image/identifier.ts';
import { type CliOption, valued } from './command.ts';

/** `--app`, of the commands that do something with one app of a pod. */
export function appOption(doing: string): CliOption {
  return valued('--app <NAME>', `the app to ${doing}`);
}

/** The app that `--app` names. Throws `usage`, `invalid-reference`. */
export function appName(options: Record<string, unknown>, doing: string): string {
  const { app } = options;
  if (typeof app === 'string' && app !== '') return parseAppName(app, '--app');
  throw new GantryError('usage', `must provide the app to ${doing}: name it with --app`);
}
