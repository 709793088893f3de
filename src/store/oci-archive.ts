import type { Digest } from '../image/digest.ts';
import { formatDigest } from '../image/digest.ts';
import { displayName, type ImageRecord, type OciContent } from '../image/image-record.ts';
import {
  type Descriptor,
  descriptorDocument,
  MEDIA_TYPES,
  parseOciManifest,
} from '../image/oci-manifest.ts';
import { readBlob, readWholeBlob, storedSize } from './blob-reading.ts';
import type { StoreLayout } from './layout.ts';
import { encodeMember, endOfArchive, paddingAfter, plainMember } from './tar-encoding.ts';

/** What tools look an image up by in an index (image-spec annotations.md). */
const refName = 'org.opencontainers.image.ref.name';

/**
 * An OCI image as an archive of an OCI layout (image-spec image-layout.md), every blob checked as it
 * passes. Of an index all images go in where all are stored; else the image alone. The same content
 * gives the same bytes: blobs are sorted, and nothing of this machine or moment goes in.
 */
export async function* ociArchive(
  layout: StoreLayout,
  record: ImageRecord,
  oci: OciContent,
): AsyncIterable<Uint8Array> {
  const { top, blobs } = await contentOf(layout, oci);
  yield* file('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
  yield* file('index.json', indexOf(top, displayName(record)));
  yield encodeMember(plainMember('blobs/'));
  const folders = [...new Set(blobs.map(({ algorithm }) => algorithm))].sort();
  for (const folder of folders) yield encodeMember(plainMember(`blobs/${folder}/`));
  for (const digest of blobs) yield* blobFile(layout, digest);
  yield endOfArchive;
}

function* file(name: string, content: Buffer): Iterable<Buffer> {
  yield encodeMember(plainMember(name, content.length));
  yield content;
  yield paddingAfter(content.length);
}

async function* blobFile(layout: StoreLayout, digest: Digest): AsyncIterable<Uint8Array> {
  const size = storedSize(layout, digest) ?? 0;
  yield encodeMember(plainMember(`blobs/${digest.algorithm}/${digest.hex}`, size));
  yield* readBlob(layout, digest);
  yield paddingAfter(size);
}

function indexOf(top: Descriptor, name: string): Buffer {
  const annotations = { ...top.annotations, [refName]: name };
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.index,
      manifests: [descriptorDocument({ ...top, annotations })],
    }),
  );
}

/** What the archive leads to, and every blob that belongs to it, sorted. */
async function contentOf(
  layout: StoreLayout,
  oci: OciContent,
): Promise<{ top: Descriptor; blobs: Digest[] }> {
  const whole = oci.index === undefined ? undefined : await wholeIndex(layout, oci.index);
  if (oci.index !== undefined && whole !== undefined) {
    return { top: oci.index, blobs: sorted(whole) };
  }
  const descriptors = [oci.manifest, oci.config, ...oci.layers.map((layer) => layer.descriptor)];
  return { top: oci.manifest, blobs: sorted(descriptors.map(({ digest }) => digest)) };
}

/** Every blob of an index and of the images in it; undefined unless all are stored. */
async function wholeIndex(layout: StoreLayout, index: Descriptor): Promise<Digest[] | undefined> {
  const digests: Digest[] = [];
  const pending: Descriptor[] = [index];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    digests.push(next.digest);
    if (storedSize(layout, next.digest) !== next.size) return undefined;
    const document = parseOciManifest(await readWholeBlob(layout, next.digest), next.mediaType);
    if (document.kind === 'index') {
      pending.push(...document.manifests);
      continue;
    }
    for (const { digest, size } of [document.config, ...document.layers]) {
      if (storedSize(layout, digest) !== size) return undefined;
      digests.push(digest);
    }
  }
  return digests;
}

function sorted(digests: readonly Digest[]): Digest[] {
  const byText = new Map(digests.map((digest) => [formatDigest(digest), digest]));
  return [...byText].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, digest]) => digest);
}
