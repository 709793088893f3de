import { loadLimits } from '../config/limits.ts';
import { GantryError } from '../error.ts';
import { parseReference } from '../image/reference.ts';
import { Store } from '../store/store.ts';
import { type AppWords, parseApps, SIGNATURE_OPTION } from './apps.ts';
import { type CommandDefinition, flag } from './command.ts';
import { requireRoot } from './context.ts';
import { fetchWith, parsePullPolicy, pullPolicyOptions } from './fetching.ts';
import { PLATFORM_OPTIONS, withPlatform } from './platform-options.ts';
import { print } from './print.ts';

export const definition: CommandDefinition = {
  name: 'fetch',
  summary: 'fetch images, check their signatures and store them',
  description:
    'Finds each image, checks that a key trusted for its name has signed it, stores it, and prints its id. An IMAGE is a name (example.com/app:1.2,os=linux), a URL, a path, or of OCI images docker://HOST/REPO:TAG (also HOST:PORT/REPO:TAG, and @sha256:... in place of the tag), oci:DIR:REF, oci-archive:FILE or docker-archive:FILE. What is refused leaves nothing behind.',
  operands: 'IMAGE [--signature PATH]...',
  options: [
    flag('--full', 'print whole image ids'),
    ...pullPolicyOptions('update'),
    ...PLATFORM_OPTIONS,
    ...SIGNATURE_OPTION,
  ],
  examples: [
    'gantry fetch example.com/hello:1.0.0',
    'gantry fetch docker://registry.example.com/team/app:1.2',
    'gantry fetch oci-archive:app.tar',
  ],
  parse: (command, words) => parseApps(command, words, false),
  async run(context, { parsed, options }) {
    requireRoot();
    const images = parsed as AppWords[];
    if (images.length === 0) throw new GantryError('usage', 'must provide at least one image');
    const pullPolicy = parsePullPolicy(options, context);
    const store = Store.open(context.dataDir);
    for (const { image, options: own } of images) {
      const record = await fetchWith(context, {
        store,
        reference: withPlatform(parseReference(image), options),
        pullPolicy,
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
