import { type Digest, formatDigest } from '../image/digest.ts';
import type { ImageNaming, ImageRecord } from '../image/image-record.ts';

/** The digests of every blob a record names: of the image, and of what vouches for its names. */
export function blobsOf(record: ImageRecord): Digest[] {
  const { blob, oci, aliases = [] } = record;
  const content =
    oci === undefined
      ? []
      : [oci.manifest, oci.index, oci.config, ...oci.layers.map(({ descriptor }) => descriptor)];
  return [
    blob,
    ...content.flatMap((descriptor) => descriptor?.digest ?? []),
    ...[record, ...aliases].flatMap(evidenceOf),
  ];
}

/** The digests of the blobs that are no layers: small enough to be read whole. */
export function documentsOf(record: ImageRecord): Digest[] {
  const layers = new Set(
    record.oci?.layers.map(({ descriptor }) => formatDigest(descriptor.digest)),
  );
  return blobsOf(record).filter((digest) => !layers.has(formatDigest(digest)));
}

/** The signature, and the index it is over where the image was chosen from one. */
function evidenceOf({ provenance }: ImageNaming): Digest[] {
  if (provenance.kind === 'unverified') return [];
  const { signatureBlob, signed } = provenance;
  return [
    ...(signatureBlob === undefined ? [] : [signatureBlob]),
    ...(signed?.what === 'index' ? [signed.digest] : []),
  ];
}
