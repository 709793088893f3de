import { describe, expect, it } from 'vitest';
import { appSpecOf } from '../../../src/image/app-spec.ts';
import { type App, parseImageManifest } from '../../../src/image/image-manifest.ts';

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
  it('is what image and app section say', () => {
    const web = image(app);
    const section = web.manifest.app;
    if (section === undefined) throw new Error('no app');
    expect(appSpecOf(web, { name: 'front', app: section, readOnlyRootfs: true })).toEqual({
      name: 'front',
      imageId: id,
      imageName: 'example.com/web_1',
      format: 'appc',
      fillsVolumes: false,
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
      readOnlyRootfs: true,
    });
  });

  it('needs a program', () => {
    const web = image(app);
    const section = { ...(web.manifest.app as App), exec: [] };
    const choice = { name: 'web', app: section, readOnlyRootfs: false };
    expect(() => appSpecOf(web, choice)).toThrow('name a program with --exec');
  });
});
