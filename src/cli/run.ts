import { startPod } from '../pod/run.ts';
import type { CommandDefinition } from './command.ts';
import { requireRoot } from './context.ts';
import { PREPARE_OPTIONS, parseAppWords, preparePodFrom, RUN_OPTIONS } from './pod-request.ts';

export const definition: CommandDefinition = {
  name: 'run',
  summary: 'run a pod from one or several images',
  description:
    'Finds each image in the store, or fetches it and checks its signature, prepares a pod and runs it. An IMAGE is what gantry fetch takes, or the id of a stored one. Of an OCI image the arguments replace its cmd, and --exec its entrypoint. Options after an image are of that image; -- begins its arguments and --- ends them. The exit code is that of the app; of several, the first that fails.',
  operands: 'IMAGE [options] [-- ARGS... [---]]...',
  options: [...RUN_OPTIONS, ...PREPARE_OPTIONS],
  examples: [
    'gantry run example.com/hello:1.0.0 -- --greet world',
    'gantry run docker://registry.example.com/team/app:1.2 --memory=512M --cpu=1.5 --pids=100',
    'gantry run --volume=data,kind=host,source=/srv/data example.com/web --mount=volume=data,target=/data',
    'gantry run example.com/worker --name=a -- -v --- example.com/worker --name=b',
    'gantry run --private-users example.com/app --caps-remove=CAP_NET_RAW --no-new-privileges',
    'gantry run example.com/app --seccomp=mode=remove,errno=EPERM,@rkt/default-blacklist,ptrace',
    'gantry run --net=host --pod-manifest=pod.json',
    'gantry run --interactive example.com/tools --exec=/bin/sh',
  ],
  parse: parseAppWords,
  async run(context, invocation) {
    requireRoot();
    const pod = await preparePodFrom(context, invocation, { runsNow: true });
    return startPod(pod, { debug: context.debug });
  },
};
