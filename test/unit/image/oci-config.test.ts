import { describe, expect, it } from 'vitest';
import { appcManifest, parseOciConfig } from '../../../src/image/oci-config.ts';

const diffId = `sha256:${'c3'.repeat(32)}`;
const configuration = (config: object | undefined, changes: object = {}) => ({
  os: 'linux',
  architecture: 'amd64',
  config,
  rootfs: { type: 'layers', diff_ids: [diffId] },
  ...changes,
});
const parse = (config: object | undefined, changes: object = {}) =>
  parseOciConfig(Buffer.from(JSON.stringify(configuration(config, changes))));
const app = (config: object | undefined, changes: object = {}) => {
  const { app: section } = appcManifest(parse(config, changes), 'docker.io/library/x', '1');
  if (section === undefined) throw new Error('no app');
  return section;
};

describe('parseOciConfig', () => {
  it('reads platform and diff ids', () => {
    const config = parse(undefined, { architecture: 'arm', variant: 'v6' });
    expect(config.platform).toEqual({ os: 'linux', architecture: 'arm', variant: 'v6' });
    expect(config.diffIds).toHaveLength(1);
  });

  it('takes null for absent, as docker writes it', () => {
    const config = parse({ Cmd: null, Entrypoint: null, Env: null, Volumes: null, Labels: null });
    expect(config).toMatchObject({ cmd: [], entrypoint: [], environment: [], volumes: [] });
  });

  it.each([
    ['no architecture', undefined, { architecture: undefined }, /architecture/],
    ['another kind of rootfs', undefined, { rootfs: { type: 'squash' } }, /rootfs\.type/],
    ['a command that is a string', { Cmd: '/bin/sh' }, {}, /config\.Cmd/],
    ['a working directory that climbs', { WorkingDir: '/a/../..' }, {}, /WorkingDir/],
    ['a volume that climbs', { Volumes: { '/data/../../etc': {} } }, {}, /Volumes/],
    [
      'a digest that is none',
      undefined,
      { rootfs: { type: 'layers', diff_ids: ['x'] } },
      /diff_ids/,
    ],
  ])('refuses %s', (_, config, changes, message) => {
    expect(() => parse(config, changes)).toThrow(message);
  });
});

describe('a configuration that lists without end', () => {
  const many = (name: (number: number) => string) =>
    Object.fromEntries(Array.from({ length: 1001 }, (_, number) => [name(number), {}]));

  it.each(['Volumes', 'ExposedPorts'])('is refused for its %s', (member) => {
    const config = { [member]: many((number) => `/a${'!'.repeat(number)}`) };
    expect(() => parse(config)).toThrow(`config.${member}: holds more than 1000 of them`);
  });
});

describe('appcManifest', () => {
  it('labels the image with tag, system and processor in appc’s words', () => {
    const config = parse(undefined, { architecture: 'arm64' });
    expect(appcManifest(config, 'example.com/a', '1.2').labels).toEqual([
      { name: 'version', value: '1.2' },
      { name: 'os', value: 'linux' },
      { name: 'arch', value: 'aarch64' },
    ]);
    expect(appcManifest(config, 'example.com/a', undefined).labels).toHaveLength(2);
  });

  it('runs the entrypoint with the command, and remembers where the one ends', () => {
    const section = app({ Entrypoint: ['/entry', '-v'], Cmd: ['serve'] });
    expect(section.exec).toEqual(['/entry', '-v', 'serve']);
    expect(section.entrypoint).toEqual(['/entry', '-v']);
  });

  it.each([
    ['', '0', ''],
    ['www', 'www', ''],
    ['www:web', 'www', 'web'],
    ['1000:1001', '1000', '1001'],
    [':5', '0', '5'],
  ])('takes the user %j apart', (text, user, group) => {
    expect(app({ User: text })).toMatchObject({ user, group });
  });

  it('keeps the last of an environment variable given twice, and what holds a "="', () => {
    const section = app({ Env: ['A=1', 'B=x=y', 'A=2', 'NONE', '=3'] });
    expect(section.environment).toEqual([
      { name: 'A', value: '2' },
      { name: 'B', value: 'x=y' },
    ]);
  });

  it('makes mount points of volumes and ports of exposed ports', () => {
    const section = app({
      Volumes: { '/var/lib/db': {}, '/': {} },
      ExposedPorts: {
        '80': {},
        '80/tcp': {},
        '53/udp': {},
        '8000-8002': {},
        nonsense: {},
        '99999': {},
      },
    });
    expect(section.mountPoints).toEqual([
      { name: 'volume', path: '/', readOnly: false },
      { name: 'volume-var-lib-db', path: '/var/lib/db', readOnly: false },
    ]);
    expect(section.ports.map(({ name, port, count }) => [name, port, count])).toEqual([
      ['53-udp', 53, 1],
      ['80-tcp', 80, 1],
      ['8000-8002-tcp', 8000, 3],
    ]);
  });

  it('gives volumes whose names would be one different names', () => {
    const section = app({ Volumes: { '/a/b': {}, '/a-b': {}, '/a_b': {} } });
    expect(new Set(section.mountPoints.map(({ name }) => name)).size).toBe(3);
  });

  it('takes the working directory from the root, and the root where there is none', () => {
    expect(app({ WorkingDir: 'srv' }).workingDirectory).toBe('/srv');
    expect(app({ WorkingDir: '' }).workingDirectory).toBe('/');
    expect(app(undefined).workingDirectory).toBe('/');
  });

  it('keeps stop signal and labels', () => {
    const section = app({ StopSignal: 'SIGQUIT', Labels: { a: 'b' } });
    expect(section.stopSignal).toBe('SIGQUIT');
    expect(section.userLabels).toEqual({ a: 'b' });
  });
});
