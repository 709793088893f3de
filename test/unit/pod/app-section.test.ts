import { describe, expect, it } from 'vitest';
import { secure } from '../../../src/config/insecure.ts';
import { parseImageManifest } from '../../../src/image/image-manifest.ts';
import type { ImageRecord } from '../../../src/image/image-record.ts';
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

  it('ranks variables: inherited, image, app, every app', () => {
    const environment = section(
      { environment: new Map([['B', 'app']]) },
      {
        inheritedEnvironment: new Map([
          ['A', 'inherited'],
          ['C', 'inherited'],
          ['D', 'inherited'],
        ]),
        setEnvironment: new Map([['D', 'set']]),
      },
    ).environment;
    expect(Object.fromEntries(environment.map(({ name, value }) => [name, value]))).toEqual({
      A: 'image',
      B: 'app',
      C: 'inherited',
      D: 'set',
    });
  });

  it('refuses a name no manifest may hold, and does not inherit one', () => {
    const odd = new Map([['BASH_FUNC_x%%', '']]);
    expect(section({}, { inheritedEnvironment: odd }).environment).toHaveLength(2);
    expect(() => section({ environment: odd })).toThrow(/^environment variable "BASH_FUNC_x%%": /);
    expect(() => section({ workingDirectory: 'srv' })).toThrow('"srv" is no absolute path');
  });

  it('has the capabilities of the command line in place of the image’s', () => {
    expect(section({ capsRetain: ['cap_chown'] }).isolators).toEqual([
      { name: 'resource/memory', value: { limit: '1G' } },
      { name: 'os/linux/capabilities-retain-set', value: { set: ['CAP_CHOWN'] } },
    ]);
    expect(() => section({ capsRetain: [], capsRemove: [] })).toThrow(
      'cannot use both --caps-retain and --caps-remove on the same image',
    );
  });

  it('is refused when nothing says what to run', () => {
    expect(() => section({ record: record() })).toThrow(
      'image example.com/web has no app section and --exec argument is not provided',
    );
    expect(section({ record: record(), exec: '/sh' })).toMatchObject({ exec: ['/sh'], user: '0' });
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
