import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { machine } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

/** What the peers read: an OCI image layout of one gzip layer (OCI Image Format, image-layout.md). */
export interface OciLayout {
  readonly directory: string;
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

/** Packs `root` into a layout below `directory`; `reference` is what `ctr` will call the image. */
export function makeOciLayout(directory: string, root: string, reference: string): OciLayout {
  mkdirSync(join(directory, 'blobs/sha256'), { recursive: true });
  const blob = (digest: string) => join(directory, 'blobs', digest.replace(':', '/'));
  const store = (mediaType: string, content: string | Uint8Array): Descriptor => {
    const digest = digestOf(content);
    writeFileSync(blob(digest), content);
    return { mediaType, digest, size: Buffer.byteLength(content) };
  };
  const { layer, diffId } = packLayer(directory, root, blob);
  const configuration = store('application/vnd.oci.image.config.v1+json', configurationOf(diffId));
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: configuration,
    layers: [layer],
  });
  const index = {
    ...store(MANIFEST_TYPE, manifest),
    annotations: {
      'org.opencontainers.image.ref.name': '1',
      'io.containerd.image.name': reference,
    },
  };
  writeFileSync(
    join(directory, 'index.json'),
    JSON.stringify({ schemaVersion: 2, manifests: [index] }),
  );
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  return { directory, manifest: Buffer.from(manifest), blob };
}

/** gzip at its usual level, as the image our side unpacks. */
function packLayer(directory: string, root: string, blob: (digest: string) => string) {
  const archive = join(directory, 'layer.tar.gz');
  execFileSync('tar', ['-C', root, '--owner=0', '--group=0', '-czf', archive, '.']);
  const content = readFileSync(archive);
  const digest = digestOf(content);
  renameSync(archive, blob(digest));
  const mediaType = 'application/vnd.oci.image.layer.v1.tar+gzip';
  return {
    layer: { mediaType, digest, size: content.length },
    diffId: digestOf(gunzipSync(content)),
  };
}

function configurationOf(diffId: string): string {
  return JSON.stringify({
    architecture: machine() === 'x86_64' ? 'amd64' : 'arm64',
    os: 'linux',
    config: { Cmd: ['/bin/true'] },
    rootfs: { type: 'layers', diff_ids: [diffId] },
  });
}

function digestOf(content: string | Uint8Array): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}
