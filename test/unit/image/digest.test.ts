import { describe, expect, it } from 'vitest';
import {
  imageIdOf,
  imageIdOfManifest,
  isImageId,
  isReferredImageId,
  matchesImageId,
  parseDigest,
  parseImageId,
} from '../../../src/image/digest.ts';

const hex = '0123456789abcdef'.repeat(8);
const id = `sha512-${hex}`;

describe('an image ID', () => {
  it('is sha512- and 128 digits', () => {
    expect(parseImageId(id)).toBe(id);
    expect(imageIdOf(hex)).toBe(id);
  });

  it.each([hex, `sha256-${hex}`, id.slice(0, -1), `${id}0`, id.toUpperCase(), `${id}\n`])(
    'is not %j',
    (text) => {
      expect(isImageId(text)).toBe(false);
      expect(() => parseImageId(text)).toThrow('128 lower-case hex digits');
    },
  );

  it('is matched by itself and by the half rkt keeps, by nothing shorter', () => {
    expect(matchesImageId(id, id)).toBe(true);
    expect(matchesImageId(id, id.slice(0, 'sha512-'.length + 64))).toBe(true);
    expect(matchesImageId(id, id.slice(0, 'sha512-'.length + 63))).toBe(false);
    expect(matchesImageId(id, `sha512-${'f'.repeat(128)}`)).toBe(false);
    expect(isReferredImageId(id.slice(0, 'sha512-'.length + 12))).toBe(false);
  });
});

it('an image ID of an OCI image is sha256- and 64 digits', () => {
  const oci = `sha256-${hex.slice(64)}`;
  expect(parseImageId(oci)).toBe(oci);
  expect(isImageId(`${oci}0`)).toBe(false);
  expect(imageIdOfManifest(parseDigest(oci))).toBe(oci);
  expect(isReferredImageId(oci)).toBe(true);
  expect(isReferredImageId(oci.slice(0, -1))).toBe(false);
});

describe('a digest', () => {
  it('is read with either separator', () => {
    expect(parseDigest(`sha512:${hex}`)).toEqual({ algorithm: 'sha512', hex });
    expect(parseDigest(`sha256-${hex.slice(64)}`)).toEqual({
      algorithm: 'sha256',
      hex: hex.slice(64),
    });
  });

  it.each(['', 'md5:00', `sha256:${hex}`, `sha512:${hex.slice(1)}`, `sha512:${hex.toUpperCase()}`])(
    'is not %j',
    (text) => {
      expect(() => parseDigest(text)).toThrow('invalid digest');
    },
  );
});
