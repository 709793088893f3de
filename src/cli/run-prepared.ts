import { startPod } from '../pod/run.ts';
import { type CommandDefinition, flag, valued } from './command.ts';
import { requireRoot } from './context.ts';
import { hostnameWish, IPC_OPTION, parseIpc, parseNetwork } from './pod-request.ts';
import { onlyPod, uuidFileOption } from './pod-selection.ts';

export const definition: CommandDefinition = {
  name: 'run-prepared',
  summary: 'run a pod that gantry prepare has made',
  description:
    'Runs a pod that gantry prepare has made, once, without Node. Network, host name, terminal and IPC may be chosen anew. The exit code is that of the app; of several, the first that fails.',
  operands: 'UUID',
  options: [
    flag('--interactive', 'give the app this terminal; the pod may have one app only'),
    valued('--net [NETWORK]', 'none, or host (default: what prepare was told)'),
    valued('--hostname <NAME>', "the pod's host name (default: gantry-UUID)"),
    IPC_OPTION,
    uuidFileOption(),
  ],
  examples: ['gantry run-prepared --net=host 5bc080ca'],
  run(context, { operands, options }) {
    requireRoot();
    const hostname = hostnameWish(options);
    const ipc = parseIpc(options);
    const pod = onlyPod(context, operands, options);
    return startPod(pod, {
      debug: context.debug,
      ...(options['interactive'] === true ? { interactive: true } : {}),
      ...(options['net'] === undefined ? {} : { network: parseNetwork(options['net']) }),
      ...(hostname === undefined ? {} : { hostname }),
      ...(ipc === undefined ? {} : { ipc }),
    });
  },
};
