import { describe, expect, it } from 'vitest';
import type { Digest } from '../../../src/image/digest.ts';
import {
  composeConfig,
  composeManifest,
  type ImageWishes,
} from '../../../src/image/oci-assembly.ts';
import { parseOciConfig } from '../../../src/image/oci-config.ts';
import { MEDIA_TYPES, parseOciManifest, requireImage } from '../../../src/image/oci-manifest.ts';

const digest: Digest = { algorithm: 'sha256', hex: 'a'.repeat(64) };
const plain: ImageWishes = {
  platform: { os: 'linux', architecture: 'amd64' },
  environment: [],
  ports: [],
  volumes: [],
  labels: new Map(),
};

describe('a composed configuration', () => {
  it('is read back as what was wished for', () => {
    const wishes: ImageWishes = {
      ...plain,
      platform: { os: 'linux', architecture: 'arm', variant: 'v7' },
      entrypoint: ['/bin/app'],
      cmd: ['-x'],
      environment: ['PATH=/bin'],
      user: 'app:app',
      workingDirectory: '/srv',
      ports: ['80/tcp'],
      volumes: ['/data'],
      labels: new Map([['team', 'web']]),
      stopSignal: 'SIGQUIT',
      created: '2026-01-31T12:00:00Z',
    };
    expect(parseOciConfig(composeConfig(wishes, digest))).toEqual({
      platform: wishes.platform,
      diffIds: [digest],
      entrypoint: ['/bin/app'],
      cmd: ['-x'],
      environment: [{ name: 'PATH', value: '/bin' }],
      user: 'app:app',
      workingDirectory: '/srv',
      exposedPorts: ['80/tcp'],
      volumes: ['/data'],
      stopSignal: 'SIGQUIT',
      labels: { team: 'web' },
      created: '2026-01-31T12:00:00Z',
    });
  });

  it('is the same whatever order sets and labels were given in', () => {
    const one = {
      ...plain,
      ports: ['80/tcp', '443/tcp'],
      labels: new Map(Object.entries({ a: '1', b: '2' })),
    };
    const other = {
      ...plain,
      ports: ['443/tcp', '80/tcp'],
      labels: new Map(Object.entries({ b: '2', a: '1' })),
    };
    expect(composeConfig(one, digest).equals(composeConfig(other, digest))).toBe(true);
  });

  it('says nothing of when it was made unless told to', () => {
    expect(composeConfig(plain, digest).toString()).not.toContain('created":');
  });
});

describe('a composed manifest', () => {
  it("is an image's", () => {
    const config = { mediaType: MEDIA_TYPES.config, digest, size: 2 };
    const layer = { mediaType: `${MEDIA_TYPES.layer}+zstd`, digest, size: 3 };
    const manifest = parseOciManifest(composeManifest(config, [layer]), MEDIA_TYPES.manifest);
    expect(manifest).toMatchObject({ kind: 'manifest', config, layers: [layer] });
    if (manifest.kind === 'manifest') requireImage(manifest);
  });
});
