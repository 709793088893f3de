import { podManifestDocument } from '../image/manifest-document.ts';
import { readManifest } from '../pod/manifest.ts';
import { type CommandDefinition, flag } from './command.ts';
import { formatJson } from './format.ts';
import { onlyPod, uuidFileOption } from './pod-selection.ts';
import { print } from './print.ts';

export const definition: CommandDefinition = {
  name: 'cat-manifest',
  summary: 'print the manifest of a pod',
  operands: 'UUID',
  options: [
    flag('--no-pretty-print', 'on one line'),
    flag('--pretty-print', 'indented (the default)'),
    uuidFileOption(),
  ],
  run(context, { operands, options }) {
    using pod = onlyPod(context, operands, options);
    const format = options['prettyPrint'] === false ? 'json' : 'json-pretty';
    print(`${formatJson(podManifestDocument(readManifest(pod)), format)}\n`);
    return 0;
  },
};
