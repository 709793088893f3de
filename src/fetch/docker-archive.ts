import { createHash } from 'node:crypto';
import { GantryError } from '../error.ts';
import type { Digest } from '../image/digest.ts';
import { type Field, parseDocument } from '../image/document.ts';
import { maxConfigBytes, parseOciConfig } from '../image/oci-config.ts';
import { type Descriptor, descriptorDocument, MEDIA_TYPES } from '../image/oci-manifest.ts';
import { quote } from '../image/quotation.ts';
import { compressionOf } from '../store/compression.ts';
import { digestOf } from '../store/digest-of.ts';
import type { ArchiveFiles } from './archive-files.ts';
import { type ContentFiles, missing } from './content-files.ts';
import { blobPath, REF_NAME, wholeFile } from './layout-source.ts';

const maxImages = 1000;

/** What in the archive, or made of it, lies at a path of the layout. */
type Content = { readonly bytes: Buffer } | { readonly member: string };

/**
 * What `docker save` and skopeo write, as an OCI layout: `manifest.json` says which members are an image's
 * configuration and layers, and from that a manifest is made, always the same one for the same archive.
 * Nothing is copied; the layers stay where they are.
 *
 * @throws GantryError `invalid-archive`, `invalid-manifest`, `unsupported`
 */
export async function dockerLayout(archive: ArchiveFiles): Promise<ContentFiles> {
  if (!archive.has('manifest.json')) {
    throw new GantryError(
      'unsupported',
      `${archive.shown}: it has no manifest.json: neither docker since 1.10 nor skopeo made it`,
    );
  }
  const layout = new DockerLayout(archive);
  const what = `${archive.shown}: manifest.json`;
  const bytes = await wholeFile(archive, 'manifest.json');
  const images = parseDocument(bytes, { what, code: 'invalid-archive' }).list();
  if (images.length > maxImages) throw refused(archive, `it holds more than ${maxImages} images`);
  for (const image of images) await layout.add(image);
  return layout.finish();
}

class DockerLayout implements ContentFiles {
  readonly shown: string;
  readonly #archive: ArchiveFiles;
  readonly #contents = new Map<string, Content>();
  readonly #entries: Record<string, unknown>[] = [];
  /** Layers are shared between images, and one is digested once. */
  readonly #layers = new Map<string, Descriptor>();

  constructor(archive: ArchiveFiles) {
    this.#archive = archive;
    this.shown = archive.shown;
  }

  async add(image: Field): Promise<void> {
    const config = await this.#addConfig(image.member('Config').filledString());
    const members = image.member('Layers').strings();
    const { diffIds } = parseOciConfig(config.bytes);
    if (members.length !== diffIds.length) {
      throw image
        .member('Layers')
        .refuse(`are ${members.length}, and its configuration has ${diffIds.length}`);
    }
    const layers: Descriptor[] = [];
    for (const [index, diffId] of diffIds.entries()) {
      layers.push(await this.#addLayer(members[index] ?? '', diffId));
    }
    const manifest = this.#addBytes(
      MEDIA_TYPES.manifest,
      Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: MEDIA_TYPES.manifest,
          config: descriptorDocument(config.descriptor),
          layers: layers.map(descriptorDocument),
        }),
      ),
    );
    const tags = image.member('RepoTags').strings();
    const entry = descriptorDocument(manifest);
    this.#entries.push(
      ...(tags.length === 0
        ? [entry]
        : tags.map((tag) => ({ ...entry, annotations: { [REF_NAME]: tag } }))),
    );
  }

  finish(): ContentFiles {
    const put = (path: string, document: unknown) =>
      this.#contents.set(path, { bytes: Buffer.from(JSON.stringify(document)) });
    put('oci-layout', { imageLayoutVersion: '1.0.0' });
    put('index.json', { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests: this.#entries });
    return this;
  }

  size(path: string): number | undefined {
    const content = this.#contents.get(path);
    if (content === undefined) return undefined;
    return 'bytes' in content ? content.bytes.length : this.#archive.size(content.member);
  }

  async *pieces(path: string): AsyncIterable<Buffer> {
    const content = this.#contents.get(path);
    if (content === undefined) throw missing(this.shown, path);
    if ('bytes' in content) yield content.bytes;
    else yield* this.#archive.pieces(content.member);
  }

  close(): void {
    this.#archive.close();
  }

  async #addConfig(member: string): Promise<{ descriptor: Descriptor; bytes: Buffer }> {
    if (!this.#archive.has(member)) throw missing(this.shown, quote(member));
    const bytes = await wholeFile(this.#archive, member, maxConfigBytes);
    return { descriptor: this.#addBytes(MEDIA_TYPES.config, bytes), bytes };
  }

  /** A layer that is not compressed is what its diff id names; it is held against that when it is read. */
  async #addLayer(member: string, diffId: Digest): Promise<Descriptor> {
    const size = this.#archive.size(member);
    if (size === undefined) throw missing(this.shown, quote(member));
    const known = this.#layers.get(member);
    if (known !== undefined) return known;
    const compression = compressionOf(await this.#start(member));
    if (compression === 'bzip2' || compression === 'xz') {
      throw refused(this.#archive, `its layer ${quote(member)} is compressed with ${compression}`);
    }
    const suffix = compression === 'none' ? '' : `+${compression}`;
    const digest = compression === 'none' ? diffId : await this.#digestOf(member);
    const layer = { mediaType: `${MEDIA_TYPES.layer}${suffix}`, digest, size };
    this.#contents.set(blobPath(digest), { member });
    this.#layers.set(member, layer);
    return layer;
  }

  async #start(member: string): Promise<Buffer> {
    for await (const piece of this.#archive.pieces(member)) return piece;
    return Buffer.alloc(0);
  }

  async #digestOf(member: string): Promise<Digest> {
    const hash = createHash('sha256');
    for await (const piece of this.#archive.pieces(member)) hash.update(piece);
    return { algorithm: 'sha256', hex: hash.digest('hex') };
  }

  #addBytes(mediaType: string, bytes: Buffer): Descriptor {
    const digest = digestOf(bytes);
    this.#contents.set(blobPath(digest), { bytes });
    return { mediaType, digest, size: bytes.length };
  }
}

function refused({ shown }: ArchiveFiles, why: string): GantryError {
  return new GantryError('invalid-archive', `${shown}: ${why}`);
}
