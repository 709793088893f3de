import { resolve } from 'node:path';
import { type ImageId, imageIdOfManifest } from '../image/digest.ts';
import type { ImageRecord } from '../image/image-record.ts';
import type { ImageWishes } from '../image/oci-assembly.ts';
import { type Repository, repositoryName } from '../image/repository.ts';
import { type LayerWish, packLayer } from '../store/layer-packing.ts';
import { AssembledSource } from './assembled-source.ts';
import type { FetchContext } from './context.ts';
import { copyImage } from './copying.ts';
import type { OpenDestination } from './image-place.ts';
import { resolveManifest, takeIn } from './oci-intake.ts';

/** What to make an image of: a root file system, and what its configuration says. */
export interface ImportWish {
  readonly layer: LayerWish;
  readonly image: ImageWishes;
}

/** What the image is called in the store. */
export interface ImportName {
  readonly repository: Repository;
  readonly tag: string;
}

/**
 * Makes an image of a root file system and keeps it in the store, where nobody vouches for it. If the
 * very image is there under this name, and somebody does, it stays as it is.
 *
 * @throws GantryError `usage`, `invalid-manifest`, `invalid-archive`, `store`, `interrupted`
 */
export async function importIntoStore(
  wish: ImportWish,
  { repository, tag }: ImportName,
  context: FetchContext,
): Promise<ImageRecord> {
  const name = repositoryName(repository);
  const source = await assemble(wish);
  try {
    const { platform } = wish.image;
    const image = await resolveManifest(source.image, source, platform);
    const known = context.store.getImage(imageIdOfManifest(source.image.digest));
    if (known !== undefined && isVouchedFor(known, name, tag)) return known;
    const certificate = {
      name,
      version: tag,
      source: wish.layer.source === '-' ? {} : { path: resolve(wish.layer.source) },
      provenance: { kind: 'unverified', reason: `imported from ${source.shown}` } as const,
    };
    const supply = { source, platform, stop: new AbortController() };
    return await takeIn(image, async () => certificate, supply, context);
  } finally {
    await source.close();
  }
}

/**
 * Makes an image of a root file system and writes it to a destination, which stays the caller's to close.
 *
 * @throws GantryError as `importIntoStore`, and what the destination throws
 */
export async function importTo(
  wish: ImportWish,
  to: OpenDestination,
  { report, signal }: Pick<FetchContext, 'report' | 'signal'>,
): Promise<ImageId> {
  const source = await assemble(wish);
  try {
    const { destination, tag, mayReplace } = to;
    await copyImage(
      source.image,
      { tag, mayReplace, signatures: false },
      {
        source,
        destination,
        isLocal: true,
        report,
        signal,
        present: (name) => to.present(name),
        abandon: () => undefined,
      },
    );
    return imageIdOfManifest(source.image.digest);
  } finally {
    await source.close();
  }
}

async function assemble({ layer, image }: ImportWish): Promise<AssembledSource> {
  const packed = await packLayer(layer);
  try {
    const shown = layer.source === '-' ? 'standard input' : resolve(layer.source);
    return new AssembledSource(shown, packed, image);
  } catch (error) {
    packed.close();
    throw error;
  }
}

function isVouchedFor(record: ImageRecord, name: string, tag: string): boolean {
  return [record, ...(record.aliases ?? [])].some(
    (naming) =>
      naming.name === name &&
      naming.labels['version'] === tag &&
      naming.provenance.kind !== 'unverified',
  );
}
