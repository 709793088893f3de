import { startApp } from '../pod/app-turns.ts';
import { appName, appOption } from './app-selection.ts';
import type { CommandDefinition } from './command.ts';
import { requireRoot } from './context.ts';
import { onlyPod, uuidFileOption } from './pod-selection.ts';

export const definition: CommandDefinition = {
  name: 'app start',
  summary: 'start an app of a running pod of gantry app sandbox',
  description:
    'Starts an app that gantry app add has added, for the first time or again, and returns when it runs.',
  operands: 'UUID',
  options: [appOption('start'), uuidFileOption()],
  async run(context, { operands, options }) {
    requireRoot();
    const app = appName(options, 'start');
    using pod = onlyPod(context, operands, options);
    await startApp(pod, app);
    return 0;
  },
};
