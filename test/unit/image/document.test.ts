import { describe, expect, it } from 'vitest';
import { type DocumentKind, parseDocument } from '../../../src/image/document.ts';

const kind: DocumentKind = { what: 'paper', code: 'invalid-manifest' };

function parse(text: string | Uint8Array) {
  return parseDocument(typeof text === 'string' ? new TextEncoder().encode(text) : text, kind);
}

describe('a document from outside', () => {
  it.each([
    ['', 'paper: not valid JSON'],
    ['{"a":1', 'paper: not valid JSON'],
    ['{"a":01}', 'paper: not valid JSON'],
    ['\ufeff{}', 'paper: not valid JSON'],
    ['{"a":1,"a":2}', 'paper: holds the field "a" twice in one object'],
    ['{"a":1,"\\u0061":2}', 'paper: holds the field "a" twice in one object'],
    ['{"x":[{"b":{},"b" : {}}]}', 'paper: holds the field "b" twice'],
    ['{"__proto__":{"app":1}}', 'paper: holds a field called "__proto__"'],
    ['{"a":{"\\u005f_proto__":1}}', 'paper: holds a field called "__proto__"'],
    ['{"a":1e999}', 'paper: holds a number that is out of range'],
    ['{"a":-1e999}', 'paper: holds a number that is out of range'],
    [`${'['.repeat(65)}${']'.repeat(65)}`, 'paper: is nested deeper than 64 levels'],
  ])('%j is refused', (text, message) => {
    expect(() => parse(text)).toThrow(
      expect.objectContaining({
        code: 'invalid-manifest',
        message: expect.stringContaining(message),
      }),
    );
  });

  it('may use the same field name in different objects, and in strings', () => {
    const text = '{"a":{"a":1},"b":[{"a":"{\\"a\\":1,"},{"a":"a"}],"c":"\\\\"}';
    expect(parse(text).value).toEqual(JSON.parse(text));
  });

  it('is refused when it is not UTF-8', () => {
    expect(() => parse(Uint8Array.of(0x22, 0xff, 0x22))).toThrow('not valid JSON: it is not UTF-8');
  });

  it('is refused beyond the size its kind allows', () => {
    const small = { ...kind, maxBytes: 4 };
    expect(() => parseDocument(new TextEncoder().encode('"abc"'), small)).toThrow(
      'larger than 4 bytes',
    );
    expect(() => parse(`"${'a'.repeat(4 * 1024 * 1024)}"`)).toThrow('larger than 4194304 bytes');
  });

  it('is read in good time however it is made', () => {
    const began = performance.now();
    parse(`"${'\\n'.repeat(2_000_000)}"`);
    expect(() => parse(`${'['.repeat(2_000_000)}${']'.repeat(2_000_000)}`)).toThrow('nested');
    expect(performance.now() - began).toBeLessThan(10_000);
  });

  it('keeps its refusals on one line whatever it holds', () => {
    for (const text of ['{"\u001b[2J\n', '{"a":"\u0007\n"}']) {
      expect(() => parse(text)).toThrow(
        expect.objectContaining({ message: expect.not.stringMatching(/\p{Cc}/u) }),
      );
    }
  });
});

describe('a document that may hold a secret', () => {
  it('is not quoted in its refusal', () => {
    const text = new TextEncoder().encode('{"password": hunter2}');
    expect(() => parseDocument(text, { ...kind, confidential: true })).toThrow(
      expect.toSatisfy((error) => error.message === 'paper: not valid JSON' && !error.cause),
    );
  });
});

describe('a field', () => {
  const field = parse('{"s":"x","n":5,"f":1.5,"b":true,"l":["a",2],"o":{"k":"v"},"z":null,"e":""}');

  it.each([
    ['s', (f: typeof field) => f.integer(0, 9), 'paper: s: must be a number, not a string'],
    ['n', (f: typeof field) => f.string(), 'paper: n: must be a string, not a number'],
    [
      'n',
      (f: typeof field) => f.integer(6, 9),
      'paper: n: must be a whole number from 6 to 9, not 5',
    ],
    ['f', (f: typeof field) => f.integer(0, 9), 'must be a whole number from 0 to 9, not 1.5'],
    ['n', (f: typeof field) => f.boolean(), 'must be true or false, not a number'],
    ['l', (f: typeof field) => f.object(), 'must be an object, not a list'],
    ['o', (f: typeof field) => f.list(), 'must be a list, not an object'],
    ['l', (f: typeof field) => f.strings(), 'paper: l[1]: must be a string, not a number'],
    ['z', (f: typeof field) => f.string(), 'paper: z: is required'],
    ['q', (f: typeof field) => f.member('r'), 'paper: q: is required'],
    ['e', (f: typeof field) => f.filledString(), 'paper: e: must not be empty'],
    ['s', (f: typeof field) => f.absolutePath(), 'paper: s: must be an absolute path, not "x"'],
  ])('%s refuses to be what it is not', (name, read, message) => {
    expect(() => read(field.member(name))).toThrow(message);
  });

  it('counts null as absent', () => {
    expect(field.member('z').optional(() => 1)).toBeUndefined();
    expect(field.member('z').list()).toEqual([]);
    expect(field.member('z').stringMap()).toEqual({});
  });

  it('does not find what an object inherits', () => {
    expect(field.member('constructor').given).toBe(false);
    expect(field.member('toString').given).toBe(false);
  });

  it('refuses strings no system call could carry', () => {
    const odd = parse('{"nul":"a\\u0000b","half":"\\ud800","up":"/a/../b"}');
    expect(() => odd.member('nul').string()).toThrow('must not hold a NUL character');
    expect(() => odd.member('half').string()).toThrow('is not valid Unicode');
    expect(() => odd.member('up').absolutePath()).toThrow('must not hold ".."');
  });

  it('names an odd key so that a terminal does not obey it', () => {
    const odd = parse('{"m":{"a\\u009b2J":1}}');
    expect(() => odd.member('m').stringMap()).toThrow(
      /^paper: m\["a\\u\{9b\}2J"\]: must be a string/,
    );
  });
});
