import { type Descriptor, descriptorDocument, MEDIA_TYPES } from '../image/oci-manifest.ts';
import { digestOf } from '../store/digest-of.ts';
import { onePiece } from './blob-delivery.ts';
import type { OciDestination } from './oci-source.ts';

/** Some bytes of an artifact and what points to them. */
export interface ArtifactPart {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** What an artifact's manifest says (image-spec manifest.md, "Guidelines for Artifact Usage"). */
export interface ArtifactContent {
  readonly artifactType?: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly subject?: Descriptor;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The configuration of an artifact that needs none (image-spec manifest.md). */
export function emptyConfig(mediaType: string = MEDIA_TYPES.empty): ArtifactPart {
  return artifactPart(Buffer.from('{}'), mediaType);
}

/** A part of an artifact with the descriptor of its bytes (OCI image-spec descriptor.md). */
export function artifactPart(bytes: Uint8Array, mediaType: string): ArtifactPart {
  return { descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length }, bytes };
}

/** An artifact's manifest, described as those who list referrers describe it. */
export function artifactManifest(content: ArtifactContent): ArtifactPart {
  const { artifactType, config, layers, subject, annotations } = content;
  const document = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    artifactType,
    config: descriptorDocument(config),
    layers: layers.map(descriptorDocument),
    subject: subject === undefined ? undefined : subjectDocument(subject),
    annotations,
  };
  const { bytes, descriptor } = artifactPart(
    Buffer.from(JSON.stringify(document)),
    MEDIA_TYPES.manifest,
  );
  const type =
    artifactType ?? (config.mediaType === MEDIA_TYPES.config ? undefined : config.mediaType);
  return {
    descriptor: type === undefined ? descriptor : { ...descriptor, artifactType: type },
    bytes,
  };
}

/** What an index said of the subject beside its type, digest and size is no part of what it is. */
function subjectDocument({ mediaType, digest, size }: Descriptor): Record<string, unknown> {
  return descriptorDocument({ mediaType, digest, size });
}

/** Puts a part where it is not there already. */
export async function putPart(
  destination: OciDestination,
  { descriptor, bytes }: ArtifactPart,
): Promise<void> {
  if (await destination.hasBlob(descriptor.digest)) return;
  await destination.putBlob(descriptor, onePiece(bytes));
}
