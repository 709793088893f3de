import { stopApp } from '../pod/app-turns.ts';
import { appCommand } from './app-selection.ts';
import { print } from './print.ts';

export const definition = appCommand(
  'stop',
  {
    summary: 'stop an app of a running pod of gantry app sandbox',
    description:
      'Asks the app to end, with SIGTERM or the stop signal of its image, kills it after a grace period, with all that it left behind, and returns when it has ended. It can be started again.',
  },
  (pod, app) => {
    if (pod.state().startsWith('exited')) print(`pod "${pod.uuid}" is already stopped\n`);
    else stopApp(pod, app);
  },
);
