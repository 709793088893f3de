import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  listTrustedKeys,
  type TrustDirectories,
  trustedKeyFor,
  trustedKeysFor,
} from '../../../src/trust/keystore.ts';
import { needs, root as superuser } from '../../support/requirements.ts';

const A = 'a'.repeat(40);
const B = 'b'.repeat(40);

let root: string;
let directories: TrustDirectories;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'keystore-'));
  directories = { system: join(root, 'usr'), local: join(root, 'etc'), user: join(root, 'home') };
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** Lays a key file (its content is not looked at here) and returns its path. */
function lay(place: 'usr' | 'etc' | 'home', rule: string, fingerprint: string, content = 'key') {
  const path = join(root, place, 'trustedkeys', rule, fingerprint);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}

function pathsFor(name: string): string[] {
  return trustedKeysFor(directories, name).map((key) => key.path);
}

describe('the keys trusted for a name', () => {
  it('are none where there is no store', () => {
    expect(pathsFor('example.com/app')).toEqual([]);
  });

  it('lie under the prefixes of its whole components', () => {
    const host = lay('etc', 'prefix.d/example.com', A);
    const team = lay('etc', 'prefix.d/example.com/foo', B);
    expect(pathsFor('example.com/foo/app')).toEqual([host, team]);
    expect(pathsFor('example.com/foo')).toEqual([host, team]);
    expect(pathsFor('example.com/foobar')).toEqual([host]);
    expect(pathsFor('example.com')).toEqual([host]);
    expect(pathsFor('example.community/foo')).toEqual([]);
    expect(pathsFor('example')).toEqual([]);
  });

  it('include those trusted for every name', () => {
    const path = lay('usr', 'root.d', A);
    expect(trustedKeysFor(directories, 'any/name')).toMatchObject([
      { path, fingerprint: A, rule: { scope: 'root' } },
    ]);
  });

  it('are read from the outranking file where two have one fingerprint', () => {
    lay('usr', 'root.d', A);
    lay('usr', 'prefix.d/example.com/app', A);
    const path = lay('etc', 'prefix.d/example.com', A);
    expect(trustedKeysFor(directories, 'example.com/app')).toMatchObject([
      { path, rule: { scope: 'prefix', prefix: 'example.com' } },
    ]);
  });

  it('do not include a key an outranking empty file masks', () => {
    const path = lay('usr', 'prefix.d/example.com', A);
    expect(pathsFor('example.com/app')).toEqual([path]);
    lay('etc', 'prefix.d/example.com', A, '');
    expect(pathsFor('example.com/app')).toEqual([]);
    expect(trustedKeyFor(directories, 'example.com/app', A)).toBeUndefined();
  });

  it('lose a key for the masked names only', () => {
    const path = lay('usr', 'root.d', A);
    lay('etc', 'prefix.d/example.com/app', A, '');
    expect(pathsFor('example.com/app/part')).toEqual([]);
    expect(pathsFor('example.com/other')).toEqual([path]);
  });

  it('are not masked by a directory of lower rank', () => {
    lay('usr', 'prefix.d/example.com', A, '');
    const path = lay('home', 'prefix.d/example.com', A);
    expect(pathsFor('example.com/app')).toEqual([path]);
  });

  it('are looked up one at a time with the same answer', () => {
    const path = lay('etc', 'prefix.d/example.com', A);
    expect(trustedKeyFor(directories, 'example.com/app', A)?.path).toBe(path);
    expect(trustedKeyFor(directories, 'example.com/app', B)).toBeUndefined();
    expect(trustedKeyFor(directories, 'example.org/app', A)).toBeUndefined();
    expect(trustedKeyFor(directories, 'example.com/app', '../../x')).toBeUndefined();
  });

  it('are not looked for under a name that is no identifier', () => {
    for (const name of ['../etc', 'example.com/../x', '/example.com', '', 'Example.com', 'a//b']) {
      expect(() => trustedKeysFor(directories, name)).toThrow(
        expect.objectContaining({ code: 'invalid-reference' }),
      );
    }
  });

  it('skip what is half written, and take a key named like a component for no directory', () => {
    lay('etc', 'prefix.d/example.com', `.${A}.0123`);
    const path = lay('etc', 'prefix.d/example.com', A);
    expect(pathsFor(`example.com/${A}/app`)).toEqual([path]);
  });
});

describe('a file that has no business in the store', () => {
  it('is refused when its name is no lower-case fingerprint', () => {
    const path = lay('etc', 'root.d', A.toUpperCase(), '');
    expect(() => pathsFor('example.com/app')).toThrow(
      expect.objectContaining({
        code: 'bad-key',
        message: expect.stringContaining(`${path} is not named after a key's fingerprint`),
      }),
    );
  });

  it('is refused when others can write it, or its directory', () => {
    const path = lay('etc', 'prefix.d/example.com', A);
    for (const [victim, mode, bad] of [
      [path, 0o644, 0o664],
      [path, 0o644, 0o646],
      [dirname(path), 0o755, 0o777],
      [dirname(dirname(path)), 0o755, 0o775],
    ] as const) {
      chmodSync(victim, bad);
      const refused = expect.objectContaining({
        code: 'permission',
        message: expect.stringContaining(`chmod go-w ${victim}`),
      });
      expect(() => pathsFor('example.com/app')).toThrow(refused);
      expect(() => trustedKeyFor(directories, 'example.com/app', A)).toThrow(refused);
      chmodSync(victim, mode);
    }
    expect(pathsFor('example.com/app')).toEqual([path]);
  });

  it('is refused when it belongs to someone else', (context) => {
    needs(context, superuser);
    const path = lay('etc', 'root.d', A);
    chownSync(path, 12345, 0);
    expect(() => pathsFor('example.com/app')).toThrow(
      expect.objectContaining({ code: 'permission', message: expect.stringContaining('12345') }),
    );
  });

  it('is refused when it is larger than any key', () => {
    lay('etc', 'root.d', A, 'x'.repeat((1 << 20) + 1));
    expect(() => trustedKeysFor(directories, 'a')[0]?.bytes()).toThrow(/is larger than/);
  });
});

describe('the list of trusted keys', () => {
  it('has every key in force with its rule, and none that is masked or replaced', () => {
    lay('usr', 'root.d', A);
    lay('usr', 'prefix.d/example.com/foo', B);
    const local = lay('etc', 'root.d', A);
    const deep = lay('etc', 'prefix.d/example.com/foo/bar', B);
    lay('etc', 'prefix.d/example.com/foo', B, '');
    expect(listTrustedKeys(directories)).toMatchObject([
      { path: local, rule: { scope: 'root' } },
      { path: deep, rule: { scope: 'prefix', prefix: 'example.com/foo/bar' } },
    ]);
  });
});
