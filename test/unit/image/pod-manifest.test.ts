import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { podManifestDocument } from '../../../src/image/manifest-document.ts';
import { parsePodManifest } from '../../../src/image/pod-manifest.ts';

const id = `sha512-${'0a'.repeat(64)}`;
const web = { name: 'web', image: { id } };

function bytesOf(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

function parse(changes: Record<string, unknown>) {
  const least = { acKind: 'PodManifest', acVersion: '0.8.11', apps: [web] };
  return parsePodManifest(bytesOf({ ...least, ...changes }));
}

it('reads the example', () => {
  const path = join(import.meta.dirname, '../../../examples/pods/web-and-cache.json');
  const { apps, volumes } = parsePodManifest(readFileSync(path));
  const mounted = apps.flatMap(({ mounts }) => mounts.map(({ volume }) => volume));
  expect(new Set(mounted)).toEqual(new Set(volumes.map(({ name }) => name)));
});

describe('a pod manifest', () => {
  it('is read whole, and written back as it was read', () => {
    const manifest = parse({
      apps: [
        web,
        {
          name: 'cache',
          image: { name: 'example.com/cache', id, labels: [{ name: 'version', value: '1' }] },
          app: { exec: ['/cache'], user: '1', group: '/etc/group', supplementaryGIDs: [3] },
          readOnlyRootFS: true,
          mounts: [
            { volume: 'data', path: '/data' },
            { volume: 'own', path: '/own', appVolume: { name: 'own', kind: 'empty' } },
          ],
          annotations: [{ name: 'a', value: 'b' }],
        },
      ],
      volumes: [
        { name: 'data', kind: 'host', source: '/srv/data', readOnly: true, recursive: false },
        { name: 'scratch', kind: 'empty', mode: '1777', uid: 5, gid: 6 },
      ],
      isolators: [{ name: 'resource/cpu', value: { limit: '1' } }],
      ports: [
        { name: 'http', hostPort: 8080 },
        {
          name: 'dns',
          hostPort: 53,
          hostIP: '127.0.0.1',
          podPort: { name: 'dns', protocol: 'udp', port: 53, count: 0 },
        },
      ],
      userAnnotations: { x: 'y' },
    });
    expect(manifest.apps[0]).toEqual({
      name: 'web',
      image: { id, labels: [] },
      mounts: [],
      readOnlyRootFS: false,
      annotations: [],
    });
    expect(manifest.apps[1]?.mounts[1]?.appVolume).toEqual({
      name: 'own',
      kind: 'empty',
      readOnly: false,
      mode: '0755',
      uid: 0,
      gid: 0,
    });
    expect(manifest.ports[1]?.podPort?.count).toBe(1);
    expect(parsePodManifest(bytesOf(podManifestDocument(manifest)))).toEqual(manifest);
  });

  it('may name an image by the half of its ID that rkt keeps', () => {
    const short = id.slice(0, 7 + 64);
    expect(parse({ apps: [{ name: 'a', image: { id: short } }] }).apps[0]?.image.id).toBe(short);
  });

  it.each([
    [{ acKind: 'ImageManifest' }, 'pod manifest: acKind: must be PodManifest'],
    [{ apps: [web, web] }, 'apps[1].name: multiple apps with same name web'],
    [{ apps: [{ ...web, name: '../x' }] }, 'apps[0].name: "../x" must contain only'],
    [{ apps: [{ name: 'web' }] }, 'apps[0].image: is required'],
    [{ apps: [{ name: 'web', image: {} }] }, 'apps[0].image.id: is required'],
    [{ apps: [{ name: 'web', image: { id: 'sha512-a' } }] }, 'apps[0].image.id: "sha512-a" is no'],
    [{ apps: [{ ...web, app: { exec: ['/a'], user: '0' } }] }, 'apps[0].app.group: is required'],
    [
      { apps: [{ ...web, mounts: [{ volume: 'v', path: 'v' }] }] },
      'apps[0].mounts[0].path: must be an absolute',
    ],
    [
      { apps: [{ ...web, mounts: [{ volume: 'V', path: '/v' }] }] },
      'apps[0].mounts[0].volume: "V"',
    ],
    [{ apps: [{ ...web, readOnlyRootFS: 'no' }] }, 'apps[0].readOnlyRootFS: must be true or false'],
    [{ volumes: [{ name: 'v', kind: 'tmpfs' }] }, 'volumes[0].kind: must be host or empty'],
    [{ volumes: [{ name: 'v', kind: 'host' }] }, 'volumes[0].source: is required'],
    [
      { volumes: [{ name: 'v', kind: 'host', source: '/a', propagation: 'both' }] },
      'volumes[0].propagation: must be private, slave, shared',
    ],
    [
      { volumes: [{ name: 'v', kind: 'host', source: 'a' }] },
      'volumes[0].source: must be an absolute',
    ],
    [
      { volumes: [{ name: 'v', kind: 'host', source: '/a', uid: 0 }] },
      'volumes[0].uid: means nothing',
    ],
    [{ volumes: [{ name: 'v', kind: 'empty', source: '/a' }] }, 'volumes[0].source: means nothing'],
    [
      { volumes: [{ name: 'v', kind: 'empty', mode: '999' }] },
      'volumes[0].mode: must be three or four',
    ],
    [
      { volumes: [{ name: 'v', kind: 'empty', uid: -1 }] },
      'volumes[0].uid: must be a whole number',
    ],
    [
      {
        volumes: [
          { name: 'v', kind: 'empty' },
          { name: 'v', kind: 'empty' },
        ],
      },
      'volumes[1]: a second entry is called "v"',
    ],
    [{ ports: [{ name: 'p', hostPort: 0 }] }, 'ports[0].hostPort: must be a whole number from 1'],
    [
      { ports: [{ name: 'p', hostPort: 1, hostIP: '::1' }] },
      'ports[0].hostIP: must be an IPv4 address',
    ],
    [
      { ports: [{ name: 'p', hostPort: 1, hostIP: '1.2.3.256' }] },
      'ports[0].hostIP: must be an IPv4',
    ],
    [
      { ports: [{ name: 'p', hostPort: 1, hostIP: '1.2.3.4.' }] },
      'ports[0].hostIP: must be an IPv4',
    ],
    [
      { isolators: [{ name: 'resource/cpu', value: { limit: 'x' } }] },
      'isolators[0].value.limit: "x"',
    ],
  ])('with %j is refused', (changes, message) => {
    expect(() => parse(changes)).toThrow(
      expect.objectContaining({
        code: 'invalid-manifest',
        message: expect.stringContaining(message),
      }),
    );
  });
});
