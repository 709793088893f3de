import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { machine } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

/** What the peers read: an OCI image layout of one image, its layers gzip (OCI Image Format, image-layout.md). */
export interface OciLayout {
  readonly directory: string;
  /** The manifest's digest, `sha256:…`. */
  readonly digest: string;
  /** The manifest's bytes; a registry serves them under the tag. */
  readonly manifest: Uint8Array;
  /** The path of a blob by its digest, `sha256:…`. */
  blob(digest: string): string;
}

export const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** A layer, gzip at its usual level as the image our side unpacks. */
export interface PackedLayer {
  readonly path: string;
  readonly digest: string;
  readonly size: number;
  readonly diffId: string;
}

/** Packs what of `root` the members name, all of it unless given, into the file `path`. */
export function packLayer(
  path: string,
  root: string,
  members: readonly string[] = ['.'],
): PackedLayer {
  execFileSync('tar', ['-C', root, '--owner=0', '--group=0', '-czf', path, ...members]);
  const content = readFileSync(path);
  return {
    path,
    digest: digestOf(content),
    size: content.length,
    diffId: digestOf(gunzipSync(content)),
  };
}

/** Makes a layout of the layers, lowest first; `reference` is what `ctr` will call the image. */
export function makeOciLayout(
  directory: string,
  layers: readonly PackedLayer[],
  reference: string,
): OciLayout {
  mkdirSync(join(directory, 'blobs/sha256'), { recursive: true });
  const blob = (digest: string) => join(directory, 'blobs', digest.replace(':', '/'));
  const store = (mediaType: string, content: string | Uint8Array): Descriptor => {
    const digest = digestOf(content);
    writeFileSync(blob(digest), content);
    return { mediaType, digest, size: Buffer.byteLength(content) };
  };
  for (const { path, digest } of layers) linkSync(path, blob(digest));
  const mediaType = 'application/vnd.oci.image.layer.v1.tar+gzip';
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: store('application/vnd.oci.image.config.v1+json', configurationOf(layers)),
    layers: layers.map(({ digest, size }) => ({ mediaType, digest, size })),
  });
  const descriptor = store(MANIFEST_TYPE, manifest);
  const annotations = {
    'org.opencontainers.image.ref.name': '1',
    'io.containerd.image.name': reference,
  };
  writeFileSync(
    join(directory, 'index.json'),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...descriptor, annotations }] }),
  );
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  return { directory, digest: descriptor.digest, manifest: Buffer.from(manifest), blob };
}

function configurationOf(layers: readonly PackedLayer[]): string {
  return JSON.stringify({
    architecture: machine() === 'x86_64' ? 'amd64' : 'arm64',
    os: 'linux',
    config: { Cmd: ['/bin/true'] },
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
  });
}

function digestOf(content: string | Uint8Array): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}
