import { type CommandDefinition, flag } from './command.ts';
import { becomeFront } from './installation.ts';
import { podNames, uuidFileOption } from './pod-selection.ts';

export const definition: CommandDefinition = {
  name: 'stop',
  summary: 'stop running pods',
  description:
    'Asks each app to end, with SIGTERM or the stop signal of its image, and kills what is left after a grace period. With --force the pod is killed at once.',
  operands: 'UUID...',
  options: [flag('--force', 'kill instead of asking'), uuidFileOption()],
  run(context, { operands, options }) {
    const force = options['force'] === true ? ['--force'] : [];
    return becomeFront(context.dataDir, ['stop', ...force, ...podNames(operands, options)]);
  },
};
