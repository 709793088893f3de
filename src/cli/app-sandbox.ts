import { startPod } from '../pod/run.ts';
import type { CommandDefinition } from './command.ts';
import { requireRoot } from './context.ts';
import { preparePodFrom, SANDBOX_OPTIONS } from './pod-request.ts';

export const definition: CommandDefinition = {
  name: 'app sandbox',
  summary: 'run a pod that apps are added to while it runs',
  description:
    'Runs a pod without apps, which stays until it is stopped, whatever becomes of the apps that gantry app add and gantry app start bring to it. Their output is its own, and its exit code is 0.',
  options: SANDBOX_OPTIONS,
  examples: ['gantry app sandbox --net=host --uuid-file-save=/run/web.uuid &'],
  async run(context, invocation) {
    requireRoot();
    const pod = await preparePodFrom(context, invocation, { runsNow: true, mutable: true });
    return startPod(pod, { debug: context.debug });
  },
};
