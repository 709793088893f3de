import { describe, expect, it } from 'vitest';
import { labelOf, parseImageManifest } from '../../../src/image/image-manifest.ts';
import { imageManifestDocument } from '../../../src/image/manifest-document.ts';

const least = { acKind: 'ImageManifest', acVersion: '0.8.11', name: 'example.com/web' };
const app = { exec: ['/bin/web'], user: '0', group: '0' };
const id = `sha512-${'0a'.repeat(64)}`;

function bytesOf(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

function parse(changes: Record<string, unknown>) {
  return parseImageManifest(bytesOf({ ...least, ...changes }));
}

function refusal(changes: Record<string, unknown>): string {
  try {
    parse(changes);
  } catch (error) {
    expect(error).toMatchObject({ code: 'invalid-manifest' });
    return (error as Error).message;
  }
  throw new Error('was accepted');
}

/** The refusals of one field of `app`. */
function appRefusal(changes: Record<string, unknown>): string {
  return refusal({ app: { ...app, ...changes } });
}

function isolatorRefusal(name: string, value: unknown): string {
  return appRefusal({ isolators: [{ name, value }] });
}

describe('an image manifest', () => {
  it('needs only kind, version and name', () => {
    expect(parse({})).toEqual({
      ...least,
      labels: [],
      dependencies: [],
      pathWhitelist: [],
      annotations: [],
    });
  });

  it('is read whole', () => {
    const manifest = parse({
      labels: [
        { name: 'version', value: '2' },
        { name: 'os', value: 'linux' },
        { name: 'arch', value: 'amd64' },
      ],
      app: {
        ...app,
        supplementaryGIDs: [10, 20],
        workingDirectory: '/srv',
        environment: [{ name: 'A.b-C_1', value: 'line\nbreak' }],
        mountPoints: [{ name: 'data', path: '/data', readOnly: true }],
        ports: [{ name: 'http', protocol: 'tcp', port: 80, count: 2, socketActivated: true }],
        isolators: [{ name: 'resource/memory', value: { request: '1G', limit: '2Gi' } }],
        eventHandlers: [{ name: 'pre-start', exec: ['/bin/prepare', ''] }],
        userAnnotations: { 'any key': 'x' },
        userLabels: { constructor: 'y' },
      },
      dependencies: [{ imageName: 'example.com/base', imageID: id, size: 7, labels: [] }],
      pathWhitelist: ['/srv', '/bin/web'],
      annotations: [{ name: 'created', value: '2024-02-29T23:59:60.5+02:00' }],
    });
    expect(manifest.app).toMatchObject({ supplementaryGids: [10, 20], workingDirectory: '/srv' });
    expect(manifest.app?.userLabels).toEqual({ constructor: 'y' });
    expect(manifest.dependencies).toEqual([
      { imageName: 'example.com/base', imageId: id, size: 7, labels: [] },
    ]);
    expect(labelOf(manifest, 'arch')).toBe('amd64');
    expect(labelOf(manifest, 'flavour')).toBeUndefined();
    expect(manifest.annotations).toMatchObject([{ value: expect.stringContaining('2024') }]);
    expect(parseImageManifest(bytesOf(imageManifestDocument(manifest)))).toEqual(manifest);
  });

  it('fills in what may be left out of an app', () => {
    expect(parse({ app }).app).toEqual({
      ...app,
      supplementaryGids: [],
      workingDirectory: '/',
      environment: [],
      mountPoints: [],
      ports: [],
      isolators: [],
      eventHandlers: [],
      userAnnotations: {},
      userLabels: {},
    });
  });

  it('may hold fields nobody knows, and null for absent ones', () => {
    expect(parse({ novel: [1], labels: null, app: null })).toEqual(parse({}));
  });

  it('takes either spelling of the supplementary groups, never both', () => {
    expect(parse({ app: { ...app, supplementaryGids: [5] } }).app?.supplementaryGids).toEqual([5]);
    expect(appRefusal({ supplementaryGids: [5], supplementaryGIDs: [6] })).toContain(
      'app.supplementaryGids: is given besides',
    );
  });

  it('may leave the program to be named, or found along PATH', () => {
    expect(parse({ app: { ...app, exec: [] } }).app?.exec).toEqual([]);
    expect(parse({ app: { ...app, exec: ['sh'] } }).app?.exec).toEqual(['sh']);
  });

  it.each([
    [{ acKind: 'PodManifest' }, 'image manifest: acKind: must be ImageManifest, not "PodManifest"'],
    [{ acKind: undefined }, 'image manifest: acKind: is required'],
    [{ acVersion: undefined }, 'image manifest: acVersion: is required'],
    [{ acVersion: '' }, 'acVersion: must not be empty'],
    [{ acVersion: '0.8' }, 'acVersion: "0.8" is not a semantic version'],
    [{ acVersion: '0.08.1' }, 'is not a semantic version'],
    [{ acVersion: '0.0.0' }, 'acVersion: must not be zero'],
    [{ acVersion: '1.0.0' }, 'acVersion: "1.0.0" is too new'],
    [{ acVersion: `0.8.11+${'a.'.repeat(5000)}` }, 'is not a semantic version'],
    [{ name: undefined }, 'image manifest: name: is required'],
    [{ name: 'Example.com' }, 'name: "Example.com" must contain only lower case'],
    [{ name: 'a/../../etc' }, 'name: "a/../../etc" must not hold an empty component'],
    [{ name: 7 }, 'name: must be a string, not a number'],
    [{ labels: {} }, 'labels: must be a list, not an object'],
    [{ labels: [{ name: 'version' }] }, 'labels[0].value: is required'],
    [{ labels: [{ name: 'V', value: '' }] }, 'labels[0].name: "V"'],
    [{ labels: [{ name: 'name', value: 'x' }] }, 'labels: a label must not be called "name"'],
    [
      {
        labels: [
          { name: 'x', value: '1' },
          { name: 'x', value: '2' },
        ],
      },
      'labels[1]: a second entry is called "x"',
    ],
    [
      { labels: [{ name: 'os', value: 'plan9' }] },
      'labels: bad os "plan9" (must be one of: darwin',
    ],
    [
      {
        labels: [
          { name: 'os', value: 'linux' },
          { name: 'arch', value: 'x86_64' },
        ],
      },
      'labels: bad arch "x86_64" for linux',
    ],
    [{ pathWhitelist: ['etc'] }, 'pathWhitelist[0]: must be an absolute path'],
    [{ pathWhitelist: ['/a/../b'] }, 'pathWhitelist[0]: must not hold ".."'],
    [{ dependencies: [{}] }, 'dependencies[0].imageName: is required'],
    [
      { dependencies: [{ imageName: 'a', imageID: 'sha256-00' }] },
      'dependencies[0].imageID: must be sha512-',
    ],
    [
      { dependencies: [{ imageName: 'a', size: -1 }] },
      'dependencies[0].size: must be a whole number',
    ],
    [
      { dependencies: [{ imageName: 'a', size: 1e16 }] },
      'dependencies[0].size: must be a whole number',
    ],
    [
      { dependencies: [{ imageName: 'a', labels: [{ name: 'os', value: 'x' }] }] },
      'dependencies[0].labels: bad os',
    ],
    [
      { annotations: [{ name: 'created', value: '2024-02-30T00:00:00Z' }] },
      'is not an RFC 3339 time',
    ],
    [
      { annotations: [{ name: 'created', value: '2024-02-03 00:00:00Z' }] },
      'is not an RFC 3339 time',
    ],
    [
      { annotations: [{ name: 'created', value: '2024-02-03T24:00:00Z' }] },
      'is not an RFC 3339 time',
    ],
    [
      { annotations: [{ name: 'homepage', value: 'ftp://a' }] },
      'homepage: "ftp://a" is not an http or https URL',
    ],
    [
      { annotations: [{ name: 'documentation', value: 'http://' }] },
      'documentation: "http://" is not',
    ],
    [
      {
        annotations: [
          { name: 'a', value: '' },
          { name: 'a', value: '' },
        ],
      },
      'annotations[1]: a second entry is called "a"',
    ],
  ])('with %j is refused', (changes, message) => {
    expect(refusal(changes)).toContain(message);
  });

  it('is refused where it is no object', () => {
    expect(() => parseImageManifest(bytesOf([]))).toThrow('image manifest: must be an object');
    expect(() => parseImageManifest(bytesOf(null))).toThrow('image manifest: is required');
  });
});

describe('an app', () => {
  it.each([
    [{ exec: '/bin/sh' }, 'app.exec: must be a list'],
    [{ exec: ['/bin/sh', 1] }, 'app.exec[1]: must be a string'],
    [{ exec: [''] }, 'app.exec[0]: must not be empty'],
    [{ exec: ['/bin/sh', 'a\0b'] }, 'app.exec[1]: must not hold a NUL'],
    [{ user: undefined }, 'app.user: is required'],
    [{ user: '' }, 'app.user: must not be empty'],
    [{ user: 0 }, 'app.user: must be a string'],
    [{ group: undefined }, 'app.group: is required'],
    [{ supplementaryGIDs: [-1] }, 'app.supplementaryGIDs[0]: must be a whole number from 0'],
    [{ supplementaryGIDs: [4294967295] }, 'app.supplementaryGIDs[0]: must be a whole number'],
    [{ supplementaryGIDs: [1.5] }, 'app.supplementaryGIDs[0]: must be a whole number'],
    [{ workingDirectory: 'srv' }, 'app.workingDirectory: must be an absolute path'],
    [{ environment: [{ name: '', value: '' }] }, 'app.environment[0].name: must not be empty'],
    [{ environment: [{ name: '1A', value: '' }] }, 'app.environment[0].name: "1A"'],
    [{ environment: [{ name: 'A=B', value: '' }] }, 'app.environment[0].name: "A=B"'],
    [
      {
        environment: [
          { name: 'A', value: '1' },
          { name: 'A', value: '2' },
        ],
      },
      'app.environment[1]: a second entry is called "A"',
    ],
    [{ mountPoints: [{ name: 'a.b', path: '/a' }] }, 'app.mountPoints[0].name: "a.b"'],
    [
      { mountPoints: [{ name: 'a', path: 'a' }] },
      'app.mountPoints[0].path: must be an absolute path',
    ],
    [
      { mountPoints: [{ name: 'a', path: '/a', readOnly: 1 }] },
      'app.mountPoints[0].readOnly: must be true',
    ],
    [
      {
        mountPoints: [
          { name: 'a', path: '/a' },
          { name: 'a', path: '/b' },
        ],
      },
      'app.mountPoints[1]: a second entry is called "a"',
    ],
    [
      { ports: [{ name: 'a', protocol: 'tcp', port: 0 }] },
      'app.ports[0].port: must be a whole number from 1',
    ],
    [
      { ports: [{ name: 'a', protocol: 'tcp', port: 65536 }] },
      'app.ports[0].port: must be a whole number',
    ],
    [
      { ports: [{ name: 'a', protocol: 'tcp', port: 65535, count: 2 }] },
      'app.ports[0].count: the range',
    ],
    [{ ports: [{ name: 'a', port: 1 }] }, 'app.ports[0].protocol: is required'],
    [
      { eventHandlers: [{ name: 'on-boot', exec: ['/a'] }] },
      'app.eventHandlers[0].name: must be pre-start',
    ],
    [{ eventHandlers: [{ name: 'pre-start' }] }, 'app.eventHandlers[0].exec: must name a program'],
    [
      {
        eventHandlers: [
          { name: 'post-stop', exec: ['/a'] },
          { name: 'post-stop', exec: ['/b'] },
        ],
      },
      'app.eventHandlers[1]: a second entry is called "post-stop"',
    ],
    [{ userLabels: { a: 1 } }, 'app.userLabels.a: must be a string'],
  ])('with %j is refused', (changes, message) => {
    expect(appRefusal(changes)).toContain(message);
  });
});

describe('an isolator', () => {
  it('nobody knows is kept as it came', () => {
    const isolators = [{ name: 'example.com/novel', value: [1, null, { a: 'b' }] }];
    expect(parse({ app: { ...app, isolators } }).app?.isolators).toEqual(isolators);
  });

  it.each([
    ['os/linux/capabilities-retain-set', { set: ['CAP_NET_BIND_SERVICE', 'CAP_BPF'] }],
    ['os/linux/capabilities-remove-set', { set: ['CAP_MKNOD'] }],
    ['os/linux/seccomp-remove-set', { errno: 'ENOTSUP', set: ['reboot', '@appc.io/empty'] }],
    ['os/linux/seccomp-retain-set', { errno: '', set: ['accept4'] }],
    ['os/linux/no-new-privileges', true],
    ['os/linux/cpu-shares', 2],
    ['os/linux/oom-score-adj', -1000],
    ['os/linux/selinux-context', { user: 'u', role: 'r', type: 't', level: 's0:c1' }],
    ['os/linux/apparmor-profile', { profile: 'p' }],
    ['os/unix/sysctl', { 'net.ipv4.ip_forward': '1' }],
    ['os/unix/rlimits', { nofile: '1024:4096', core: 'unlimited', nproc: '7' }],
    ['resource/cpu', { request: '250m', limit: 2 }],
    ['resource/memory', { limit: '1.5Gi', default: false }],
    ['resource/block-iops', { default: true, limit: '1000' }],
  ])('%s of a right shape is accepted', (name, value) => {
    expect(() => parse({ app: { ...app, isolators: [{ name, value }] } })).not.toThrow();
  });

  it.each([
    ['Bad Name', {}, 'app.isolators[0].name: "Bad Name"'],
    ['example.com/x', undefined, 'app.isolators[0].value: is required'],
    ['os/linux/capabilities-retain-set', {}, 'value.set: must not be empty'],
    ['os/linux/capabilities-retain-set', { set: [] }, 'value.set: must not be empty'],
    [
      'os/linux/capabilities-retain-set',
      { set: ['chown'] },
      'value.set[0]: "chown" is not the name',
    ],
    ['os/linux/capabilities-remove-set', ['CAP_CHOWN'], 'value: must be an object, not a list'],
    ['os/linux/seccomp-remove-set', { set: ['a b'] }, 'value.set[0]: "a b" is not a system call'],
    ['os/linux/seccomp-remove-set', { set: ['a'], errno: 'perm' }, 'value.errno: "perm" is not'],
    ['os/linux/no-new-privileges', 'yes', 'value: must be true or false'],
    ['os/linux/no-new-privileges', null, 'value: is required'],
    ['os/linux/cpu-shares', 1, 'value: must be a whole number from 2 to 262144'],
    ['os/linux/oom-score-adj', 1001, 'value: must be a whole number from -1000 to 1000'],
    [
      'os/linux/selinux-context',
      { user: 'a:b', role: 'r', type: 't', level: 'l' },
      'value.user: must not hold ":"',
    ],
    ['os/linux/selinux-context', { user: 'a', role: 'r', type: 't' }, 'value.level: is required'],
    ['os/linux/apparmor-profile', { profile: '' }, 'value.profile: must not be empty'],
    ['os/unix/sysctl', { a: 1 }, 'value.a: must be a string'],
    ['os/unix/sysctl', ['a'], 'value: must be an object'],
    ['os/unix/rlimits', { files: '1' }, 'value: "files" is no limit'],
    ['os/unix/rlimits', { core: '2:1' }, 'value.core: "2:1": the soft limit is above the hard'],
    ['os/unix/rlimits', { core: 1 }, 'value.core: must be a string'],
    ['resource/cpu', { limit: 'lots' }, 'value.limit: "lots" is not a quantity'],
    ['resource/cpu', { limit: '1', default: true }, 'value.default: must be false'],
    ['resource/memory', { request: '-1' }, 'value.request: "-1" is not a quantity'],
    ['resource/memory', { limit: -5 }, 'value.limit: "-5" is not a quantity'],
    ['resource/memory', { limit: true }, 'value.limit: must be a string'],
    ['resource/block-bandwidth', { limit: '2M' }, 'value.default: must be true'],
    [
      'resource/network-bandwidth',
      { default: true, request: '1' },
      'value.request: is not supported',
    ],
  ])('%s with %j is refused', (name, value, message) => {
    expect(isolatorRefusal(name, value)).toContain(message);
  });

  it('that contradicts another is refused', () => {
    const shares = { name: 'os/linux/cpu-shares', value: 5 };
    expect(appRefusal({ isolators: [shares, shares] })).toContain('only one os/linux/cpu-shares');
    const [retain, remove] = ['retain', 'remove'].map((what) => ({
      name: `os/linux/seccomp-${what}-set`,
      value: { set: ['read'] },
    }));
    expect(appRefusal({ isolators: [retain, remove] })).toContain('exclude each other');
  });
});
