import { loadLimits } from '../config/limits.ts';
import { GantryError } from '../error.ts';
import { parseReference } from '../image/reference.ts';
import { Store } from '../store/store.ts';
import { type AppWords, parseApps, SIGNATURE_OPTION } from './apps.ts';
import { type CommandDefinition, flag } from './command.ts';
import { requireRoot } from './context.ts';
import { fetchWith, parsePullPolicy, pullPolicyOption } from './fetching.ts';
import { print } from './print.ts';

export const definition: CommandDefinition = {
  name: 'fetch',
  summary: 'fetch images, check their signatures and store them',
  operands: 'IMAGE [--signature PATH]...',
  options: [
    flag('--full', 'print whole image ids'),
    pullPolicyOption('update'),
    ...SIGNATURE_OPTION,
  ],
  examples: ['gantry fetch example.com/hello:1.0.0'],
  parse: (command, words) => parseApps(command, words, false),
  async run(context, { parsed, options }) {
    requireRoot();
    const images = parsed as AppWords[];
    if (images.length === 0) throw new GantryError('usage', 'must provide at least one image');
    const store = Store.open(context.dataDir);
    for (const { image, options: own } of images) {
      const record = await fetchWith(context, {
        store,
        reference: parseReference(image),
        pullPolicy: parsePullPolicy(options['pullPolicy']),
        limits: loadLimits(context.directories),
        ...(typeof own['signature'] === 'string' ? { signature: own['signature'] } : {}),
      });
      const shown =
        options['full'] === true ? record.id : record.id.slice(0, 'sha512-'.length + 32);
      print(`${shown}\n`);
    }
    return 0;
  },
};
