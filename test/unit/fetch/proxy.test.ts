import { describe, expect, it } from 'vitest';
import { proxyFor } from '../../../src/fetch/proxy.ts';

const proxy = 'http://proxy.example.net:3128';

function proxied(url: string, env: NodeJS.ProcessEnv): string | undefined {
  return proxyFor(new URL(url), env)?.href;
}

describe('the proxy for a URL', () => {
  it('is none without variables', () => {
    expect(proxied('https://example.com/', {})).toBeUndefined();
  });

  it.each([
    ['https_proxy', 'https://example.com/', true],
    ['HTTPS_PROXY', 'https://example.com/', true],
    ['http_proxy', 'http://example.com/', true],
    ['HTTP_PROXY', 'http://example.com/', true],
    ['http_proxy', 'https://example.com/', false],
    ['https_proxy', 'http://example.com/', false],
  ])('%s for %s: %s', (name, url, expected) => {
    expect(proxied(url, { [name]: proxy })).toBe(expected ? `${proxy}/` : undefined);
  });

  it('prefers the lower-case name, and an empty value means none', () => {
    const both = { https_proxy: 'http://lower:1', HTTPS_PROXY: 'http://upper:1' };
    expect(proxied('https://example.com/', both)).toBe('http://lower:1/');
    expect(proxied('https://example.com/', { https_proxy: '' })).toBeUndefined();
  });

  it('takes host:port without a scheme', () => {
    expect(proxied('https://example.com/', { https_proxy: 'proxy:8080' })).toBe(
      'http://proxy:8080/',
    );
  });

  it('never serves this machine itself', () => {
    for (const host of ['localhost:8443', '127.0.0.1', '127.9.9.9:1', '[::1]:8443']) {
      expect(proxied(`https://${host}/`, { https_proxy: proxy })).toBeUndefined();
    }
  });

  it('refuses another kind of proxy without repeating a password', () => {
    expect(() => proxied('https://example.com/', { https_proxy: 'ftp://u:hidden@h/' })).toThrow(
      /^(?!.*hidden).*HTTPS_PROXY/,
    );
  });
});

describe('NO_PROXY', () => {
  it.each([
    ['*', 'https://example.com/', true],
    ['example.com', 'https://example.com/', true],
    ['example.com', 'https://sub.example.com/', true],
    ['example.com', 'https://badexample.com/', false],
    ['.example.com', 'https://sub.example.com/', true],
    ['*.example.com', 'https://sub.example.com/', true],
    ['example.com:8443', 'https://example.com:8443/', true],
    ['example.com:8443', 'https://example.com/', false],
    ['example.com:443', 'https://example.com/', true],
    ['a.test, EXAMPLE.com b.test', 'https://example.com/', true],
    ['10.0.0.0/8', 'https://10.1.2.3/', true],
    ['10.0.0.0/8', 'https://11.1.2.3/', false],
    ['10.0.0.0/99', 'https://10.1.2.3/', false],
    ['fd00::/8', 'https://[fd00::1]/', true],
    ['192.0.2.7', 'https://192.0.2.7/', true],
    ['fd00::1', 'https://[fd00::1]/', true],
    ['[fd00::1]:8443', 'https://[fd00::1]:8443/', true],
    ['[fd00::1]:8443', 'https://[fd00::1]/', false],
  ])('%s for %s: %s', (list, url, exempt) => {
    expect(proxied(url, { https_proxy: proxy, no_proxy: list }) === undefined).toBe(exempt);
  });
});
