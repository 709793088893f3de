import { type Digest, formatDigest } from './digest.ts';
import { type Descriptor, descriptorDocument, MEDIA_TYPES, type Platform } from './oci-manifest.ts';

/** What the configuration of a new image is to say (image-spec config.md). */
export interface ImageWishes {
  readonly platform: Platform;
  readonly entrypoint?: readonly string[] | undefined;
  readonly cmd?: readonly string[] | undefined;
  /** `NAME=VALUE` each. */
  readonly environment: readonly string[];
  readonly user?: string | undefined;
  readonly workingDirectory?: string | undefined;
  /** `8080/tcp` each. */
  readonly ports: readonly string[];
  /** Absolute paths. */
  readonly volumes: readonly string[];
  readonly labels: ReadonlyMap<string, string>;
  readonly stopSignal?: string | undefined;
  /** RFC 3339. Nothing stands for it: the same wishes then give the same image at any time. */
  readonly created?: string | undefined;
}

/**
 * The configuration of an image of one layer (image-spec config.md), byte for byte the same for the
 * same wishes: members in the specification's order, sets sorted, nothing of this moment.
 */
export function composeConfig(wishes: ImageWishes, diffId: Digest): Buffer {
  const { platform, created } = wishes;
  return encode({
    created,
    architecture: platform.architecture,
    variant: platform.variant,
    os: platform.os,
    config: executionOf(wishes),
    rootfs: { type: 'layers', diff_ids: [formatDigest(diffId)] },
    // umoci takes for granted that each step of a history says when it was taken.
    history: created === undefined ? undefined : [{ created, created_by: 'gantry image import' }],
  });
}

/** The manifest of an image (image-spec manifest.md). */
export function composeManifest(config: Descriptor, layers: readonly Descriptor[]): Buffer {
  return encode({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    config: descriptorDocument(config),
    layers: layers.map(descriptorDocument),
  });
}

function executionOf(wishes: ImageWishes): Record<string, unknown> {
  const { environment, labels } = wishes;
  return {
    User: wishes.user,
    ExposedPorts: setOf(wishes.ports),
    Env: environment.length === 0 ? undefined : environment,
    Entrypoint: wishes.entrypoint,
    Cmd: wishes.cmd,
    Volumes: setOf(wishes.volumes),
    WorkingDir: wishes.workingDirectory,
    Labels: labels.size === 0 ? undefined : Object.fromEntries([...labels].sort(byName)),
    StopSignal: wishes.stopSignal,
  };
}

/** A set, as OCI writes one: an object of empty objects. */
function setOf(members: readonly string[]): Record<string, object> | undefined {
  if (members.length === 0) return undefined;
  return Object.fromEntries([...members].sort().map((member) => [member, {}]));
}

function byName([a]: readonly [string, string], [b]: readonly [string, string]): number {
  return a < b ? -1 : Number(a > b);
}

function encode(document: Record<string, unknown>): Buffer {
  return Buffer.from(JSON.stringify(document));
}
