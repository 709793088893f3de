import { type CommandDefinition, valued } from './command.ts';
import { becomeFront } from './installation.ts';
import { podNames } from './pod-selection.ts';

export const definition: CommandDefinition = {
  name: 'enter',
  summary: 'run a command inside a running pod',
  description:
    'Joins the namespaces of an app and runs COMMAND there, as root of the pod, with the capabilities and the environment of the app. Without a command it is /bin/bash.',
  operands: 'UUID [COMMAND ARGS...]',
  options: [valued('--app <NAME>', 'the app to enter, where the pod has several')],
  optionsFirst: true,
  examples: ['gantry enter --app=redis 76dc6286 /bin/sh'],
  run(context, { operands, options }) {
    const words = podNames(operands, options);
    const app = typeof options['app'] === 'string' ? [`--app=${options['app']}`] : [];
    return becomeFront(context.dataDir, ['enter', ...app, ...words]);
  },
};
