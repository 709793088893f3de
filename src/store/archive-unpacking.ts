import { mkdirSync } from 'node:fs';
import { GantryError } from '../error.ts';
import { decompress } from './compression.ts';
import type { ContentSink } from './content-digest.ts';
import { imageDialect, placeOf, refusedEntry } from './entry-name.ts';
import { type TarEntry, TarReader, type TarSink } from './tar-reader.ts';
import { TreeWriter } from './tree-writer.ts';
import type { UnpackMeter } from './unpack-meter.ts';

/** What came out of an image archive beside the files. */
export interface UnpackedArchive {
  /** Bytes of the uncompressed archive. */
  readonly size: number;
  /** The member `manifest`, as it is. */
  readonly manifest: Uint8Array;
  /** Device nodes in the root file system. */
  readonly deviceNodes: readonly string[];
}

/** A manifest larger than this is an attack, not a description. */
const maxManifest = 4 * 1024 * 1024;

/**
 * Unpacks an App Container Image in one pass: decompress and untar, then hand the content on to be
 * digested (appc spec/aci.md, Image Archives). `directory` is made, and becomes the root file system.
 * On failure the caller removes what is there.
 * Throws `invalid-archive` for what is damaged, hostile or beyond the limits; errno errors of the
 * disk as they are.
 */
export async function unpackArchive(
  source: AsyncIterable<Uint8Array>,
  directory: string,
  meter: UnpackMeter,
  digest: ContentSink,
): Promise<UnpackedArchive> {
  mkdirSync(directory, { mode: 0o700 });
  const members = new ImageMembers(directory, meter);
  try {
    const reader = new TarReader(members);
    await decompress(meter.counted(source), (piece, owned) => {
      meter.unpacked(piece.length);
      reader.push(piece);
      digest(piece, owned);
    });
    reader.end();
    return { ...members.finish(), size: meter.size };
  } finally {
    members.close();
  }
}

/** Sends each member where it belongs: the manifest into memory, the rest into the tree. */
class ImageMembers implements TarSink {
  readonly #meter: UnpackMeter;
  readonly #tree: TreeWriter;
  #manifest: Buffer[] | undefined;
  #inManifest = false;
  #rootSeen = false;

  constructor(directory: string, meter: UnpackMeter) {
    this.#meter = meter;
    this.#tree = new TreeWriter(directory, imageDialect, (count) => meter.made(count));
  }

  entry(entry: TarEntry): void {
    this.#meter.made(1);
    const place = placeOf(entry.name);
    this.#inManifest = place.kind === 'manifest';
    if (place.kind === 'rootfs') {
      this.#rootSeen = true;
      this.#tree.entry(entry, place.path);
    } else if (place.kind === 'manifest') {
      this.#startManifest(entry);
    } else if (entry.type !== 'directory') {
      throw refusedEntry(entry.name, 'it has no name');
    }
  }

  content(piece: Uint8Array): void {
    if (this.#inManifest) this.#manifest?.push(Buffer.from(piece));
    else this.#tree.content(piece);
  }

  entryEnd(): void {
    this.#tree.entryEnd();
  }

  finish(): Pick<UnpackedArchive, 'manifest' | 'deviceNodes'> {
    if (this.#manifest === undefined) {
      throw new GantryError(
        'invalid-archive',
        'image archive: it has no manifest; an App Container Image holds "manifest" and "rootfs"',
      );
    }
    if (!this.#rootSeen) {
      throw new GantryError(
        'invalid-archive',
        'image archive: it has no rootfs; an App Container Image holds "manifest" and "rootfs"',
      );
    }
    this.#tree.finish();
    return { manifest: Buffer.concat(this.#manifest), deviceNodes: this.#tree.deviceNodes };
  }

  close(): void {
    this.#tree.close();
  }

  #startManifest(entry: TarEntry): void {
    if (entry.type !== 'file') throw refusedEntry(entry.name, `the manifest is a ${entry.type}`);
    if (this.#manifest !== undefined) throw refusedEntry(entry.name, 'a second manifest');
    if (entry.size > maxManifest) throw refusedEntry(entry.name, 'the manifest is too large');
    this.#manifest = [];
  }
}
