import { GantryError } from '../error.ts';
import { parseAppName } from '../image/identifier.ts';
import type { Pod } from '../pod/pod.ts';
import { type CliOption, type CommandDefinition, valued } from './command.ts';
import { requireRoot } from './context.ts';
import { onlyPod, uuidFileOption } from './pod-selection.ts';

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

/** A command `app VERB UUID --app=NAME`, which does one thing with one app. */
export function appCommand(
  verb: string,
  words: Pick<CommandDefinition, 'summary' | 'description'>,
  act: (pod: Pod, app: string) => void | Promise<void>,
): CommandDefinition {
  return {
    ...words,
    name: `app ${verb}`,
    operands: 'UUID',
    options: [appOption(verb), uuidFileOption()],
    async run(context, { operands, options }) {
      requireRoot();
      const app = appName(options, verb);
      using pod = onlyPod(context, operands, options);
      await act(pod, app);
      return 0;
    },
  };
}
