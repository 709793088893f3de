import { describe, expect, it } from 'vitest';
import { secure } from '../../../src/config/insecure.ts';
import { parseImageManifest } from '../../../src/image/image-manifest.ts';
import type { ImageRecord } from '../../../src/image/image-record.ts';
import { appcManifest, parseOciConfig } from '../../../src/image/oci-config.ts';
import { retainIsolator } from '../../../src/isolation/isolators.ts';
import { appNames, appSection } from '../../../src/pod/app-section.ts';
import { requirePlatform } from '../../../src/pod/platform.ts';
import type { AppRequest, PodRequest } from '../../../src/pod/request.ts';

function record(app?: object, name = 'example.com/Web'.toLowerCase(), labels: object[] = []) {
  const document = { acKind: 'ImageManifest', acVersion: '0.8.11', name, labels, app };
  const manifest = parseImageManifest(Buffer.from(JSON.stringify(document)));
  const id = `sha512-${'0'.repeat(128)}`;
  return { id, name, manifest } as unknown as ImageRecord;
}

const app = {
  exec: ['/web', '-v'],
  user: '1',
  group: '2',
  environment: [
    { name: 'A', value: 'image' },
    { name: 'B', value: 'image' },
  ],
  isolators: [
    { name: 'os/linux/capabilities-remove-set', value: { set: ['CAP_KILL'] } },
    { name: 'resource/memory', value: { limit: '1G' } },
  ],
};

function section(changes: Partial<AppRequest> = {}, pod: Partial<PodRequest> = {}) {
  const request = { record: record(app), args: [], ...changes };
  return appSection(request, {
    apps: [request],
    network: 'none',
    overlay: true,
    interactive: false,
    insecure: secure,
    ...pod,
  });
}

describe('the section an app runs with', () => {
  it('is the image’s own, with arguments after its own', () => {
    expect(section({ args: ['x'] })).toMatchObject({ exec: ['/web', '-v', 'x'], user: '1' });
  });

  it('has another program, user, group and directory where they are asked for', () => {
    expect(
      section({ exec: '/sh', args: ['x'], user: 'u', group: 'g', workingDirectory: '/w' }),
    ).toMatchObject({ exec: ['/sh', 'x'], user: 'u', group: 'g', workingDirectory: '/w' });
  });

  it('ranks variables: inherited, image, every app, app', () => {
    const environment = section(
      { environment: new Map([['B', 'app']]) },
      {
        inheritedEnvironment: new Map([
          ['A', 'inherited'],
          ['C', 'inherited'],
          ['D', 'inherited'],
        ]),
        setEnvironment: new Map([
          ['A', 'set'],
          ['B', 'set'],
          ['D', 'set'],
        ]),
      },
    ).environment;
    expect(Object.fromEntries(environment.map(({ name, value }) => [name, value]))).toEqual({
      A: 'set',
      B: 'app',
      C: 'inherited',
      D: 'set',
    });
  });

  it('does not inherit a name no manifest may hold, and works in an absolute directory', () => {
    const odd = new Map([['BASH_FUNC_x%%', '']]);
    expect(section({}, { inheritedEnvironment: odd }).environment).toHaveLength(2);
    expect(() => section({ workingDirectory: 'srv' })).toThrow('"srv" is no absolute path');
  });

  it('has the isolators of the command line in place of the image’s of their kinds', () => {
    const isolators = [retainIsolator(['cap_chown'])];
    expect(section({ isolators }).isolators).toEqual([
      { name: 'resource/memory', value: { limit: '1G' } },
      { name: 'os/linux/capabilities-retain-set', value: { set: ['CAP_CHOWN'] } },
    ]);
    const memory = { name: 'resource/memory', value: { limit: '2G' } };
    expect(section({ isolators: [memory] }).isolators).toContainEqual(memory);
    expect(section({ isolators: [memory] }).isolators).not.toContainEqual({
      name: 'resource/memory',
      value: { limit: '1G' },
    });
  });

  it('is refused when nothing says what to run', () => {
    expect(() => section({ record: record() })).toThrow(
      'image example.com/web has no app section and --exec argument is not provided',
    );
    expect(section({ record: record(), exec: '/sh' })).toMatchObject({ exec: ['/sh'], user: '0' });
  });
});

describe('the section of an app of an OCI image', () => {
  const config = {
    config: {
      Entrypoint: ['/entry', '-e'],
      Cmd: ['serve'],
      User: 'web:staff',
      StopSignal: 'SIGQUIT',
    },
    os: 'linux',
    architecture: 'amd64',
    rootfs: { type: 'layers', diff_ids: [] },
  };
  const image = (changes: object = {}) => {
    const document = { ...config, config: { ...config.config, ...changes } };
    const parsed = parseOciConfig(Buffer.from(JSON.stringify(document)));
    const manifest = appcManifest(parsed, 'docker.io/library/web', 'latest');
    return { id: `sha256-${'0'.repeat(64)}`, name: manifest.name, manifest } as ImageRecord;
  };

  it('runs the entrypoint with the image’s arguments, or with those given in their place', () => {
    expect(section({ record: image() })).toMatchObject({
      exec: ['/entry', '-e', 'serve'],
      stopSignal: 'SIGQUIT',
    });
    expect(section({ record: image(), args: ['x'] }).exec).toEqual(['/entry', '-e', 'x']);
  });

  it('runs only what --exec says, with its arguments', () => {
    expect(section({ record: image(), exec: '/sh' }).exec).toEqual(['/sh']);
    expect(section({ record: image(), exec: '/sh', args: ['-c'] }).exec).toEqual(['/sh', '-c']);
  });

  it('takes the program from the arguments where there is no entrypoint', () => {
    const plain = image({ Entrypoint: null });
    expect(section({ record: plain }).exec).toEqual(['serve']);
    expect(section({ record: plain, args: ['sh', '-l'] }).exec).toEqual(['sh', '-l']);
  });

  it('is refused when nothing says what to run', () => {
    const empty = image({ Entrypoint: null, Cmd: null });
    expect(() => section({ record: empty })).toThrow(
      'image docker.io/library/web has neither entrypoint nor cmd and --exec argument is not provided',
    );
    expect(section({ record: empty, args: ['/sh'] }).exec).toEqual(['/sh']);
  });

  it('has another user with that one’s own group, unless a group is asked for', () => {
    expect(section({ record: image() })).toMatchObject({ user: 'web', group: 'staff' });
    expect(section({ record: image(), user: '7' })).toMatchObject({ user: '7', group: '' });
    expect(section({ record: image(), user: '7', group: '8' }).group).toBe('8');
    expect(section({ record: image(), group: '8' })).toMatchObject({ user: 'web', group: '8' });
  });

  it('is for this machine by the platform of its configuration', () => {
    expect(() => requirePlatform(image().manifest, 'x64')).not.toThrow();
    expect(() => requirePlatform(image().manifest, 'arm64')).toThrow('bad arch "amd64" for linux');
  });
});

describe('the names of apps', () => {
  it('come from the command line or the image', () => {
    const apps = [
      { record: record(), args: [] },
      { record: record(), name: 'two', args: [] },
    ];
    expect(appNames(apps)).toEqual(['web', 'two']);
  });

  it('are refused when they are no AC Names', () => {
    expect(() => appNames([{ record: record(), name: 'a/b', args: [] }])).toThrow(/--name "a\/b"/);
  });

  it('are refused when the launcher would refuse them, whether asked for or made', () => {
    const named = (length: number) => [{ record: record(), name: 'n'.repeat(length), args: [] }];
    expect(appNames(named(128))).toEqual(['n'.repeat(128)]);
    const why = /has 129 characters, and an app of a pod at most 128: give it a shorter one/;
    expect(() => appNames(named(129))).toThrow(why);
    const image = record(undefined, `example.com/${'i'.repeat(129)}`);
    expect(() => appNames([{ record: image, args: [] }])).toThrow(why);
  });
});

describe('the platform of an image', () => {
  const check = (labels: Record<string, string>, machine = 'x64') => {
    const list = Object.entries(labels).map(([name, value]) => ({ name, value }));
    return () => requirePlatform(record(undefined, 'a', list).manifest, machine);
  };

  it('is this machine’s', () => {
    expect(check({ os: 'linux', arch: 'amd64' })).not.toThrow();
    expect(check({ os: 'linux', arch: 'i386' })).not.toThrow();
    expect(check({ os: 'linux', arch: 'aarch64' }, 'arm64')).not.toThrow();
  });

  it.each([
    [{}, 'missing os label in the image manifest'],
    [{ os: 'linux' }, 'missing arch label in the image manifest'],
    [{ os: 'freebsd', arch: 'amd64' }, 'bad os "freebsd" (must be one of: [linux])'],
    [{ os: 'linux', arch: 's390x' }, 'bad arch "s390x" for linux (must be one of: [amd64 i386])'],
  ])('is refused for labels %j', (labels, message) => {
    expect(check(labels as Record<string, string>)).toThrow(message);
  });
});
