import { removeApp } from '../pod/app-rm.ts';
import { appName, appOption } from './app-selection.ts';
import type { CommandDefinition } from './command.ts';
import { requireRoot } from './context.ts';
import { onlyPod, uuidFileOption } from './pod-selection.ts';

export const definition: CommandDefinition = {
  name: 'app rm',
  summary: 'remove an app from a pod of gantry app sandbox',
  description:
    'Stops the app if it runs, and removes it from the pod, with all it has written but in volumes that other apps have too.',
  operands: 'UUID',
  options: [appOption('rm'), uuidFileOption()],
  async run(context, { operands, options }) {
    requireRoot();
    const app = appName(options, 'rm');
    using pod = onlyPod(context, operands, options);
    await removeApp(pod, app);
    return 0;
  },
};
