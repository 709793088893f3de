import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findTrustedKeys, removeTrustedKey } from '../../../src/trust/key-removal.ts';
import {
  listPrefixes,
  listTrustedKeys,
  type TrustDirectories,
  trustedKeysFor,
} from '../../../src/trust/keystore.ts';

const A = `aaaa${'1'.repeat(60)}`;
const B = `aaab${'2'.repeat(36)}`;

let root: string;
let directories: TrustDirectories;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'removal-'));
  directories = { system: join(root, 'usr'), local: join(root, 'etc'), user: join(root, 'home') };
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function lay(place: 'usr' | 'etc' | 'home', rule: string, fingerprint: string): string {
  const path = join(root, place, 'trustedkeys', rule, fingerprint);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, 'key');
  return path;
}

function remove(text: string) {
  return findTrustedKeys(directories, text).flatMap((key) => removeTrustedKey(directories, key));
}

describe('removing a trusted key', () => {
  it("removes the machine's file", () => {
    const path = lay('etc', 'prefix.d/example.com', A);
    expect(remove(A)).toMatchObject([{ how: 'removed', path }]);
    expect(listTrustedKeys(directories)).toEqual([]);
  });

  it('does so under every rule it is trusted by', () => {
    lay('etc', 'root.d', A);
    lay('etc', 'prefix.d/example.com', A);
    expect(remove('AAAA 1111')).toHaveLength(2);
    expect(listTrustedKeys(directories)).toEqual([]);
  });

  it("masks the vendor's key and leaves the vendor's file alone", () => {
    const vendors = lay('usr', 'prefix.d/example.com', A);
    const mask = join(root, 'etc/trustedkeys/prefix.d/example.com', A);
    expect(remove(A)).toMatchObject([{ how: 'masked', path: mask }]);
    expect(readFileSync(mask, 'utf8')).toBe('');
    expect(readFileSync(vendors, 'utf8')).toBe('key');
    expect(trustedKeysFor(directories, 'example.com/app')).toEqual([]);
    expect(listPrefixes(directories)).toEqual(['example.com']);
  });

  it("puts the mask in place of the machine's own file where the vendor has one too", () => {
    lay('usr', 'root.d', A);
    const own = lay('etc', 'root.d', A);
    expect(remove(A)).toMatchObject([{ how: 'masked', path: own }]);
    expect(readFileSync(own, 'utf8')).toBe('');
    expect(listTrustedKeys(directories)).toEqual([]);
  });

  it("removes the user's file, and masks what it outranked", () => {
    lay('usr', 'root.d', A);
    lay('home', 'root.d', A);
    expect(remove(A).map(({ how }) => how)).toEqual(['masked', 'removed']);
    expect(listTrustedKeys(directories)).toEqual([]);
  });
});

describe('a fingerprint given to find a key', () => {
  it('may be the beginning of one', () => {
    lay('etc', 'root.d', A);
    lay('etc', 'root.d', B);
    expect(findTrustedKeys(directories, 'aaaa')).toMatchObject([{ fingerprint: A }]);
    expect(findTrustedKeys(directories, 'AAAB:2222')).toMatchObject([{ fingerprint: B }]);
  });

  it('must not be that of several', () => {
    lay('etc', 'root.d', A);
    lay('etc', 'root.d', `aaaa${'2'.repeat(36)}`);
    expect(() => findTrustedKeys(directories, 'aaaa')).toThrow(
      expect.objectContaining({ code: 'ambiguous' }),
    );
  });

  it.each([
    ['bbbb', 'not-found'],
    ['aaa', 'usage'],
    ['', 'usage'],
    ['../..', 'usage'],
  ])('is refused as %j: %s', (text, code) => {
    lay('etc', 'root.d', A);
    expect(() => findTrustedKeys(directories, text)).toThrow(expect.objectContaining({ code }));
  });
});

describe('removing a key that an ordinary user trusts', () => {
  beforeEach(() => {
    directories = { ...directories, own: directories.user };
  });

  it.each(['usr', 'etc'] as const)('masks that of %s for the user alone', (place) => {
    const path = lay(place, 'prefix.d/example.com', A);
    const mask = join(root, 'home/trustedkeys/prefix.d/example.com', A);
    expect(remove(A)).toMatchObject([{ how: 'masked', path: mask }]);
    expect(readFileSync(path, 'utf8')).toBe('key');
    expect(listTrustedKeys(directories)).toEqual([]);
  });

  it("removes the user's own", () => {
    const path = lay('home', 'root.d', A);
    expect(remove(A)).toMatchObject([{ how: 'removed', path }]);
  });
});
