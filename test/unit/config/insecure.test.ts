import { describe, expect, it } from 'vitest';
import { parseInsecureOptions, secure } from '../../../src/config/insecure.ts';

describe('insecure options', () => {
  it.each([
    ['', {}],
    ['none', {}],
    ['ondisk', {}],
    ['image', { image: true }],
    ['image,tls', { image: true, tls: true }],
    ['IMAGE', { image: true }],
    ['all-fetch', { image: true, tls: true, http: true, pubkey: true }],
    ['all-run', { capabilities: true, paths: true, seccomp: true }],
  ])('%j leave out those checks and no other', (text, left) => {
    expect(parseInsecureOptions(text)).toEqual({ ...secure, ...left });
  });

  it('leave out everything as all', () => {
    expect(Object.values(parseInsecureOptions('all')).every(Boolean)).toBe(true);
  });

  it.each([
    ['images', 'unknown option "images" (one of: none, ondisk, image'],
    ['image,', 'unknown option ""'],
    ['image, tls', 'unknown option " tls"'],
    ['image,image', 'duplicated option "image"'],
  ])('%j are refused', (text, message) => {
    expect(() => parseInsecureOptions(text)).toThrow(
      expect.objectContaining({ code: 'usage', message: expect.stringContaining(message) }),
    );
  });
});
