import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadAuth, loadRegistryAuth } from '../../../src/config/auth.ts';
import { describeConfig } from '../../../src/config/description.ts';
import type { Directories } from '../../../src/config/directories.ts';
import { loadLimits } from '../../../src/config/limits.ts';
import { loadPaths } from '../../../src/config/paths.ts';
import { loadStage1 } from '../../../src/config/stage1.ts';
import { defaultUnpackLimits } from '../../../src/image/unpack-limits.ts';

let root: string;
let directories: Directories;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'gantry-config-'));
  directories = { system: join(root, 'system'), local: join(root, 'local') };
});

afterEach(() => {
  rmSync(root, { recursive: true });
});

/** Writes a configuration file, private as credentials should be, and answers its path. */
function write(name: string, content: unknown, mode = 0o600): string {
  const path = join(root, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content), { mode });
  return path;
}

function entry(rktKind: string, fields: Record<string, unknown>) {
  return { rktKind, rktVersion: 'v1', ...fields };
}

function basic(domains: unknown, user = 'ann') {
  return entry('auth', { domains, type: 'basic', credentials: { user, password: 's3cret' } });
}

function refusal(load: () => unknown): string {
  try {
    load();
  } catch (error) {
    expect(error).toMatchObject({ code: 'config' });
    expect((error as Error).message).not.toContain('s3cret');
    return (error as Error).message;
  }
  throw new Error('was accepted');
}

describe('no configuration at all', () => {
  it('leaves the defaults', () => {
    expect(loadPaths(directories)).toEqual({});
    expect(loadStage1(directories)).toEqual({});
    expect(loadAuth(directories).size).toBe(0);
    expect(loadLimits(directories)).toEqual(defaultUnpackLimits);
  });
});

describe('a configuration file', () => {
  it('is found by its extension only, and not through links or folders', () => {
    write('local/paths.d/readme.txt', 'not JSON');
    write('local/paths.d/x.json/inner.json', 'not JSON');
    symlinkSync(write('elsewhere.json', 'not JSON'), join(root, 'local/paths.d/link.json'));
    expect(loadPaths(directories)).toEqual({});
  });

  it.each([
    ['{', 'not valid JSON'],
    ['[]', 'must be an object'],
    [{ rktVersion: 'v1' }, 'rktKind: is required'],
    [{ rktKind: '', rktVersion: 'v1' }, 'rktKind: must not be empty'],
    [{ rktKind: 'paths' }, 'rktVersion: is required'],
    [{ rktKind: 'paths', rktVersion: 'v2' }, 'rktVersion: "v2" is not known for paths'],
    [
      { rktKind: 'stage1', rktVersion: 'v1' },
      'rktKind: "stage1" does not belong here (must be paths)',
    ],
    [{ rktKind: 'novel', rktVersion: 'v1' }, 'rktKind: "novel" does not belong here'],
    ['{"rktKind":"paths","rktVersion":"v1","data":"/a","data":"/b"}', 'the field "data" twice'],
  ])('holding %j is refused by its path', (content, message) => {
    const path = write('local/paths.d/a.json', content);
    const line = refusal(() => loadPaths(directories));
    expect(line.startsWith(`${path}: `)).toBe(true);
    expect(line).toContain(message);
  });

  it('is not quoted where it is malformed, because it may hold a password', () => {
    write('local/auth.d/a.json', '{"credentials":{"password": s3cret}}');
    expect(refusal(() => loadAuth(directories))).toContain('a.json: not valid JSON');
  });

  it('cannot lie where its directory is a file', () => {
    write('local/paths.d', 'x');
    expect(refusal(() => loadPaths(directories))).toContain('paths.d: cannot be read: ENOTDIR');
  });
});

describe('paths', () => {
  it('are overridden one by one, system by local by user', () => {
    write('system/paths.d/a.json', entry('paths', { data: '/s', 'stage1-images': '/si' }));
    write('local/paths.d/b.json', entry('paths', { data: '/l' }));
    expect(loadPaths(directories)).toEqual({ data: '/l', stage1Images: '/si' });
    write('user/paths.d/c.json', entry('paths', { 'stage1-images': '/ui', data: '' }));
    const user = join(root, 'user');
    expect(loadPaths({ ...directories, user })).toEqual({ data: '/l', stage1Images: '/ui' });
    expect(loadPaths({ ...directories, user: '' })).toEqual({ data: '/l', stage1Images: '/si' });
  });

  it('must be absolute', () => {
    write('local/paths.d/a.json', entry('paths', { data: 'var/lib' }));
    expect(refusal(() => loadPaths(directories))).toContain('data: must be an absolute path');
  });

  it('are not to be given by two files of one directory', () => {
    const a = write('local/paths.d/a.json', entry('paths', { data: '/a' }));
    const b = write('local/paths.d/b.json', entry('paths', { data: '/b' }));
    expect(refusal(() => loadPaths(directories))).toBe(
      `${b}: the data directory is already specified in ${a}`,
    );
  });

  it("of data count only in an ordinary user's own directory", () => {
    write('local/paths.d/a.json', entry('paths', { data: '/l', 'stage1-images': '/li' }));
    const own = join(root, 'user');
    const users = { ...directories, user: own, own };
    expect(loadPaths(users)).toEqual({ stage1Images: '/li' });
    write('user/paths.d/a.json', entry('paths', { data: '/u' }));
    expect(loadPaths(users)).toEqual({ data: '/u', stage1Images: '/li' });
  });
});

describe('credentials', () => {
  it('are kept by host, as a URL writes it', () => {
    write('local/auth.d/a.json', basic(['Example.com', 'b.example:8443', 'c.example:443']));
    const auth = loadAuth(directories);
    expect([...auth.keys()]).toEqual(['example.com', 'b.example:8443', 'c.example']);
    expect(auth.get('example.com')).toEqual({ type: 'basic', user: 'ann', password: 's3cret' });
    expect(auth.warnings).toEqual([]);
  });

  it('come as tokens and AWS keys too', () => {
    const token = { token: 'abc.def' };
    const keys = { accessKeyID: 'AK', secretAccessKey: 'SK' };
    write(
      'local/auth.d/a.json',
      entry('auth', { domains: ['a'], type: 'oauth', credentials: token }),
    );
    write('local/auth.d/b.json', entry('auth', { domains: ['b'], type: 'aws', credentials: keys }));
    write(
      'local/auth.d/c.json',
      entry('auth', {
        domains: ['c'],
        type: 'aws',
        credentials: { ...keys, awsRegion: 'eu-west-1' },
      }),
    );
    expect(Object.fromEntries(loadAuth(directories))).toEqual({
      a: { type: 'oauth', token: 'abc.def' },
      b: { type: 'aws', accessKeyId: 'AK', secretAccessKey: 'SK' },
      c: { type: 'aws', accessKeyId: 'AK', secretAccessKey: 'SK', region: 'eu-west-1' },
    });
  });

  it('are overridden host by host', () => {
    write('system/auth.d/a.json', basic(['a.example', 'b.example'], 'vendor'));
    write('local/auth.d/a.json', basic(['b.example'], 'admin'));
    const auth = loadAuth(directories);
    expect(auth.get('a.example')).toMatchObject({ user: 'vendor' });
    expect(auth.get('b.example')).toMatchObject({ user: 'admin' });
  });

  it('that others can read are used, with a warning', () => {
    const path = write('local/auth.d/a.json', basic(['a.example']), 0o644);
    const auth = loadAuth(directories);
    expect(auth.size).toBe(1);
    expect(auth.warnings).toEqual([
      `${path} holds credentials and can be read by others: chmod 600 it`,
    ]);
  });

  it('for registries are kept apart', () => {
    const credentials = { user: 'u', password: 'p' };
    write('local/auth.d/d.json', entry('dockerAuth', { registries: ['r.example'], credentials }));
    write('local/auth.d/a.json', basic(['a.example']));
    expect([...loadAuth(directories).keys()]).toEqual(['a.example']);
    expect([...loadRegistryAuth(directories)]).toEqual([
      ['r.example', { type: 'basic', ...credentials }],
    ]);
  });

  it('for one host in two files of a directory are refused', () => {
    const a = write('local/auth.d/a.json', basic(['a.example']));
    const b = write('local/auth.d/b.json', basic(['A.example']));
    expect(refusal(() => loadAuth(directories))).toBe(
      `${b}: auth for "a.example" is already specified in ${a}`,
    );
  });

  it.each([
    [basic([]), 'domains: must name at least one host'],
    [basic(undefined), 'domains: must name at least one host'],
    [basic('a.example'), 'domains: must be a list'],
    [basic(['https://a.example']), 'domains[0]: "https://a.example" is not a host'],
    [basic(['a.example/x']), 'domains[0]: "a.example/x" is not a host'],
    [basic(['u@a.example']), 'domains[0]: "u@a.example" is not a host'],
    [basic(['a:99999']), 'domains[0]: "a:99999" is not a host'],
    [basic(['a'], ''), 'credentials.user: must not be empty'],
    [basic(['a'], 'a:b'), 'credentials.user: must not hold ":"'],
    [entry('auth', { domains: ['a'], credentials: {} }), 'type: is required'],
    [
      entry('auth', { domains: ['a'], type: 'ntlm', credentials: {} }),
      'type: must be basic, oauth or aws',
    ],
    [entry('auth', { domains: ['a'], type: 'basic' }), 'credentials: is required'],
    [
      entry('auth', { domains: ['a'], type: 'basic', credentials: { user: 'u' } }),
      'credentials.password: is required',
    ],
    [
      entry('auth', { domains: ['a'], type: 'oauth', credentials: {} }),
      'credentials.token: is required',
    ],
    [
      entry('auth', { domains: ['a'], type: 'oauth', credentials: { token: 's3cret\r\nX: y' } }),
      'credentials.token: must be printable ASCII',
    ],
    [
      entry('auth', { domains: ['a'], type: 'aws', credentials: { accessKeyID: 'A' } }),
      'credentials.secretAccessKey: is required',
    ],
  ])('as in %j are refused', (content, message) => {
    const path = write('local/auth.d/a.json', content);
    expect(refusal(() => loadAuth(directories))).toContain(`${path}: ${message}`);
  });
});

describe('the default stage1', () => {
  it('is overridden by name with version, and by location', () => {
    write(
      'system/stage1.d/a.json',
      entry('stage1', { name: 'a/b', version: '1', location: '/s.aci' }),
    );
    write('local/stage1.d/a.json', entry('stage1', { location: 'https://h.example/s.aci' }));
    expect(loadStage1(directories)).toEqual({
      name: 'a/b',
      version: '1',
      location: 'https://h.example/s.aci',
    });
    write('local/stage1.d/b.json', entry('stage1', { name: 'c/d', version: '2' }));
    expect(loadStage1(directories)).toMatchObject({ name: 'c/d', version: '2' });
  });

  it.each([
    [{ name: 'a/b' }, 'version: is required beside name'],
    [{ version: '1' }, 'name: is required beside version'],
    [{ name: 'A', version: '1' }, 'name: "A" must contain only lower case'],
    [{ location: 's.aci' }, 'location: must be an absolute path or'],
    [{ location: 'ftp://h/s.aci' }, 'location: must be an absolute path or'],
  ])('is refused as %j', (fields, message) => {
    write('local/stage1.d/a.json', entry('stage1', fields));
    expect(refusal(() => loadStage1(directories))).toContain(message);
  });

  it('is not to be named by two files of one directory', () => {
    write('local/stage1.d/a.json', entry('stage1', { location: '/a.aci' }));
    write('local/stage1.d/b.json', entry('stage1', { location: '/b.aci' }));
    expect(refusal(() => loadStage1(directories))).toContain('already specified in');
  });
});

describe('limits', () => {
  it('are overridden one by one over the defaults', () => {
    write('system/limits.d/a.json', entry('limits', { maxEntries: 10, maxUnpackedBytes: 20 }));
    write('local/limits.d/a.json', entry('limits', { maxEntries: 30 }));
    expect(loadLimits(directories)).toEqual({
      ...defaultUnpackLimits,
      maxEntries: 30,
      maxUnpackedBytes: 20,
    });
  });

  it.each([
    [{ maxEntries: 0 }, 'maxEntries: must be a whole number from 1'],
    [{ maxUnpackedBytes: '4G' }, 'maxUnpackedBytes: must be a number'],
    [{ maxCompressionRatio: 1.5 }, 'maxCompressionRatio: must be a whole number'],
  ])('are refused as %j', (fields, message) => {
    write('local/limits.d/a.json', entry('limits', fields));
    expect(refusal(() => loadLimits(directories))).toContain(message);
  });
});

describe('the description of the configuration', () => {
  it('has the shape rkt prints', () => {
    write('local/auth.d/a.json', basic(['z.example', 'a.example']));
    write('local/paths.d/a.json', entry('paths', { data: '/d' }));
    const mirrors = [{ location: 'm.example:5000/cache', http: true }];
    const registry = entry('registries', { prefix: 'r.example/team', mirrors });
    write('local/registries.d/a.json', registry);
    const user = { user: 'ann', password: 's3cret' };
    const stage1 = { name: 'gantry/native', version: '1.0.0' };
    expect(describeConfig(directories, stage1)).toEqual({
      stage0: [
        entry('auth', { domains: ['a.example'], type: 'basic', credentials: user }),
        entry('auth', { domains: ['z.example'], type: 'basic', credentials: user }),
        entry('paths', { data: '/d', 'stage1-images': '' }),
        entry('stage1', { ...stage1, location: '' }),
        entry('limits', { ...defaultUnpackLimits }),
        entry('kvm', { memoryMiB: 256, cpus: 1, acceleration: 'auto', share: 'auto' }),
        registry,
      ],
    });
  });

  it('has the stage1 that is configured in place of the default', () => {
    write('local/stage1.d/a.json', entry('stage1', { location: '/usr/lib/stage1' }));
    const stage1 = { name: 'gantry/native', version: '1.0.0' };
    expect(describeConfig(directories, stage1).stage0).toContainEqual(
      entry('stage1', { name: '', version: '', location: '/usr/lib/stage1' }),
    );
  });
});
