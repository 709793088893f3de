import { describe, expect, it } from 'vitest';
import { appSpecOf } from '../../../src/image/app-spec.ts';
import { parseImageManifest } from '../../../src/image/image-manifest.ts';

const id = `sha512-${'0a'.repeat(64)}`;

function image(app?: Record<string, unknown>) {
  const manifest = { acKind: 'ImageManifest', acVersion: '0.8.11', name: 'example.com/web_1', app };
  return { id, manifest: parseImageManifest(new TextEncoder().encode(JSON.stringify(manifest))) };
}

const app = {
  exec: ['/web', '--quiet'],
  user: 'www',
  group: 'www',
  environment: [
    { name: 'A', value: '1' },
    { name: 'B', value: '2' },
  ],
};

describe('an app specification', () => {
  it('is what the image says', () => {
    expect(appSpecOf(image(app))).toEqual({
      name: 'web-1',
      imageId: id,
      imageName: 'example.com/web_1',
      exec: ['/web', '--quiet'],
      user: 'www',
      group: 'www',
      supplementaryGids: [],
      workingDirectory: '/',
      environment: new Map([
        ['A', '1'],
        ['B', '2'],
      ]),
      mountPoints: [],
      ports: [],
      isolators: [],
      eventHandlers: [],
      readOnlyRootfs: false,
    });
  });

  it('takes what is asked beside the image', () => {
    const spec = appSpecOf(image(app), {
      name: 'front',
      user: '0',
      args: ['--port=1'],
      environment: new Map([['B', 'mine']]),
      readOnlyRootfs: true,
    });
    expect(spec).toMatchObject({ name: 'front', user: '0', group: 'www', readOnlyRootfs: true });
    expect(spec.exec).toEqual(['/web', '--quiet', '--port=1']);
    expect([...spec.environment]).toEqual([
      ['A', '1'],
      ['B', 'mine'],
    ]);
  });

  it('drops the arguments of the manifest with its program', () => {
    expect(appSpecOf(image(app), { exec: ['/bin/sh'], args: ['-c', 'x'] }).exec).toEqual([
      '/bin/sh',
      '-c',
      'x',
    ]);
  });

  it('can be made of an image without an app, once a program is named', () => {
    expect(() => appSpecOf(image(), { args: ['x'] })).toThrow('name a program with --exec');
    expect(appSpecOf(image(), { exec: ['/x'] })).toMatchObject({
      exec: ['/x'],
      user: '0',
      group: '0',
    });
  });
});
