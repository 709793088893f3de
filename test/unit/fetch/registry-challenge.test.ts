import { describe, expect, it } from 'vitest';
import { challengesOf } from '../../../src/fetch/registry-challenge.ts';

function read(...fields: string[]) {
  const url = new URL('https://registry.example/v2/');
  const headers = { 'www-authenticate': fields.length === 1 ? fields[0] : fields };
  return challengesOf({ status: 401, url, headers }).map(({ scheme, parameters }) => ({
    scheme,
    ...Object.fromEntries(parameters),
  }));
}

describe('a challenge', () => {
  it('names its scheme and parameters', () => {
    expect(
      read(
        'Bearer realm="https://auth.example/token",service="a b",scope="repository:x:pull,push"',
      ),
    ).toEqual([
      {
        scheme: 'bearer',
        realm: 'https://auth.example/token',
        service: 'a b',
        scope: 'repository:x:pull,push',
      },
    ]);
  });

  it('may stand beside others in one field or several', () => {
    const both = [
      { scheme: 'basic', realm: 'x' },
      { scheme: 'bearer', realm: 'y' },
    ];
    expect(read('Basic realm="x", Bearer realm="y"')).toEqual(both);
    expect(read('Basic realm="x"', 'Bearer realm="y"')).toEqual(both);
  });

  it('undoes escapes, takes bare words, and any letter case', () => {
    expect(read('BEARER Realm="a\\"b" , error=insufficient_scope')).toEqual([
      { scheme: 'bearer', realm: 'a"b', error: 'insufficient_scope' },
    ]);
  });

  it('that cannot be read ends the list', () => {
    expect(read('=broken')).toEqual([]);
    expect(read('Basic realm="unterminated')).toEqual([{ scheme: 'basic' }]);
    expect(read()).toEqual([]);
  });
});
