import { GantryError } from '../error.ts';
import type { FetchContext } from '../fetch/context.ts';
import type { ImportName, ImportWish } from '../fetch/image-import.ts';
import type { ImageId } from '../image/digest.ts';
import type { ImageWishes } from '../image/oci-assembly.ts';
import { quote } from '../image/quotation.ts';
import { parseRegistryReference } from '../image/reference.ts';
import { isHostLike, repositoryName } from '../image/repository.ts';
import type { PackingCompression } from '../store/packing-compression.ts';
import { type CommandDefinition, flag, valued } from './command.ts';
import { type Context, requireRoot } from './context.ts';
import { destinationPlace } from './image-destination.ts';
import { IMAGE_OPTIONS, parseWishes } from './image-wishes.ts';
import { PLATFORM_OPTIONS } from './platform-options.ts';
import { print } from './print.ts';
import { transferring } from './transferring.ts';

export const definition: CommandDefinition = {
  name: 'image import',
  summary: 'make an OCI image of a root file system',
  description:
    'Makes an image of one layer of a directory or a tar archive (- is standard input), and prints its id. The same input always gives the same image. Without DESTINATION it goes into the store under --name, where nobody vouches for it: it runs only with --insecure-options=image. To have it signed, give a DESTINATION (docker://HOST/REPO:TAG, oci:DIR:REF, oci-archive:FILE, docker-archive:FILE), sign it there with gantry image sign, and fetch it.',
  operands: 'SOURCE [DESTINATION]',
  options: [
    valued('--name <NAME>', 'what the image is called in the store: HOST/REPO[:TAG]'),
    ...IMAGE_OPTIONS,
    ...PLATFORM_OPTIONS,
    valued(
      '--compression <KIND>',
      'gzip, zstd or none; without it an archive that is compressed so stays as it is, and others become gzip',
    ),
    flag('--overwrite', 'replace an existing file, or an image of the same name in a layout'),
  ],
  examples: [
    'gantry image import --name=registry.example.com/app:1.0 --entrypoint=/bin/app rootfs',
    'gantry image import --cmd=\'["/bin/sh"]\' rootfs.tar.gz docker://registry.example.com/app:1.0',
    'tar -c -C rootfs . | gantry image import - oci-archive:app.tar:app:1.0',
  ],
  async run(context, { operands, options }) {
    const [source, destination] = operands;
    if (source === undefined || operands.length > 2) {
      throw new GantryError(
        'usage',
        'name a directory or an archive, and perhaps where to write the image',
      );
    }
    const name = options['name'] as string | undefined;
    const wishes = {
      source,
      compression: parseCompression(options['compression']),
      image: parseWishes(options),
    };
    const id =
      destination === undefined
        ? await importNamed(context, wishes, parseName(name))
        : await importElsewhere(context, wishes, destination, { name, ...options });
    print(`${id}\n`);
    return 0;
  },
};

interface Wishes {
  readonly source: string;
  readonly compression: PackingCompression | undefined;
  readonly image: ImageWishes;
}

async function importNamed(context: Context, wishes: Wishes, name: ImportName): Promise<ImageId> {
  requireRoot();
  const { importIntoStore } = await import('../fetch/image-import.ts');
  const { id, provenance } = await transferring(context, (transfer) =>
    importIntoStore(wishOf(wishes, transfer), name, transfer),
  );
  context.report.info(
    provenance.kind === 'unverified'
      ? `image: nobody vouches for ${repositoryName(name.repository)}:${name.tag} yet: run it with --insecure-options=image, or sign and fetch it`
      : `image: ${repositoryName(name.repository)}:${name.tag} is stored already, and vouched for`,
  );
  return id;
}

async function importElsewhere(
  context: Context,
  wishes: Wishes,
  destination: string,
  { name, overwrite }: Record<string, unknown>,
): Promise<ImageId> {
  if (name !== undefined) {
    throw new GantryError(
      'usage',
      '--name is for the store: the destination says what the image is called there',
    );
  }
  const place = destinationPlace(destination);
  const [{ importTo }, { openDestination }] = await Promise.all([
    import('../fetch/image-import.ts'),
    import('../fetch/image-place.ts'),
  ]);
  return await transferring(context, async (transfer) => {
    const opened = await openDestination(place, { overwrite: overwrite === true }, transfer);
    try {
      return await importTo(wishOf(wishes, transfer), opened, transfer);
    } finally {
      await opened.close();
    }
  });
}

function wishOf({ source, compression, image }: Wishes, { limits }: FetchContext): ImportWish {
  return { layer: { source, compression, limits }, image };
}

/** Another name than a registry's could never be fetched, once it is signed. */
function parseName(text: string | undefined): ImportName {
  if (text === undefined) {
    throw new GantryError('usage', 'give the image a --name in the store, or a destination');
  }
  const [host = ''] = text.split('/', 1);
  if (!text.includes('/') || !isHostLike(host)) {
    throw new GantryError(
      'usage',
      `--name: ${quote(text)} does not begin with a registry's host: HOST/REPO[:TAG]`,
    );
  }
  const { repository, tag, digest } = parseRegistryReference(text);
  if (digest !== undefined || tag === undefined) {
    throw new GantryError(
      'usage',
      `--name: ${quote(text)} names a digest, which comes of the content`,
    );
  }
  return { repository, tag };
}

function parseCompression(word: unknown): PackingCompression | undefined {
  if (word === undefined || word === 'gzip' || word === 'zstd' || word === 'none') return word;
  throw new GantryError('usage', `--compression: "${word}" is unknown: use gzip, zstd or none`);
}
