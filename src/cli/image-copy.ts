import { GantryError } from '../error.ts';
import { formatDigest } from '../image/digest.ts';
import { parseReference } from '../image/reference.ts';
import { type CommandDefinition, flag } from './command.ts';
import { destinationPlace } from './image-destination.ts';
import { PLATFORM_CHOICE_OPTIONS, platformOf, withPlatform } from './platform-options.ts';
import { print } from './print.ts';
import { transferring } from './transferring.ts';

export const definition: CommandDefinition = {
  name: 'image copy',
  summary: 'copy OCI images, with their signatures, between registries, layouts and archives',
  description:
    'Copies an image byte for byte, with all that lies beside it: signatures, and whatever else refers to it. SOURCE is docker://HOST/REPO:TAG, oci:DIR:REF, oci-archive:FILE, docker-archive:FILE, or the id or name of a stored image; DESTINATION is any of those but the store, which gantry fetch fills. What an index has is copied whole, unless --os, --arch or --variant choose one image of it. Digests and sizes are checked on the way, signatures are not: gantry fetch checks those wherever the copy is used. A docker-archive has a form of its own: it takes one image, without signatures, and its digest there may be another. Prints the digest of what was copied.',
  operands: 'SOURCE DESTINATION',
  options: [
    flag('--all', 'every image of an index, as without --os, --arch and --variant'),
    ...PLATFORM_CHOICE_OPTIONS,
    flag('--no-signatures', 'leave behind what lies beside the image'),
    flag('--overwrite', 'replace an existing file, or an image of the same name in a layout'),
  ],
  examples: [
    'gantry image copy docker://docker.io/library/busybox:1.37 docker://registry.example.com/busybox:1.37',
    'gantry image copy registry.example.com/app:1.0 oci-archive:app.tar:1.0',
    'gantry image copy --arch=arm64 oci:layout:1.0 docker-archive:app.tar:example.com/app:1.0',
  ],
  async run(context, { operands, options }) {
    const [from, to] = operands;
    if (from === undefined || to === undefined || operands.length !== 2) {
      throw new GantryError('usage', 'name an image and where to copy it to');
    }
    const platform = platformOf(options);
    if (options['all'] === true && platform !== undefined) {
      throw new GantryError('usage', '--all and --os, --arch or --variant exclude each other');
    }
    const request = {
      from: withPlatform(parseReference(from), options),
      to: destinationPlace(to),
      platform,
      signatures: options['signatures'] !== false,
      overwrite: options['overwrite'] === true,
    };
    const { copyBetween } = await import('../fetch/image-copy.ts');
    const digest = await transferring(context, (transfer) => copyBetween(request, transfer));
    print(`${formatDigest(digest)}\n`);
    return 0;
  },
};
