import { GantryError } from '../error.ts';
import { type Digest, formatDigest, sameDigest } from '../image/digest.ts';
import { parseDocument } from '../image/document.ts';
import {
  type Descriptor,
  MEDIA_TYPES,
  maxManifestBytes,
  type OciManifest,
  parseOciManifest,
} from '../image/oci-manifest.ts';
import { quote } from '../image/quotation.ts';
import { deliver, requireDocument } from './blob-delivery.ts';
import { type ContentFiles, missing } from './content-files.ts';
import type { DownloadTarget } from './download.ts';
import { findImage, type LayoutImage } from './layout-image-choice.ts';
import type { FoundManifest, OciSource } from './oci-source.ts';

/** image-spec annotations.md: what a manifest is called in a layout. */
export const REF_NAME = 'org.opencontainers.image.ref.name';
/** What docker and containerd call an image, whole, where the other one is a tag alone. */
const CONTAINERD_NAME = 'io.containerd.image.name';
/** How `cosign save` tells an image from what belongs to it. */
const COSIGN_KIND = 'kind';

const maxEntries = 1000;

/** An OCI layout (image-spec image-layout.md), in a directory or an archive. */
export class LayoutSource implements OciSource {
  readonly shown: string;
  readonly #files: ContentFiles;
  readonly #entries: readonly Descriptor[];

  private constructor(files: ContentFiles, entries: readonly Descriptor[]) {
    this.shown = files.shown;
    this.#files = files;
    this.#entries = entries;
  }

  /**
   * Reads a layout's index; the files are closed with it, or when this throws.
   * @throws GantryError `not-found` for what is no layout, `invalid-archive`, `invalid-manifest`
   */
  static async open(files: ContentFiles): Promise<LayoutSource> {
    try {
      await requireLayout(files);
      const index = parseOciManifest(await wholeFile(files, 'index.json'), MEDIA_TYPES.index);
      if (index.kind !== 'index') throw refused(files, 'its index.json is not an index');
      if (index.manifests.length > maxEntries) {
        throw refused(files, `its index.json names more than ${maxEntries} manifests`);
      }
      return new LayoutSource(files, index.manifests);
    } catch (error) {
      files.close();
      throw error;
    }
  }

  /** The images in it, in the order of its index; signatures and other artifacts are none. */
  async images(): Promise<LayoutImage[]> {
    const images: LayoutImage[] = [];
    for (const descriptor of this.#entries) {
      if (!(await this.#isImage(descriptor))) continue;
      const { annotations = {} } = descriptor;
      const [ref, name] = [annotations[REF_NAME], annotations[CONTAINERD_NAME]];
      images.push({ descriptor, ...(ref ? { ref } : {}), ...(name ? { name } : {}) });
    }
    return images;
  }

  /**
   * The image a reference means: a tag, a whole reference, `@` and the place in the index from 0, or the
   * only one there is.
   *
   * @throws GantryError `not-found`, `ambiguous`
   */
  async image(ref: string | undefined): Promise<LayoutImage> {
    return findImage(await this.images(), ref, this.shown);
  }

  async manifest(reference: string | Digest): Promise<FoundManifest | undefined> {
    if (typeof reference !== 'string') return await this.#byDigest(reference);
    const tagged = this.#entries.filter(
      ({ annotations = {} }) => annotations[REF_NAME] === reference,
    );
    const [entry = this.#cosignEntry(reference)] = tagged;
    return entry === undefined ? undefined : await this.#byDigest(entry.digest);
  }

  async blob(descriptor: Descriptor, target: DownloadTarget): Promise<void> {
    await deliver(this.#blobPieces(descriptor), descriptor, target);
  }

  async document(descriptor: Descriptor, limit: number): Promise<Uint8Array> {
    return await requireDocument(this.#blobPieces(descriptor), descriptor, limit);
  }

  /** Those its index names with this subject, and the list under the tag that stands for them. */
  async referrers(digest: Digest): Promise<Descriptor[]> {
    const found: Descriptor[] = [];
    for (const entry of this.#entries) {
      const manifest = await this.#parsed(entry);
      if (manifest?.subject === undefined || !sameDigest(manifest.subject.digest, digest)) continue;
      const artifactType = manifest.artifactType ?? manifest.config.mediaType;
      found.push({ ...entry, artifactType });
    }
    const list = await this.manifest(`${digest.algorithm}-${digest.hex}`);
    const tagged = list === undefined ? undefined : parseOciManifest(list.bytes, list.mediaType);
    if (tagged?.kind !== 'index') return found;
    const known = new Set(found.map((entry) => formatDigest(entry.digest)));
    return [
      ...found,
      ...tagged.manifests.filter((entry) => !known.has(formatDigest(entry.digest))),
    ];
  }

  async close(): Promise<void> {
    this.#files.close();
  }

  async #byDigest(digest: Digest): Promise<FoundManifest | undefined> {
    const path = blobPath(digest);
    const size = this.#files.size(path);
    if (size === undefined) return undefined;
    const content = this.#files.pieces(path);
    const bytes = await requireDocument(content, { digest, size }, maxManifestBytes);
    const entry = this.#entries.find((one) => sameDigest(one.digest, digest));
    if (entry !== undefined && entry.size !== size) {
      throw refused(this.#files, `${path} has ${size} bytes, not ${entry.size}`);
    }
    const { mediaType } = entry ?? parseOciManifest(bytes, undefined);
    return { digest, mediaType, bytes };
  }

  /** `cosign save` says what a manifest is, but not of which image: so it does for a single one. */
  #cosignEntry(reference: string): Descriptor | undefined {
    if (!/^sha256-[0-9a-f]{64}\.sig$/.test(reference)) return undefined;
    const isSignature = ({ annotations = {} }: Descriptor) =>
      annotations[COSIGN_KIND] === 'dev.cosignproject.cosign/sigs';
    return this.#entries.find(isSignature);
  }

  async #isImage(descriptor: Descriptor): Promise<boolean> {
    const { artifactType, annotations = {} } = descriptor;
    const ref = annotations[REF_NAME] ?? '';
    if (artifactType !== undefined) return false;
    if (/^sha256-[0-9a-f]{64}(\.(sig|att|sbom))?$/.test(ref)) return false;
    if (/^dev\.cosignproject\.cosign\/(sigs|atts|sboms)$/.test(annotations[COSIGN_KIND] ?? '')) {
      return false;
    }
    return (await this.#parsed(descriptor))?.subject === undefined;
  }

  /** A manifest its index names; undefined for an index, and for what is not there or not to be read. */
  async #parsed({ digest }: Descriptor): Promise<OciManifest | undefined> {
    try {
      const found = await this.#byDigest(digest);
      const document = found && parseOciManifest(found.bytes, found.mediaType);
      return document?.kind === 'manifest' ? document : undefined;
    } catch (error) {
      if (error instanceof GantryError && error.code === 'invalid-manifest') return undefined;
      throw error;
    }
  }

  #blobPieces({ digest }: Descriptor): AsyncIterable<Buffer> {
    const path = blobPath(digest);
    if (this.#files.size(path) === undefined) throw missing(this.shown, path);
    return this.#files.pieces(path);
  }
}

/** Where a layout keeps a blob. */
export function blobPath({ algorithm, hex }: Digest): string {
  return `blobs/${algorithm}/${hex}`;
}

/** A small file whole, such as `index.json`. */
export async function wholeFile(
  files: ContentFiles,
  path: string,
  limit: number = maxManifestBytes,
): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of files.pieces(path)) {
    size += piece.length;
    if (size > limit) throw refused(files, `its ${path} is larger than ${limit} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

async function requireLayout(files: ContentFiles): Promise<void> {
  if (files.size('oci-layout') === undefined) {
    throw new GantryError(
      'not-found',
      `${files.shown}: it is not an OCI layout: it has no oci-layout`,
    );
  }
  const bytes = await wholeFile(files, 'oci-layout');
  const root = parseDocument(bytes, {
    what: `${files.shown}: oci-layout`,
    code: 'invalid-archive',
  });
  const version = root.member('imageLayoutVersion').string();
  if (!version.startsWith('1.')) {
    throw refused(files, `its layout is of version ${quote(version)}, and only 1 is known`);
  }
}

function refused(files: ContentFiles, why: string): GantryError {
  return new GantryError('invalid-archive', `${files.shown}: ${why}`);
}
