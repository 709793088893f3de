import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createAuthority } from '../../examples/quickstart/certificates.ts';
import {
  type LocalServer,
  startHttpsServer,
  startProxy,
} from '../../examples/quickstart/https-server.ts';
import { secure } from '../../src/config/insecure.ts';
import { GantryError } from '../../src/error.ts';
import type { TransportContext } from '../../src/fetch/context.ts';
import { fetchDocument } from '../../src/fetch/document.ts';
import { Transport } from '../../src/fetch/transport.ts';
import { body, inTurn, quickPace, redirect, status, World } from './fetch-world.ts';

let world: World;
beforeAll(async () => {
  world = await World.open();
});
afterAll(() => world.close());
afterEach(() => world.removeAuth());

async function get(url: string, changes: Partial<TransportContext> = {}, limit = 1 << 16) {
  const transport = new Transport(world.context(changes));
  try {
    const { head, bytes } = await fetchDocument(transport, new URL(url), limit);
    return { status: head.status, url: head.url.href, text: bytes.toString() };
  } finally {
    await transport.close();
  }
}

/** A server that shows a certificate of another making. */
async function withServer<T>(
  identity: Parameters<typeof startHttpsServer>[0],
  use: (url: string) => Promise<T>,
): Promise<T> {
  const server = await startHttpsServer(identity, body('hello'));
  try {
    return await use(`https://localhost:${server.port}/`);
  } finally {
    await server.close();
  }
}

describe('certificates', () => {
  it('are believed when the authority is in SSL_CERT_FILE', async () => {
    world.serve({ 'localhost/': body('hello') });
    const answer = await get(`https://localhost:${world.server.port}/`);
    expect(answer).toMatchObject({ status: 200, text: 'hello' });
  });

  it('are believed when the authority is in SSL_CERT_DIR', async () => {
    world.serve({ 'localhost/': body('hello') });
    const env = { SSL_CERT_DIR: world.directory };
    const answer = await get(`https://localhost:${world.server.port}/`, { env });
    expect(answer.text).toBe('hello');
  });

  it('of an unknown authority are refused, saying how to name it', async () => {
    const other = createAuthority('Somebody else').issue(['localhost']);
    await withServer(other, async (url) => {
      await expect(get(url)).rejects.toThrow(/certificate is not trusted.*SSL_CERT_FILE/);
    });
  });

  it('are refused under the system’s authorities, where none are named', async () => {
    await expect(get(`https://localhost:${world.server.port}/`, { env: {} })).rejects.toThrow(
      /certificate is not trusted/,
    );
  });

  it('for another host are refused', async () => {
    await withServer(world.authority.issue(['other.example.net']), async (url) => {
      await expect(get(url)).rejects.toThrow(/certificate is for another host/);
    });
  });

  it('that have expired are refused', async () => {
    const expired = world.authority.issue(['localhost'], {
      notBefore: new Date('2020-01-01'),
      notAfter: new Date('2020-02-01'),
    });
    await withServer(expired, async (url) => {
      await expect(get(url)).rejects.toThrow(/certificate has expired/);
    });
  });

  it('are not asked about with --insecure-options=tls, and only with that', async () => {
    const other = createAuthority('Somebody else').issue(['elsewhere.test']);
    await withServer(other, async (url) => {
      const rest = { ...secure, http: true, image: true, pubkey: true };
      await expect(get(url, { insecure: rest })).rejects.toThrow(/certificate/);
      const answer = await get(url, { insecure: { ...secure, tls: true } });
      expect(answer.text).toBe('hello');
    });
  });
});

describe('proxies', () => {
  it('carry https by CONNECT', async () => {
    world.serve({ 'example.com/': body('hello') });
    expect((await get('https://example.com/')).text).toBe('hello');
    expect(world.proxy.requests).toEqual(['CONNECT example.com:443']);
  });

  it('carry plain http as it is', async () => {
    world.serve({ 'example.com/': body('hello') });
    const answer = await get('http://example.com/', { insecure: { ...secure, http: true } });
    expect(answer.text).toBe('hello');
    expect(world.proxy.requests).toEqual(['GET http://example.com/']);
  });

  it('may themselves be reached by https, under a certificate that is checked', async () => {
    world.serve({ 'example.com/': body('hello') });
    const routes = new Map([['example.com:443', world.server.port]]);
    const identity = world.authority.issue(['localhost']);
    const proxy = await startProxy(routes, identity);
    const stranger = await startProxy(routes, createAuthority('Somebody').issue(['localhost']));
    const through = ({ port }: LocalServer) =>
      get('https://example.com/', {
        env: { ...world.context().env, HTTPS_PROXY: `https://localhost:${port}` },
      });
    try {
      expect((await through(proxy)).text).toBe('hello');
      await expect(through(stranger)).rejects.toThrow(/certificate is not trusted/);
    } finally {
      await proxy.close();
      await stranger.close();
    }
  });

  it('are left out for hosts in NO_PROXY', async () => {
    world.serve({});
    const env = { ...world.context().env, NO_PROXY: 'invalid' };
    const pace = { ...quickPace, attempts: 1 };
    // RFC 6761 section 6.4: nothing under this name ever resolves.
    await expect(get('https://example.invalid/', { env, pace })).rejects.toThrow();
    expect(world.proxy.requests).toEqual([]);
  });

  it('that refuse are an error without the password in their URL', async () => {
    world.serve({});
    const HTTPS_PROXY = `http://me:hidden@127.0.0.1:${world.proxy.port}`;
    const env = { ...world.context().env, HTTPS_PROXY };
    const error = await get('https://unknown.example.org/', { env }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(GantryError);
    expect(String(error)).toMatch(/through the proxy 127.0.0.1:\d+: it refuses, with status 403/);
    expect(String(error)).not.toMatch(/hidden/);
  });

  it('are shown the user and password of their URL, and asked for if they want some', async () => {
    const shown: (string | undefined)[] = [];
    const picky = createHttpServer();
    picky.on('connect', ({ headers }, socket) => {
      shown.push(headers['proxy-authorization']);
      socket.end('HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n');
    });
    picky.listen(0, '127.0.0.1');
    await once(picky, 'listening');
    const { port } = picky.address() as { port: number };
    const env = { HTTPS_PROXY: `http://me:hidden@127.0.0.1:${port}` };
    await expect(get('https://example.com/', { env })).rejects.toThrow(/wants a user and password/);
    expect(shown).toEqual([`Basic ${Buffer.from('me:hidden').toString('base64')}`]);
    picky.close();
  });

  it('that cannot be reached are named', async () => {
    const env = { HTTPS_PROXY: 'http://127.0.0.1:1' };
    await expect(get('https://example.com/', { env })).rejects.toThrow(
      'https://example.com/: through the proxy 127.0.0.1:1: connection refused',
    );
  });
});

describe('redirects', () => {
  it.each([301, 302, 303, 307, 308])('of status %i are followed', async (code) => {
    world.serve({
      'example.com/a': redirect('/b', code),
      'example.com/b': redirect('https://files.example.com/c', code),
      'files.example.com/c': body('there'),
    });
    const answer = await get('https://example.com/a');
    expect(answer).toMatchObject({ text: 'there', url: 'https://files.example.com/c' });
  });

  it('without end are given up', async () => {
    world.serve({ 'example.com/a': redirect('/b'), 'example.com/b': redirect('/a') });
    await expect(get('https://example.com/a')).rejects.toThrow(/stopped after 10 redirects/);
    expect(world.seen.length).toBe(11);
  });

  it('from https to http are refused, even with --insecure-options=http', async () => {
    world.serve({ 'example.com/a': redirect('http://files.example.com/a') });
    const insecure = { ...secure, http: true };
    await expect(get('https://example.com/a', { insecure })).rejects.toThrow(/from https to http/);
    expect(world.places).toEqual(['example.com/a']);
  });

  it('to http from http are refused when http is not allowed at all', async () => {
    world.serve({});
    await expect(get('http://example.com/a')).rejects.toThrow(/--insecure-options=http/);
    expect(world.seen).toEqual([]);
  });

  it('to anything but a web server are refused', async () => {
    world.serve({ 'example.com/a': redirect('file:///etc/passwd') });
    await expect(get('https://example.com/a')).rejects.toThrow(/only https/);
  });

  it('show no query of their target, which may be a key to it', async () => {
    world.serve({
      'example.com/a': redirect('https://files.example.com/a?signature=hidden'),
    });
    const answer = await get('https://example.com/a');
    expect(answer.status).toBe(404);
    world.serve({ 'example.com/a': redirect('http://files.example.com/a?signature=hidden') });
    await expect(get('https://example.com/a')).rejects.toThrow(/^(?!.*hidden)/);
  });
});

describe('credentials', () => {
  const basic = `Basic ${Buffer.from('me:hidden').toString('base64')}`;

  it('are shown to the host they are configured for', async () => {
    world.configureAuth(['example.com'], 'basic', { user: 'me', password: 'hidden' });
    world.serve({ 'example.com/': body('hello') });
    await get('https://example.com/');
    expect(world.seen[0]?.headers.authorization).toBe(basic);
  });

  it('may be a bearer token', async () => {
    world.configureAuth(['example.com'], 'oauth', { token: 'hidden' });
    world.serve({ 'example.com/': body('hello') });
    await get('https://example.com/');
    expect(world.seen[0]?.headers.authorization).toBe('Bearer hidden');
  });

  it('are shown to no other host, not even its subdomains', async () => {
    world.configureAuth(['example.com'], 'basic', { user: 'me', password: 'hidden' });
    world.serve({ '*/': body('hello') });
    await get('https://files.example.com/');
    await get('https://other.example.net/');
    expect(world.seen.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined]);
  });

  it('are not carried to another host by a redirect, and shown again on return', async () => {
    world.configureAuth(['example.com'], 'basic', { user: 'me', password: 'hidden' });
    world.serve({
      'example.com/a': redirect('https://other.example.net/b'),
      'other.example.net/b': redirect('https://example.com/c'),
      'example.com/c': body('hello'),
    });
    await get('https://example.com/a');
    expect(world.seen.map(({ headers }) => headers.authorization)).toEqual([
      basic,
      undefined,
      basic,
    ]);
  });

  it('are not shown to the same name on another port', async () => {
    world.configureAuth(['localhost'], 'basic', { user: 'me', password: 'hidden' });
    world.serve({ 'localhost/': body('hello') });
    await get(`https://localhost:${world.server.port}/`);
    expect(world.seen[0]?.headers.authorization).toBeUndefined();
  });

  it('are never sent over plain http', async () => {
    world.configureAuth(['example.com'], 'basic', { user: 'me', password: 'hidden' });
    world.serve({ 'example.com/': body('hello') });
    await get('http://example.com/', { insecure: { ...secure, http: true } });
    expect(world.seen[0]?.headers.authorization).toBeUndefined();
  });

  it('in a URL are used for it, and shown in no message', async () => {
    world.serve({ 'example.com/': inTurn(status(500)) });
    const url = 'https://me:hidden@example.com/';
    expect((await get(url)).status).toBe(500);
    expect(world.seen[0]?.headers.authorization).toBe(basic);
    const error = await get('https://me:hidden@unknown.example.org/').catch((e: unknown) => e);
    expect(String(error)).not.toMatch(/hidden/);
  });

  it('for AWS are refused by name', async () => {
    world.configureAuth(['example.com'], 'aws', { accessKeyID: 'id', secretAccessKey: 'hidden' });
    world.serve({});
    await expect(get('https://example.com/')).rejects.toThrow(/example.com: AWS credentials/);
    expect(world.seen).toEqual([]);
  });
});

describe('failures', () => {
  it.each([408, 429, 500, 502, 503, 504])('of status %i are tried again', async (code) => {
    world.serve({ 'example.com/': inTurn(status(code), status(code), body('at last')) });
    expect((await get('https://example.com/')).text).toBe('at last');
    expect(world.seen.length).toBe(3);
  });

  it.each([400, 401, 403, 404, 410, 501])('of status %i are final', async (code) => {
    world.serve({ 'example.com/': inTurn(status(code), body('too late')) });
    expect((await get('https://example.com/')).status).toBe(code);
    expect(world.seen.length).toBe(1);
  });

  it('are given up after so many tries', async () => {
    world.serve({ 'example.com/': status(503) });
    expect((await get('https://example.com/')).status).toBe(503);
    expect(world.seen.length).toBe(quickPace.attempts);
  });

  it('wait as long as Retry-After asks, up to a bound', async () => {
    const wait = (seconds: string) => status(429, { 'retry-after': seconds });
    world.serve({ 'example.com/': inTurn(wait('1'), body('at last')) });
    const began = Date.now();
    await get('https://example.com/', { pace: { ...quickPace, longestDelay: 5_000 } });
    expect(Date.now() - began).toBeGreaterThanOrEqual(950);
    world.serve({ 'example.com/': inTurn(wait('3600'), body('at last')) });
    await get('https://example.com/', { pace: { ...quickPace, longestDelay: 100 } });
  });

  it('of a connection are tried again', async () => {
    world.serve({
      'example.com/': inTurn((request) => void request.socket.destroy(), body('at last')),
    });
    expect((await get('https://example.com/')).text).toBe('at last');
  });

  it('of a closed port name the place and the reason', async () => {
    const error = await get('https://localhost:1/').catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'network' });
    expect(String(error)).toMatch('https://localhost:1/: connection refused');
  });

  it('to answer in time end the request', async () => {
    world.serve({ 'example.com/': () => {} });
    const pace = { ...quickPace, headersTimeout: 150, attempts: 1 };
    await expect(get('https://example.com/', { pace })).rejects.toThrow(/did not answer in time/);
  });

  it('to keep sending end the request', async () => {
    world.serve({
      'example.com/': (_, response) => {
        response.writeHead(200, { 'content-length': '10' });
        response.write('12345');
      },
    });
    const pace = { ...quickPace, bodyTimeout: 150, attempts: 1 };
    await expect(get('https://example.com/', { pace })).rejects.toThrow(/stopped sending/);
  });

  it('to send all that was announced are an error', async () => {
    world.serve({
      'example.com/': (_, response) => {
        response.writeHead(200, { 'content-length': '10' });
        response.write('12345', () => setTimeout(() => response.destroy(), 10));
      },
    });
    await expect(get('https://example.com/')).rejects.toThrow(/before the whole body came/);
  });

  it('include bodies beyond their limit, however they are announced', async () => {
    world.serve({
      'example.com/': (_, response) => {
        response.write('x'.repeat(600));
        response.end('x'.repeat(600));
      },
    });
    await expect(get('https://example.com/', {}, 1000)).rejects.toThrow(/larger than the 1000/);
  });

  it('include bodies that only trickle', async () => {
    world.serve({
      'example.com/': (_, response) => {
        const timer = setInterval(() => response.write('x'), 20);
        response.once('close', () => clearInterval(timer));
      },
    });
    const pace = { ...quickPace, documentTimeout: 200 };
    await expect(get('https://example.com/', { pace })).rejects.toThrow(/too slowly/);
  });

  it('do not include long pages that come with a redirect or an error', async () => {
    world.serve({
      'example.com/': (_, response) => {
        response.writeHead(302, { location: '/b' }).end('x'.repeat(1 << 20));
      },
      'example.com/b': body('there'),
    });
    expect((await get('https://example.com/')).text).toBe('there');
  });
});

describe('an abort', () => {
  it('ends a request that waits for its answer', async () => {
    const controller = new AbortController();
    world.serve({ 'example.com/': () => controller.abort(new Error('enough')) });
    const failure = get('https://example.com/', { signal: controller.signal });
    await expect(failure).rejects.toMatchObject({ code: 'interrupted' });
  });

  it('ends a request that is still connecting', async () => {
    const silent = createServer(() => {});
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as { port: number };
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('enough')), 50);
    const began = Date.now();
    const failure = get(`https://localhost:${port}/`, { signal: controller.signal });
    await expect(failure).rejects.toMatchObject({ code: 'interrupted' });
    expect(Date.now() - began).toBeLessThan(1500);
    silent.close();
  });

  it('ends the wait before another try', async () => {
    const controller = new AbortController();
    world.serve({ 'example.com/': status(503, { 'retry-after': '20' }) });
    setTimeout(() => controller.abort(new GantryError('interrupted', 'by hand')), 100);
    const pace = { ...quickPace, longestDelay: 20_000 };
    await expect(get('https://example.com/', { pace, signal: controller.signal })).rejects.toThrow(
      'by hand',
    );
  });
});

describe('warnings', () => {
  it('name a file of credentials that others can read', async () => {
    world.configureAuth(['example.com'], 'oauth', { token: 'hidden' });
    const path = join(world.directory, 'local', 'auth.d', 'more.json');
    const content = {
      rktKind: 'auth',
      rktVersion: 'v1',
      domains: ['other.example.net'],
      type: 'oauth',
      credentials: { token: 'hidden' },
    };
    writeFileSync(path, JSON.stringify(content), { mode: 0o644 });
    world.serve({ '*/': body('hello') });
    await get('https://example.com/');
    expect(world.report.lines.join()).toContain(path);
    expect(world.report.lines.join()).not.toContain('hidden');
  });
});

describe('a body', () => {
  it('that is held back piece by piece, and comes with pauses, comes to its end', async () => {
    world.serve({
      'example.com/slow': (_, response) => {
        response.writeHead(200, { 'content-length': '3' });
        for (const [index, piece] of ['a', 'b', 'c'].entries()) {
          setTimeout(() => response.write(piece), 20 * index);
        }
      },
    });
    const transport = new Transport(world.context());
    let text = '';
    // Settled at once, so that the parser is paused and goes on before anything more has come.
    await transport.get(new URL('https://example.com/slow'), {}, () => async (chunk) => {
      text += chunk.toString();
    });
    await transport.close();
    expect(text).toBe('abc');
  });
});
