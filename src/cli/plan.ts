import { formatPlan } from '../pod/plan.ts';
import type { CommandDefinition } from './command.ts';
import { onlyPod, uuidFileOption } from './pod-selection.ts';
import { print } from './print.ts';

export const definition: CommandDefinition = {
  name: 'plan',
  summary: 'print exactly what will be done to start a pod',
  description:
    'Prints the launch plan of a pod, one step a line, its words quoted as a shell reads them. The launcher carries out these steps and nothing else; specs/launch-plan.md explains each.',
  operands: 'UUID',
  options: [uuidFileOption()],
  run(context, { operands, options }) {
    using pod = onlyPod(context, operands, options);
    print(formatPlan(pod));
    return 0;
  },
};
