import { describe, expect, it } from 'vitest';
import { parseDiscoveryPage, speaksFor } from '../../../src/fetch/discovery-page.ts';

describe('a discovery page', () => {
  it('gives its tags in order, by kind', () => {
    const page = parseDiscoveryPage(`<!doctype html><html><head>
      <meta charset="utf-8">
      <meta name="ac-discovery" content="example.com https://a/{name}.{ext}">
      <META NAME='ac-discovery' CONTENT='example.com/team   https://b/{name}.{ext} '/>
      <meta content="example.com https://example.com/keys.gpg" name="ac-discovery-pubkeys">
      </head></html>`);
    expect(page.images).toEqual([
      { prefix: 'example.com', value: 'https://a/{name}.{ext}' },
      { prefix: 'example.com/team', value: 'https://b/{name}.{ext}' },
    ]);
    expect(page.keys).toEqual([{ prefix: 'example.com', value: 'https://example.com/keys.gpg' }]);
  });

  it('decodes character references in attributes', () => {
    const page = parseDiscoveryPage(
      '<meta name="ac-discovery" content="example.com https://a/?x=1&amp;n={name}.{ext}">',
    );
    expect(page.images[0]?.value).toBe('https://a/?x=1&n={name}.{ext}');
  });

  it('sees no tag in a comment, a script or a text area', () => {
    const tag = '<meta name="ac-discovery" content="example.com https://a/{ext}">';
    const page = parseDiscoveryPage(
      `<!-- ${tag} --><script>'${tag}'</script><style>${tag}</style><textarea>${tag}</textarea>`,
    );
    expect(page.images).toEqual([]);
  });

  it('ignores tags without both a prefix and a URL, and other names', () => {
    const page = parseDiscoveryPage(`
      <meta name="ac-discovery"><meta name="ac-discovery" content=""><meta name="ac-discovery"
      content="example.com"><meta name="ac-discoveries" content="a b"><meta content="a b">`);
    expect(page).toEqual({ images: [], keys: [] });
  });

  it('survives anything that is not HTML', () => {
    for (const text of ['', '\0\x01\x02', '<', '<meta name=', '{"json": true}', '<'.repeat(9999)]) {
      expect(parseDiscoveryPage(text)).toEqual({ images: [], keys: [] });
    }
  });
});

describe('a discovery prefix', () => {
  it.each([
    ['example.com', 'example.com/foo', true],
    ['example.com/foo', 'example.com/foo', true],
    ['example.com/foo/', 'example.com/foo/bar', true],
    ['example.com/foo', 'example.com/foobar', false],
    ['example.com/foo/bar', 'example.com/foo', false],
    ['example.co', 'example.com/foo', false],
    ['', 'example.com', false],
  ])('%j speaks for %s: %s', (prefix, name, expected) => {
    expect(speaksFor({ prefix, value: '' }, name)).toBe(expected);
  });
});
