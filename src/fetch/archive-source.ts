import { GantryError } from '../error.ts';
import { compressionOf, decompress } from '../store/compression.ts';
import { PrivateFile } from '../store/private-file.ts';
import { ArchiveFiles } from './archive-files.ts';
import { type ArchiveBytes, type ContentFiles, piecesOf } from './content-files.ts';
import { dockerLayout } from './docker-archive.ts';
import { LayoutSource } from './layout-source.ts';

/** What an archive is called and how far it may go. */
export interface ArchiveOptions {
  readonly format: 'oci-archive' | 'docker-archive';
  readonly path: string;
  /** Bytes that a compressed one may unpack to. */
  readonly limit: number;
  /** Where that lies meanwhile; a temporary folder where absent. */
  readonly scratch?: string | undefined;
}

/** Bytes enough to tell a compression by. */
const MAGIC = 6;

/**
 * An archive as a source. It is read where it lies; one that is compressed as a whole is unpacked into a
 * private file first. docker's own archives since version 25 are layouts as well, and taken for that.
 *
 * @param archive is closed with the source, or when this throws
 * @throws GantryError `invalid-archive`, `invalid-manifest`, `not-found`, `unsupported`, `store`
 */
export async function openArchiveSource(
  archive: ArchiveBytes,
  options: ArchiveOptions,
): Promise<LayoutSource> {
  const shown = `${options.format}:${options.path}`;
  const plain = await decompressed(archive, shown, options);
  let files: ContentFiles;
  try {
    const members = ArchiveFiles.read(shown, plain);
    const isLayout = members.has('oci-layout') && members.has('index.json');
    files = options.format === 'oci-archive' || isLayout ? members : await dockerLayout(members);
  } catch (error) {
    plain.close();
    throw error;
  }
  return await LayoutSource.open(files);
}

async function decompressed(
  archive: ArchiveBytes,
  shown: string,
  { limit, scratch }: ArchiveOptions,
): Promise<ArchiveBytes> {
  if (compressionOf(archive.read(0, MAGIC)) === 'none') return archive;
  let file: PrivateFile | undefined;
  try {
    const made = PrivateFile.create(scratch);
    file = made;
    await decompress(piecesOf(archive, 0, archive.size), (piece) => {
      if (made.size + piece.length > limit) {
        throw new GantryError(
          'invalid-archive',
          `${shown}: it unpacks to more than ${limit} bytes`,
        );
      }
      made.append(piece);
    });
    return made;
  } catch (error) {
    file?.close();
    throw error;
  } finally {
    archive.close();
  }
}
