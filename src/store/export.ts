import { closeSync, constants, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { errnoOf, GantryError } from '../error.ts';
import type { ImageRecord } from '../image/image-record.ts';
import { RENAME, system } from '../system/binding.ts';
import { newUuid } from '../system/uuid.ts';
import { storeFailure } from './failure.ts';
import type { StoreLayout } from './layout.ts';
import { ociArchive } from './oci-archive.ts';
import type { ExportOptions } from './output.ts';
import { readStored } from './stored-blob.ts';

const AT_FDCWD = -100;

/**
 * Writes a stored image to a file: as an uncompressed ACI, as rkt does, or as an archive of an OCI
 * layout; see `Store.exportImage`.
 */
export async function exportImage(
  layout: StoreLayout,
  record: ImageRecord,
  path: string,
  options: ExportOptions,
): Promise<void> {
  const what = record.oci === undefined ? 'ACI' : 'OCI archive';
  await writeOutputFile(path, { ...options, what }, async (write) => {
    if (record.oci === undefined) return readStored(layout, record, write);
    for await (const piece of ociArchive(layout, record, record.oci)) write(piece);
  });
}

/**
 * Writes a file beside its place and moves it there when all of it is on disk.
 * Throws `usage` when the file exists and is not to be replaced.
 */
export async function writeOutputFile(
  path: string,
  { overwrite, what = 'ACI' }: ExportOptions & { readonly what?: string },
  produce: (write: (piece: Uint8Array) => void) => Promise<void>,
): Promise<void> {
  const directory = dirname(resolve(path));
  const beside = join(directory, `.gantry-${newUuid()}`);
  try {
    const { O_WRONLY, O_CREAT, O_EXCL } = constants;
    const fd = openSync(beside, O_WRONLY | O_CREAT | O_EXCL, 0o644);
    try {
      await produce((piece) => {
        for (let at = 0; at < piece.length; ) at += writeSync(fd, piece, at);
      });
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    const flags = overwrite ? 0 : RENAME.noReplace;
    system.renameAt(AT_FDCWD, beside, AT_FDCWD, resolve(path), flags);
  } catch (error) {
    rmSync(beside, { force: true });
    if (errnoOf(error) === 'EEXIST') {
      throw new GantryError('usage', `output ${what} file exists (try --overwrite): ${path}`);
    }
    throw storeFailure(directory, 'write the image', error);
  }
}
