import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { authFiles, findLogin } from '../../../src/config/registry-logins.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

let path: string;
beforeEach(() => {
  path = join(temporaryDirectory(), 'config.json');
});

function login(name: string, content: unknown) {
  writeFileSync(path, JSON.stringify(content));
  return findLogin(path, name);
}

const entry = (user: string) => ({ auth: Buffer.from(`${user}:p:w`).toString('base64') });
const password = (user: string) => ({ type: 'password', user, password: 'p:w' });

describe('an auth file of docker or podman', () => {
  it('is looked for where both write it', () => {
    expect(
      authFiles({ REGISTRY_AUTH_FILE: '/a.json', XDG_RUNTIME_DIR: '/run/u', HOME: '/home/u' }),
    ).toEqual([
      '/a.json',
      '/run/u/containers/auth.json',
      '/home/u/.config/containers/auth.json',
      '/home/u/.docker/config.json',
    ]);
    expect(authFiles({ DOCKER_CONFIG: '/d' })).toEqual(['/d/config.json']);
  });

  it('that is not there has nothing', () => {
    expect(findLogin('/nowhere/config.json', 'example.com/app')).toBeUndefined();
  });

  it('is asked for the longest key', () => {
    const auths = { 'example.com': entry('host'), 'example.com/team': entry('team') };
    expect(login('example.com/team/app', { auths })).toEqual(password('team'));
    expect(login('example.com/teams/app', { auths })).toEqual(password('host'));
    expect(login('other.com/team/app', { auths })).toBeUndefined();
  });

  it('may have keys that are URLs, and Docker Hub’s own', () => {
    const auths = {
      'https://example.com/v1/': entry('old'),
      'https://index.docker.io/v1/': entry('hub'),
    };
    expect(login('example.com/app', { auths })).toEqual(password('old'));
    expect(login('docker.io/library/busybox', { auths })).toEqual(password('hub'));
  });

  it('may hold an identity token', () => {
    const auths = { 'example.com': { auth: 'Og==', identitytoken: 'refresh' } };
    expect(login('example.com/app', { auths })).toEqual({
      type: 'identity-token',
      token: 'refresh',
    });
  });

  it('may name a helper for a host, or for all', () => {
    expect(
      login('example.com/app', { credHelpers: { 'example.com': 'pass' }, credsStore: 'other' }),
    ).toEqual({ type: 'helper', name: 'pass', server: 'example.com' });
    expect(
      login('docker.io/library/x', { auths: { 'docker.io': {} }, credsStore: 'pass' }),
    ).toEqual({
      type: 'helper',
      name: 'pass',
      server: 'https://index.docker.io/v1/',
    });
  });

  it.each([
    ['a helper that is a path', { credsStore: '../../bin/sh' }],
    ['an entry that is not base64 of a user', { auths: { 'example.com': { auth: 'AAAA' } } }],
    ['an entry that is a number', { auths: { 'example.com': 7 } }],
  ])('with %s is refused, without its secrets', (_, content) => {
    expect(() => login('example.com/app', content)).toThrow(path);
  });
});
