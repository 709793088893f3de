import { describe, expect, it } from 'vitest';
import { findImage } from '../../../src/fetch/layout-image-choice.ts';

function image(letter: string, ref?: string, name?: string) {
  return {
    ...(ref === undefined ? {} : { ref }),
    ...(name === undefined ? {} : { name }),
    descriptor: {
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: { algorithm: 'sha256', hex: letter.repeat(64) } as const,
      size: 1,
    },
  };
}

const a = image('a', 'one');
const b = image('b', 'docker.io/library/busybox:1.37');
const c = image('c', 'latest', 'example.com/team/app:latest');

function choose(images: Parameters<typeof findImage>[0], ref?: string) {
  return findImage(images, ref, 'oci:DIR').descriptor.digest.hex[0];
}

describe('the image of a layout', () => {
  it('needs no name where it is the only one, however many names it has', () => {
    expect(choose([a])).toBe('a');
    expect(choose([a, image('a', 'two')])).toBe('a');
  });

  it('has to be named among several, and the names are listed', () => {
    expect(() => choose([a, b])).toThrow(
      'oci:DIR: say which of its images is meant: "one", "docker.io/library/busybox:1.37"',
    );
    expect(() => choose([a, b], 'three')).toThrow(
      /no image in it is called "three": there is "one"/,
    );
    expect(() => choose([])).toThrow('oci:DIR: there is no image in it');
  });

  it('is found by its very name, its place, its tag, and another spelling of its reference', () => {
    const all = [a, b, c];
    expect(choose(all, 'one')).toBe('a');
    expect(choose(all, '@1')).toBe('b');
    expect(choose(all, '1.37')).toBe('b');
    expect(choose(all, 'busybox:1.37')).toBe('b');
    expect(choose(all, 'latest')).toBe('c');
    expect(choose(all, 'example.com/team/app:latest')).toBe('c');
  });

  it('is never guessed between two', () => {
    const all = [image('a', 'x/one:1'), image('b', 'x/two:1')];
    expect(() => choose(all, '1')).toThrow('2 images in it are called "1": say @N');
    expect(() => choose(all, '@7')).toThrow(/called "@7"/);
  });
});
