import { describe, expect, it } from 'vitest';
import {
  isAppName,
  isIdentifier,
  parseAppName,
  parseIdentifier,
  sanitizeAppName,
} from '../../../src/image/identifier.ts';

describe('AC Identifier', () => {
  it.each(['a', '0', 'a.b', 'example.com/~user/app_v1', 'sub-domain.example.com/x/y', 'a/b--c..d'])(
    'accepts %s',
    (text) => {
      expect(isIdentifier(text)).toBe(true);
      expect(parseIdentifier(text)).toBe(text);
    },
  );

  it.each([
    ['', 'must not be empty'],
    ['A', 'only lower case'],
    ['a b', 'only lower case'],
    ['a\n', 'only lower case'],
    ['-a', 'must start and end'],
    ['a/', 'must start and end'],
    ['a//b', 'empty component'],
    ['a/../b', 'empty component'],
    ['a/./b', 'empty component'],
    ['a'.repeat(1025), 'longer than 1024'],
  ])('refuses %j', (text, why) => {
    expect(isIdentifier(text)).toBe(false);
    expect(() => parseIdentifier(text)).toThrow(why);
  });

  it('answers at once for a name made to be slow', () => {
    expect(isIdentifier(`${'a-'.repeat(500_000)}!`)).toBe(false);
  });
});

describe('AC Name', () => {
  it.each(['a', 'product-database', '0-1', 'a--b'])('accepts %s', (text) => {
    expect(parseAppName(text)).toBe(text);
  });

  it.each([
    ['', 'must not be empty'],
    ['a.b', 'only lower case'],
    ['a/b', 'only lower case'],
    ['..', 'only lower case'],
    ['a-', 'must start and end'],
    ['-', 'must start and end'],
    ['a'.repeat(256), 'longer than 255'],
  ])('refuses %j', (text, why) => {
    expect(isAppName(text)).toBe(false);
    expect(() => parseAppName(text)).toThrow(
      expect.objectContaining({ code: 'invalid-reference', message: expect.stringContaining(why) }),
    );
  });
});

describe('the name an app gets from its image', () => {
  it.each([
    ['example.com/team/worker', 'worker'],
    ['worker', 'worker'],
    ['example.com/web_app.v1', 'web-app-v1'],
    ['example.com/a~b', 'a-b'],
    ['example.com/a..b', 'a--b'],
  ])('%s becomes %s', (image, app) => {
    expect(sanitizeAppName(image)).toBe(app);
  });
});
