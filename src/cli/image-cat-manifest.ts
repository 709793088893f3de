import { imageManifestDocument } from '../image/manifest-document.ts';
import { Store } from '../store/store.ts';
import { type CommandDefinition, flag } from './command.ts';
import { formatJson } from './format.ts';
import { onlyOperand, requireImage } from './image-selection.ts';
import { print } from './print.ts';

export const definition: CommandDefinition = {
  name: 'image cat-manifest',
  summary: 'print the manifest of a stored image',
  operands: 'IMAGE',
  options: [
    flag('--no-pretty-print', 'on one line'),
    flag('--pretty-print', 'indented (the default)'),
  ],
  run(context, { operands, options }) {
    const store = Store.open(context.dataDir);
    const { manifest } = requireImage(store, onlyOperand(operands, 'image'));
    const format = options['prettyPrint'] === false ? 'json' : 'json-pretty';
    print(`${formatJson(imageManifestDocument(manifest), format)}\n`);
    return 0;
  },
};
