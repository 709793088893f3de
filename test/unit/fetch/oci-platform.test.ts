import { describe, expect, it } from 'vitest';
import { chooseManifest, requirePlatform } from '../../../src/fetch/oci-platform.ts';
import { MEDIA_TYPES, type OciIndex, type Platform } from '../../../src/image/oci-manifest.ts';
import { ociPlatform } from '../../../src/image/platform.ts';

function indexOf(...platforms: (Platform | undefined)[]): OciIndex {
  const manifests = platforms.map((platform, size) => ({
    mediaType: MEDIA_TYPES.manifest,
    digest: { algorithm: 'sha256', hex: 'a1'.repeat(32) } as const,
    size,
    ...(platform === undefined ? {} : { platform }),
  }));
  return { kind: 'index', mediaType: MEDIA_TYPES.index, manifests, annotations: {} };
}

const linux = (architecture: string, variant?: string): Platform => ({
  os: 'linux',
  architecture,
  ...(variant === undefined ? {} : { variant }),
});
const chosen = (index: OciIndex, wanted: Platform) => chooseManifest(index, wanted, 'x').size;

describe('chooseManifest', () => {
  it('takes the manifest of the system and processor', () => {
    const index = indexOf(linux('arm64'), { os: 'windows', architecture: 'amd64' }, linux('amd64'));
    expect(chosen(index, linux('amd64'))).toBe(2);
  });

  it('takes the newest variant that the machine runs, wherever it stands', () => {
    const index = indexOf(linux('arm', 'v5'), linux('arm', 'v6'), linux('arm', 'v7'));
    expect(chosen(index, linux('arm', 'v7'))).toBe(2);
    expect(chosen(index, linux('arm', 'v6'))).toBe(1);
  });

  it('takes what every amd64 runs where a later one stands before it', () => {
    expect(chosen(indexOf(linux('amd64', 'v3'), linux('amd64')), linux('amd64'))).toBe(1);
  });

  it('takes arm64 for arm64 v8, which is the same', () => {
    expect(chosen(indexOf(linux('arm64')), linux('arm64', 'v8'))).toBe(0);
  });

  it('takes the first of several that are for the same', () => {
    expect(chosen(indexOf(linux('amd64'), linux('amd64')), linux('amd64'))).toBe(0);
  });

  it('refuses an index without the platform, and lists those it has', () => {
    const index = indexOf(linux('arm', 'v7'), linux('s390x'), {
      os: 'unknown',
      architecture: 'unknown',
    });
    expect(() => chosen(index, linux('amd64'))).toThrow(
      expect.objectContaining({
        code: 'unsupported',
        message: expect.stringContaining(
          'no image for linux/amd64 (it has linux/arm/v7, linux/s390x)',
        ),
      }),
    );
  });

  it('takes the only one without a platform where none says the right one', () => {
    expect(chosen(indexOf(linux('arm64'), undefined), linux('amd64'))).toBe(1);
    expect(chosen(indexOf(undefined, linux('amd64')), linux('amd64'))).toBe(1);
  });

  it('refuses an index of several that name no platform, rather than to guess', () => {
    const index = indexOf(undefined, undefined);
    expect(() => chosen(index, linux('amd64'))).toThrow('it names none');
  });

  it('prints nothing of a platform that a terminal would obey', () => {
    const index = indexOf(linux('\u001b[2J'));
    expect(() => chosen(index, linux('amd64'))).toThrow(/linux\/"\\u001b/);
  });
});

it('refuses an image that is for another machine than its index says', () => {
  expect(() => requirePlatform(linux('arm64'), linux('amd64'), 'x')).toThrow(
    'the image is for linux/arm64, not for linux/amd64',
  );
});

it.each([
  [{ arch: 'aarch64' }, linux('arm64', 'v8')],
  [{ arch: 'armv7l' }, linux('arm', 'v7')],
  [{ arch: 'amd64' }, linux('amd64')],
  [{ arch: 'riscv64' }, linux('riscv64')],
  [{ arch: 'amd64', variant: 'v3' }, linux('amd64', 'v3')],
])('knows what appc labels %j mean in OCI', (labels, platform) => {
  expect(ociPlatform(new Map(Object.entries(labels)))).toEqual(platform);
});
