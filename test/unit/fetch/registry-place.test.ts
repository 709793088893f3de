import { describe, expect, it } from 'vitest';
import { secure } from '../../../src/config/insecure.ts';
import { RegistryRules } from '../../../src/config/registries.ts';
import { isNear, type RegistryPlace, sitesOf } from '../../../src/fetch/registry-place.ts';

const context = {
  directories: { system: '/nowhere', local: '/nowhere' },
  insecure: secure,
  report: { info() {}, warn() {}, debug() {}, transfer: () => ({ advance() {}, done() {} }) },
  env: {},
};

function place(host: string): RegistryPlace {
  return { host, path: 'team/app', shown: `docker://${host}/team/app`, http: true };
}

function mayBePlain(host: string, url: string): boolean {
  return sitesOf(place(host), new RegistryRules(new Map()), context)(new URL(url)).http;
}

describe('plain HTTP that is allowed for a registry', () => {
  it('is for that host, whatever the port', () => {
    expect(mayBePlain('10.0.0.5:5000', 'http://10.0.0.5:5001/token')).toBe(true);
  });

  it('of this machine is for this machine by each of its names', () => {
    expect(mayBePlain('localhost:5000', 'http://127.0.0.1:5001/token')).toBe(true);
  });

  it('does not let another machine send us to what listens on this one', () => {
    expect(mayBePlain('10.0.0.5:5000', 'http://127.0.0.1:2375/images')).toBe(false);
    expect(isNear(place('10.0.0.5:5000'), new URL('http://localhost:2375/token'))).toBe(false);
  });
});
