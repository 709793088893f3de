import { describe, expect, it } from 'vitest';
import { parseDigest } from '../../../src/image/digest.ts';
import {
  MEDIA_TYPES,
  type OciIndex,
  type OciManifest,
  parseOciManifest,
  refuseOwnDigest,
  requireImage,
} from '../../../src/image/oci-manifest.ts';

const digest = `sha256:${'a1'.repeat(32)}`;
const descriptor = (mediaType: string, changes: object = {}) => ({
  mediaType,
  digest,
  size: 7,
  ...changes,
});
const manifest = (changes: object = {}) => ({
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.manifest,
  config: descriptor(MEDIA_TYPES.config),
  layers: [descriptor(`${MEDIA_TYPES.layer}+gzip`)],
  ...changes,
});
const index = (changes: object = {}) => ({
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.index,
  manifests: [
    descriptor(MEDIA_TYPES.manifest, { platform: { os: 'linux', architecture: 'amd64' } }),
  ],
  ...changes,
});
const parse = (document: object, mediaType?: string) =>
  parseOciManifest(Buffer.from(JSON.stringify(document)), mediaType);
const image = (changes: object = {}) => parse(manifest(changes)) as OciManifest;

describe('parseOciManifest', () => {
  it('reads an image manifest', () => {
    const read = parse(manifest(), MEDIA_TYPES.manifest);
    expect(read).toMatchObject({
      kind: 'manifest',
      config: { size: 7, digest: { algorithm: 'sha256' } },
      layers: [{ mediaType: `${MEDIA_TYPES.layer}+gzip` }],
    });
  });

  it('reads an index with its platforms', () => {
    expect(parse(index())).toMatchObject({
      kind: 'index',
      manifests: [{ platform: { os: 'linux', architecture: 'amd64' } }],
    });
  });

  it("tells a document without a media type by the server's word, or by what it holds", () => {
    expect(parse(manifest({ mediaType: undefined })).kind).toBe('manifest');
    expect(parse(index({ mediaType: undefined })).kind).toBe('index');
    expect(parse(manifest({ mediaType: undefined }), MEDIA_TYPES.dockerManifest).mediaType).toBe(
      MEDIA_TYPES.dockerManifest,
    );
  });

  it('keeps the subject and the type of an artifact', () => {
    const subject = descriptor(MEDIA_TYPES.manifest);
    const read = image({ subject, artifactType: 'application/example' });
    expect(read.artifactType).toBe('application/example');
    expect(read.subject?.size).toBe(7);
  });

  it.each([
    ['an older schema', manifest({ schemaVersion: 1 }), undefined, /schemaVersion: is 1/],
    ['no schema version', manifest({ schemaVersion: undefined }), undefined, /schemaVersion/],
    ['another media type than announced', manifest(), MEDIA_TYPES.index, /but it came as/],
    ['an unknown media type', manifest({ mediaType: 'text/html' }), undefined, /neither an image/],
    [
      'layers beside manifests',
      { ...index({ mediaType: undefined }), ...manifest({ mediaType: undefined }) },
      undefined,
      /must be one or the other/,
    ],
    ['a missing configuration', manifest({ config: undefined }), undefined, /config.* is required/],
    [
      'a negative size',
      manifest({ config: descriptor(MEDIA_TYPES.config, { size: -1 }) }),
      undefined,
      /config\.size/,
    ],
    [
      'an unknown digest algorithm',
      manifest({ config: descriptor(MEDIA_TYPES.config, { digest: 'md5:00' }) }),
      undefined,
      /config\.digest: "md5:00" is not a sha256/,
    ],
    [
      'a digest with the separator of an image ID',
      manifest({ config: descriptor(MEDIA_TYPES.config, { digest: digest.replace(':', '-') }) }),
      undefined,
      /config\.digest/,
    ],
    [
      'more layers than overlayfs can stack',
      manifest({ layers: Array(501).fill(descriptor(MEDIA_TYPES.layer)) }),
      undefined,
      /more than 500 layers/,
    ],
  ])('refuses %s', (_, document, mediaType, message) => {
    expect(() => parse(document, mediaType)).toThrow(message);
  });

  it('refuses a member given twice, which two readers may understand differently', () => {
    const text = JSON.stringify(manifest()).replace('"layers"', '"layers":[],"layers"');
    expect(() => parseOciManifest(Buffer.from(text), undefined)).toThrow(/twice/);
  });
});

describe('requireImage', () => {
  it.each(['', '+gzip', '+zstd'])('accepts layers of tar%s', (suffix) => {
    const layers = [descriptor(`${MEDIA_TYPES.layer}${suffix}`)];
    expect(() => requireImage(image({ layers }))).not.toThrow();
  });

  it('accepts what Docker called them', () => {
    const config = descriptor(MEDIA_TYPES.dockerConfig);
    const layers = [descriptor(`${MEDIA_TYPES.dockerLayer}.gzip`)];
    expect(() => requireImage(image({ config, layers }))).not.toThrow();
  });

  it('refuses an artifact, which has no configuration of an image', () => {
    const config = descriptor(MEDIA_TYPES.empty);
    expect(() => requireImage(image({ config }))).toThrow(/config\.mediaType.*artifact/);
  });

  it('refuses layers of another type, and names the first', () => {
    const layers = [descriptor(MEDIA_TYPES.layer), descriptor('application/x-squashfs')];
    expect(() => requireImage(image({ layers }))).toThrow(/layers\[1\]\.mediaType/);
  });
});

it('refuses an index that names itself', () => {
  const own = parse(index()) as OciIndex;
  expect(() => refuseOwnDigest(own, parseDigest(digest))).toThrow(/digest of the index itself/);
  expect(() => refuseOwnDigest(own, parseDigest(`sha256:${'b2'.repeat(32)}`))).not.toThrow();
});
