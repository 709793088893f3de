import { mkdirSync } from 'node:fs';
import { GantryError } from '../error.ts';
import { ratioFloorBytes, type UnpackLimits } from '../image/unpack-limits.ts';
import { decompress } from './compression.ts';
import type { ContentSink } from './content-digest.ts';
import { placeOf, refusedEntry } from './entry-name.ts';
import { type TarEntry, TarReader, type TarSink } from './tar-reader.ts';
import { TreeWriter } from './tree-writer.ts';

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
  limits: UnpackLimits,
  digest: ContentSink,
): Promise<UnpackedArchive> {
  mkdirSync(directory, { mode: 0o700 });
  const members = new ImageMembers(directory, limits);
  try {
    const reader = new TarReader(members);
    const meter = new Meter(limits);
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

/** Counts what goes in and comes out, and stops at a decompression bomb. */
class Meter {
  size = 0;
  readonly #limits: UnpackLimits;
  #packed = 0;

  constructor(limits: UnpackLimits) {
    this.#limits = limits;
  }

  async *counted(source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    for await (const piece of source) {
      this.#packed += piece.length;
      // Empty streams one after the other unpack to nothing, and yet fill the disk as they come.
      const { maxUnpackedBytes } = this.#limits;
      if (this.#packed > maxUnpackedBytes) {
        throw bomb(`it is larger than ${maxUnpackedBytes} bytes`, 'maxUnpackedBytes');
      }
      yield piece;
    }
  }

  unpacked(bytes: number): void {
    this.size += bytes;
    const { maxUnpackedBytes, maxCompressionRatio } = this.#limits;
    if (this.size > maxUnpackedBytes) {
      throw bomb(`it unpacks to more than ${maxUnpackedBytes} bytes`, 'maxUnpackedBytes');
    }
    if (this.size > ratioFloorBytes && this.size > this.#packed * maxCompressionRatio) {
      throw bomb(
        `it unpacks to more than ${maxCompressionRatio} times its size`,
        'maxCompressionRatio',
      );
    }
  }
}

/** Sends each member where it belongs: the manifest into memory, the rest into the tree. */
class ImageMembers implements TarSink {
  readonly #limits: UnpackLimits;
  readonly #tree: TreeWriter;
  #entries = 0;
  #manifest: Buffer[] | undefined;
  #inManifest = false;
  #rootSeen = false;

  constructor(directory: string, limits: UnpackLimits) {
    this.#limits = limits;
    this.#tree = new TreeWriter(directory);
  }

  entry(entry: TarEntry): void {
    this.#entries += 1;
    // One name of 4 kB may ask for two thousand directories.
    if (this.#entries + this.#tree.unmentioned > this.#limits.maxEntries) {
      throw bomb(`it has more than ${this.#limits.maxEntries} entries`, 'maxEntries');
    }
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

function bomb(what: string, limit: string): GantryError {
  return new GantryError(
    'invalid-archive',
    `image archive: ${what}; if it is trusted, raise ${limit} in a "limits" configuration file`,
  );
}
