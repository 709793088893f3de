import { startPod } from '../pod/run.ts';
import { type CommandDefinition, flag, valued } from './command.ts';
import { requireRoot } from './context.ts';
import { parseNetwork } from './pod-request.ts';
import { onlyPod, uuidFileOption } from './pod-selection.ts';

export const definition: CommandDefinition = {
  name: 'run-prepared',
  summary: 'run a pod that gantry prepare has made',
  operands: 'UUID',
  options: [
    flag('--interactive', 'give the app this terminal; the pod may have one app only'),
    valued('--net [NETWORK]', 'none, or host (default: what prepare was told)'),
    valued('--hostname <NAME>', "the pod's host name (default: gantry-UUID)"),
    uuidFileOption(),
  ],
  run(context, { operands, options }) {
    requireRoot();
    const pod = onlyPod(context, operands, options);
    return startPod(pod, {
      debug: context.debug,
      ...(options['interactive'] === true ? { interactive: true } : {}),
      ...(options['net'] === undefined ? {} : { network: parseNetwork(options['net']) }),
      ...(typeof options['hostname'] === 'string' ? { hostname: options['hostname'] } : {}),
    });
  },
};
