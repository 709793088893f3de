import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { loadRegistries } from '../../../src/config/registries.ts';
import { placesOf } from '../../../src/fetch/registry-place.ts';
import { parseRepository } from '../../../src/image/repository.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

let directory: string;
beforeEach(() => {
  directory = temporaryDirectory();
});

function write(path: string, fields: object): void {
  const folder = join(directory, path, 'registries.d');
  mkdirSync(folder, { recursive: true });
  const name = `${String(Math.random()).slice(2)}.json`;
  writeFileSync(
    join(folder, name),
    JSON.stringify({ rktKind: 'registries', rktVersion: 'v1', ...fields }),
  );
}

function load() {
  return loadRegistries({ system: join(directory, 'system'), local: join(directory, 'local') });
}

describe('registries.d', () => {
  it('is asked by whole components, the longest prefix that says something first', () => {
    write('local', { prefix: 'example.com', http: true, signedIdentity: 'repository' });
    write('local', { prefix: 'example.com/team', http: false });
    const rules = load();
    expect(rules.find('example.com/team/app', 'http')?.value).toBe(false);
    expect(rules.find('example.com/teams', 'http')?.value).toBe(true);
    expect(rules.find('example.com/team/app', 'signedIdentity')?.value).toBe('repository');
    expect(rules.find('example.com.evil.net/team', 'http')).toBeUndefined();
    expect(rules.find('example.com:5000/team', 'http')).toBeUndefined();
  });

  it('reads the example as it is given', () => {
    const example = join(import.meta.dirname, '../../../examples/registries.d');
    cpSync(example, join(directory, 'local/registries.d'), { recursive: true });
    const name = 'registry.example.com/team/app';
    const { hostname } = load().find(name, 'lookaside')?.value ?? {};
    expect(hostname).toBe('registry.example.com');
  });

  it('is overridden prefix by prefix, and each directory says a thing once', () => {
    write('system', { prefix: 'example.com', http: true });
    write('local', { prefix: 'EXAMPLE.com', signedIdentity: 'tag' });
    expect(load().find('example.com/app', 'http')).toBeUndefined();
    write('local', { prefix: 'example.com' });
    expect(load).toThrow(/the prefix "example.com" is already specified in/);
  });

  it('puts locations and mirrors in place of the prefix, and keeps the rest of the name', () => {
    write('local', {
      prefix: 'docker.io/library',
      location: 'registry.example/hub',
      mirrors: [{ location: 'localhost:5000/cache', http: true }, { location: 'mirror.example' }],
    });
    const { own, mirrors } = placesOf(parseRepository('busybox'), load());
    expect(own).toMatchObject({ host: 'registry.example', path: 'hub/busybox', http: false });
    expect(mirrors).toMatchObject([
      { host: 'localhost:5000', path: 'cache/busybox', http: true },
      { host: 'mirror.example', path: 'busybox', http: false },
    ]);
  });

  it.each([
    ['a prefix that is a URL', { prefix: 'https://example.com' }, /without the scheme of "https:/],
    ['a prefix with a user', { prefix: 'me@example.com' }, /prefix: "me@/],
    ['a prefix that is no repository', { prefix: 'example.com/Team' }, /prefix: "Team"/],
    ['no prefix', {}, /prefix: is required/],
    [
      'a relative certificate',
      { prefix: 'a.b', tls: { ca: 'ca.pem' } },
      /tls.ca: must be an absolute/,
    ],
    [
      'a certificate without its key',
      { prefix: 'a.b', tls: { certificate: '/c' } },
      /tls: must have/,
    ],
    [
      'a lookaside over plain http',
      { prefix: 'a.b', lookaside: 'http://x/' },
      /lookaside: must be/,
    ],
    [
      'another signed identity',
      { prefix: 'a.b', signedIdentity: 'any' },
      /signedIdentity: must be/,
    ],
    ['http that is a word', { prefix: 'a.b', http: 'yes' }, /http: must be true or false/],
  ])('refuses %s', (_, fields, message) => {
    write('local', fields);
    expect(load).toThrow(message);
  });
});
