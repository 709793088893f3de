import { describe, expect, it } from 'vitest';
import { ruleFrom } from '../../../src/cli/trust-rule.ts';

describe('--prefix', () => {
  it.each([
    ['example.com/team', 'example.com/team'],
    ['localhost:5000/team', 'localhost:5000/team'],
    ['registry.example.com:443/team', 'registry.example.com/team'],
    ['index.docker.io/library', 'docker.io/library'],
    ['registry-1.docker.io', 'docker.io'],
  ])('%s is trusted as images from there are named', (prefix, named) => {
    expect(ruleFrom({ prefix })).toEqual({ scope: 'prefix', prefix: named });
  });

  it.each(['https://example.com', 'Example.com', 'example.com:x/a', 'example.com/../b'])(
    '%s is refused',
    (prefix) => {
      expect(() => ruleFrom({ prefix })).toThrow(/--prefix/);
    },
  );

  it('is not given beside --root', () => {
    expect(() => ruleFrom({ prefix: 'a', root: true })).toThrow(/mutually exclusive/);
  });
});
