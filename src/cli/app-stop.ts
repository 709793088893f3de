import { stopApp } from '../pod/app-turns.ts';
import { appName, appOption } from './app-selection.ts';
import type { CommandDefinition } from './command.ts';
import { requireRoot } from './context.ts';
import { onlyPod, uuidFileOption } from './pod-selection.ts';
import { print } from './print.ts';

export const definition: CommandDefinition = {
  name: 'app stop',
  summary: 'stop an app of a running pod of gantry app sandbox',
  description:
    'Asks the app to end, with SIGTERM or the stop signal of its image, kills it after a grace period, with all that it left behind, and returns when it has ended. It can be started again.',
  operands: 'UUID',
  options: [appOption('stop'), uuidFileOption()],
  run(context, { operands, options }) {
    requireRoot();
    const app = appName(options, 'stop');
    using pod = onlyPod(context, operands, options);
    if (pod.state().startsWith('exited')) print(`pod "${pod.uuid}" is already stopped\n`);
    else stopApp(pod, app);
    return 0;
  },
};
