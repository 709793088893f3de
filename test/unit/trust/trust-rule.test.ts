import { describe, expect, it } from 'vitest';
import { covers, prefixesOf, retrustCommand } from '../../../src/trust/trust-rule.ts';

describe('the prefixes of a name', () => {
  it('are its leading whole components', () => {
    expect(prefixesOf('example.com/team/app')).toEqual([
      'example.com',
      'example.com/team',
      'example.com/team/app',
    ]);
    expect(prefixesOf('app')).toEqual(['app']);
  });
});

describe('a rule', () => {
  const root = { scope: 'root' } as const;
  const foo = { scope: 'prefix', prefix: 'example.com/foo' } as const;

  it('covers narrower ones only', () => {
    expect(covers(root, foo)).toBe(true);
    expect(covers(foo, root)).toBe(false);
    expect(covers(foo, { scope: 'prefix', prefix: 'example.com/foo/bar' })).toBe(true);
    expect(covers(foo, { scope: 'prefix', prefix: 'example.com/foobar' })).toBe(false);
  });

  it('is renewed by the command that made it', () => {
    expect(retrustCommand(foo)).toBe('gantry trust --prefix example.com/foo');
    expect(retrustCommand(root)).toBe('gantry trust --root FILE-OR-URL');
  });
});
