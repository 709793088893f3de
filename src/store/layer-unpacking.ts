import { mkdirSync } from 'node:fs';
import { decompress } from './compression.ts';
import type { ContentSink } from './content-digest.ts';
import { layerDialect, placeInLayer, refusedEntry } from './entry-name.ts';
import { type TarEntry, TarReader, type TarSink } from './tar-reader.ts';
import { TreeWriter } from './tree-writer.ts';
import type { UnpackMeter } from './unpack-meter.ts';

/** What came out of a layer beside the files. */
export interface UnpackedLayer {
  /** Bytes of the uncompressed archive. */
  readonly size: number;
  /** What was made in the tree, whiteouts and unmentioned directories included. */
  readonly entries: number;
  /**
   * Directories that the layer goes through but does not mention, sorted: in the image they have the
   * owner, mode and attributes of the layers below (see layer-composition.ts). '' is the root.
   */
  readonly unmentioned: readonly string[];
}

/**
 * A layer's compressor chose the window, and up to three are unpacked at once: 32 MB is what the best
 * level of the Go library needs that most tools use, and four times what a decoder must grant
 * (RFC 8878, 3.1.1.1.2).
 */
const zstdWindowLog = 25;

/**
 * Unpacks an OCI layer by itself, in one pass, into the new directory `directory`, which becomes an
 * overlayfs lower directory: whiteouts are device nodes, opaque directories bear their mark
 * (image-spec layer.md; Documentation/filesystems/overlayfs.rst). On failure the caller removes what
 * is there. Throws as `unpackArchive`.
 */
export async function unpackLayer(
  source: AsyncIterable<Uint8Array>,
  directory: string,
  meter: UnpackMeter,
  digest: ContentSink,
): Promise<UnpackedLayer> {
  mkdirSync(directory, { mode: 0o700 });
  const members = new LayerMembers(directory, meter);
  try {
    const reader = new TarReader(members);
    const sink: ContentSink = (piece, owned) => {
      meter.unpacked(piece.length);
      reader.push(piece);
      digest(piece, owned);
    };
    await decompress(meter.counted(source), sink, { zstdWindowLog });
    reader.endUnmarked();
    const unmentioned = members.finish();
    return { size: meter.size, entries: meter.entries, unmentioned };
  } finally {
    members.close();
  }
}

/** Sends each member where it belongs: into the tree, or among what it hides of lower layers. */
class LayerMembers implements TarSink {
  readonly #tree: TreeWriter;
  readonly #meter: UnpackMeter;
  readonly #hidden = new HiddenPaths();
  /** The member being read has no place in the tree. */
  #isAside = false;

  constructor(directory: string, meter: UnpackMeter) {
    this.#meter = meter;
    this.#tree = new TreeWriter(directory, layerDialect, (count) => meter.made(count));
  }

  entry(entry: TarEntry): void {
    this.#meter.made(1);
    const place = placeInLayer(entry.name);
    this.#isAside = place.kind !== 'entry';
    if (place.kind === 'entry') this.#tree.entry(entry, place.path);
    else if (place.kind === 'whiteout') this.#hidden.whiteouts.set(place.path, entry.name);
    else if (place.kind === 'opaque') this.#hidden.opaque.set(place.path, entry.name);
  }

  content(piece: Uint8Array): void {
    if (!this.#isAside) this.#tree.content(piece);
  }

  entryEnd(): void {
    if (!this.#isAside) this.#tree.entryEnd();
  }

  /** Applies what the layer hides, and answers the directories it does not mention. */
  finish(): string[] {
    const cleared = this.#hidden.apply(this.#tree);
    const unmentioned = this.#tree.unmentioned().filter((path) => !cleared.has(path));
    this.#tree.finish();
    return unmentioned.sort();
  }

  close(): void {
    this.#tree.close();
  }
}

/**
 * What a layer hides of those below. It is applied last, when all that the layer itself brings is
 * there: a whiteout never hides that, wherever in the archive it comes (image-spec layer.md,
 * "Whiteouts": they "MUST only apply to resources in lower/parent layers").
 */
class HiddenPaths {
  /** Path to the name of the entry that says so. */
  readonly whiteouts = new Map<string, string>();
  readonly opaque = new Map<string, string>();

  /** Writes it down in the tree; the answer knows the directories below which nothing shows through. */
  apply(tree: TreeWriter): Clearing {
    const cleared = new Clearing(this.opaque, this.whiteouts);
    for (const [path, name] of this.opaque) if (!cleared.covers(path)) tree.hideBelow(path, name);
    for (const [path, name] of this.whiteouts) {
      if (path === '') throw refusedEntry(name, 'a whiteout of the root');
      // Nothing shows through there anyway, and there may be no directory to put a node in.
      if (!cleared.covers(path)) tree.hide(path, name);
    }
    return cleared;
  }
}

/** Paths at or below which lower layers have nothing to say any more. */
class Clearing {
  readonly #opaque: ReadonlyMap<string, string>;
  readonly #whiteouts: ReadonlyMap<string, string>;

  constructor(opaque: ReadonlyMap<string, string>, whiteouts: ReadonlyMap<string, string>) {
    this.#opaque = opaque;
    this.#whiteouts = whiteouts;
  }

  /** Whether something above `path` hides whatever lower layers have there. */
  covers(path: string): boolean {
    for (let at = parentOf(path); at !== undefined; at = parentOf(at)) {
      if (this.#opaque.has(at) || this.#whiteouts.has(at)) return true;
    }
    return false;
  }

  /** Whether the directory itself is a new one, and no lower layer's. */
  has(path: string): boolean {
    return this.#whiteouts.has(path) || this.covers(path);
  }
}

/** The directory a path lies in, '' for the root; undefined for the root itself. */
function parentOf(path: string): string | undefined {
  if (path === '') return undefined;
  const slash = path.lastIndexOf('/');
  return slash === -1 ? '' : path.slice(0, slash);
}
