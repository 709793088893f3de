import { describe, expect, it } from 'vitest';
import { parseWishes } from '../../../src/cli/image-wishes.ts';
import { platformLabels } from '../../../src/image/platform.ts';

describe('the wishes for a new image', () => {
  it('are words, or a JSON array of them', () => {
    const wishes = parseWishes({ entrypoint: '["/bin/a b", "-x"]', cmd: '/bin/sh  -c id' });
    expect(wishes.entrypoint).toEqual(['/bin/a b', '-x']);
    expect(wishes.cmd).toEqual(['/bin/sh', '-c', 'id']);
  });

  it('are of this machine unless another is asked for', () => {
    expect(parseWishes({}).platform.os).toBe('linux');
    expect(platformLabels().get('arch')).toBeDefined();
    expect(parseWishes({ arch: 'aarch64' }).platform).toEqual({
      os: 'linux',
      architecture: 'arm64',
      variant: 'v8',
    });
    expect(parseWishes({ arch: 'arm', variant: 'v6' }).platform).toEqual({
      os: 'linux',
      architecture: 'arm',
      variant: 'v6',
    });
  });

  it('write ports as docker does', () => {
    expect(parseWishes({ port: ['80', '53/udp', '8000-8010'] }).ports).toEqual([
      '80/tcp',
      '53/udp',
      '8000-8010/tcp',
    ]);
  });

  it('keep the last of several values of one variable', () => {
    const { environment } = parseWishes({ env: ['A=1', 'B=x=y', 'A=2'] });
    expect(environment).toEqual(['A=2', 'B=x=y']);
  });

  it.each([
    ['--env', { env: ['=x'] }],
    ['--env', { env: ['NAME'] }],
    ['--label', { label: ['x'] }],
    ['--port', { port: ['0'] }],
    ['--port', { port: ['90-80'] }],
    ['--port', { port: ['80/icmp'] }],
    ['--volume', { volume: ['data'] }],
    ['--volume', { volume: ['/data/../etc'] }],
    ['--working-dir', { workingDir: 'app' }],
    ['--user', { user: 'a:b:c' }],
    ['--stop-signal', { stopSignal: 'term' }],
    ['--created', { created: 'yesterday' }],
    ['--created', { created: '2026-13-01T00:00:00Z' }],
    ['--entrypoint', { entrypoint: '["a", 1]' }],
    ['--entrypoint', { entrypoint: '[' }],
  ])('name the option %s that cannot be read: %j', (option, options) => {
    expect(() => parseWishes(options)).toThrow(
      expect.objectContaining({
        code: 'usage',
        message: expect.stringContaining(option) as string,
      }),
    );
  });
});
