import { describe, expect, it } from 'vitest';
import type { ImageManifest } from '../../../src/image/image-manifest.ts';
import { platformLabels } from '../../../src/image/platform.ts';
import { completeLabels, requireGranted, type Wish } from '../../../src/image/wish.ts';

const id = `sha512-${'a'.repeat(128)}`;
const arch = platformLabels().get('arch') ?? '';

function manifest(labels: Record<string, string>, name = 'example.com/app'): ImageManifest {
  return {
    acKind: 'ImageManifest',
    acVersion: '0.8.11',
    name,
    labels: Object.entries(labels).map(([label, value]) => ({ name: label, value })),
    dependencies: [],
    pathWhitelist: [],
    annotations: [],
  };
}

function wish(labels: Record<string, string>, imageId?: string): Wish {
  return { text: 'app', name: 'example.com/app', labels: new Map(Object.entries(labels)), imageId };
}

describe('what was asked for', () => {
  it('is granted by the same name and labels, whatever others there are', () => {
    const found = manifest({ version: '1.2.0', os: 'linux', arch, channel: 'beta' });
    expect(() => requireGranted(wish({ version: '1.2.0' }), found, id)).not.toThrow();
  });

  it('is not another name', () => {
    expect(() => requireGranted(wish({}), manifest({}, 'example.com/other'), id)).toThrow(
      'error when reading the app name: "example.com/app" expected but "example.com/other" found',
    );
  });

  it('is not another version', () => {
    expect(() =>
      requireGranted(wish({ version: '2.0' }), manifest({ version: '1.2.0' }), id),
    ).toThrow(
      'requested value for label "version": "2.0" differs from fetched aci label value: "1.2.0"',
    );
  });

  it('is not an image without the label', () => {
    expect(() => requireGranted(wish({ channel: 'beta' }), manifest({}), id)).toThrow(
      'requested label "channel" not provided by the image manifest',
    );
  });

  it('is not an image for another machine, though nobody named this one', () => {
    expect(() => requireGranted(wish({}), manifest({ os: 'freebsd', arch }), id)).toThrow(
      'requested value for label "os": "linux" differs from fetched aci label value: "freebsd"',
    );
  });

  it('may be an image for every machine', () => {
    expect(() => requireGranted(wish({}), manifest({}), id)).not.toThrow();
  });

  it('may be an image for another machine where it was named', () => {
    const asked = wish({ os: 'freebsd', arch: 'amd64' });
    const found = manifest({ os: 'freebsd', arch: 'amd64' });
    expect(() => requireGranted(asked, found, id)).not.toThrow();
  });

  it('is the image of that digest where one is given, whole or shortened', () => {
    expect(() => requireGranted(wish({}, id.slice(0, 80)), manifest({}), id)).not.toThrow();
    const other = `sha512-${'b'.repeat(128)}`;
    expect(() => requireGranted(wish({}, other), manifest({}), id)).toThrow(/and .* came/);
  });

  it('is looked for with os and arch of this machine', () => {
    expect([...completeLabels(wish({ version: '1', os: 'freebsd' }))]).toEqual([
      ['os', 'freebsd'],
      ['arch', arch],
      ['version', '1'],
    ]);
  });

  it.each([
    ['x64', 'amd64'],
    ['arm64', 'aarch64'],
    ['ia32', 'i386'],
  ])('calls %s %s, as manifests do', (node, appc) => {
    expect(platformLabels(node).get('arch')).toBe(appc);
  });
});
