import type { CommandDefinition } from './command.ts';
import { requireRoot } from './context.ts';
import { PREPARE_OPTIONS, parseAppWords, preparePodFrom } from './pod-request.ts';
import { print } from './print.ts';

export const definition: CommandDefinition = {
  name: 'prepare',
  summary: 'make a pod ready for gantry run-prepared, and print its UUID',
  description:
    'Does all that gantry run does before the pod starts, and prints the UUID to start it by. IMAGE, its options and its arguments are those of gantry run.',
  operands: 'IMAGE [options] [-- ARGS... [---]]...',
  options: PREPARE_OPTIONS,
  examples: [
    'gantry run-prepared "$(gantry prepare example.com/hello:1.0.0)"',
    'gantry plan "$(gantry prepare --pod-manifest=pod.json)"',
  ],
  parse: parseAppWords,
  async run(context, invocation) {
    requireRoot();
    using pod = await preparePodFrom(context, invocation, { runsNow: false });
    print(`${pod.uuid}\n`);
    return 0;
  },
};
