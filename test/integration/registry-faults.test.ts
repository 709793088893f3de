import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createAuthority, type Identity } from '../../examples/quickstart/certificates.ts';
import {
  type Handler,
  type LocalServer,
  startHttpsServer,
} from '../../examples/quickstart/https-server.ts';
import { parseDigest } from '../../src/image/digest.ts';
import { MEDIA_TYPES } from '../../src/image/oci-manifest.ts';
import {
  blobOf,
  documentOf,
  imageOf,
  layerOf,
  type OciBlob,
  descriptorOf as pointerTo,
} from '../support/oci-image.ts';
import { body, cutOff, inTurn, redirect, status } from './fetch-world.ts';
import { Collected, descriptorOf, once, RegistryClient } from './registry-client.ts';

const image = imageOf([layerOf([{ name: 'f', content: 'x' }], 'none')]);
const content = blobOf('application/octet-stream', Buffer.alloc(100_000, 'blob'));

let identity: Identity;
let certificate: string;
let server: LocalServer;
/** Another host: where storage, or a thief, would be. */
let elsewhere: LocalServer;
let client: RegistryClient;
/** By path below the repository; set anew by each test. */
let pages: Record<string, Handler>;
let seen: { path: string; method: string; headers: IncomingMessage['headers'] }[];

beforeAll(async () => {
  const authority = createAuthority('Gantry test CA');
  certificate = authority.certificate;
  identity = authority.issue(['localhost', '127.0.0.1']);
  const handler = (request: IncomingMessage, response: ServerResponse) => {
    const { pathname } = new URL(request.url ?? '/', 'https://localhost');
    const path = pathname.replace('/v2/team/app/', '');
    seen.push({ path, method: request.method ?? '', headers: request.headers });
    const page = pages[path];
    if (page === undefined) return void response.writeHead(404).end();
    return page(request, response);
  };
  server = await startHttpsServer(identity, handler);
  elsewhere = await startHttpsServer(identity, handler);
});
afterAll(async () => {
  await server.close();
  await elsewhere.close();
});
beforeEach(() => {
  pages = {};
  seen = [];
  client = new RegistryClient('');
  const ca = join(client.directory, 'ca.pem');
  writeFileSync(ca, certificate);
  client = new RegistryClient(ca);
});

const name = () => `localhost:${server.port}/team/app`;
const manifest = (reference = '1.0') =>
  client.read(name(), (source) =>
    source.manifest(reference.includes(':') ? parseDigest(reference) : reference),
  );
const blob = (expected: OciBlob, target = new Collected()) =>
  client.read(name(), async (source) => {
    await source.blob(descriptorOf(expected), target);
    return target;
  });
const served = ({ bytes, mediaType }: OciBlob, headers: Record<string, string> = {}) =>
  body(bytes, { 'content-type': mediaType, ...headers });

describe('a registry', () => {
  it('that is busy is asked again when it says so', async () => {
    const busy = status(429, { 'retry-after': '0' });
    pages = { 'manifests/1.0': inTurn(busy, busy, served(image.root)) };
    expect((await manifest())?.digest).toEqual(parseDigest(image.root.digest));
    expect(seen).toHaveLength(3);
  });

  it('that stays busy is given up, in its own words', async () => {
    const errors = { errors: [{ code: 'TOOMANYREQUESTS', message: 'slow\ndown \u202e' }] };
    pages = {
      'manifests/1.0': (_, response) => {
        response.writeHead(429, { 'content-type': 'application/json' });
        response.end(JSON.stringify(errors));
      },
    };
    await expect(manifest()).rejects.toThrow(
      `docker://${name()}: the manifest "1.0": status 429: TOOMANYREQUESTS: "slow\\ndown \\u{202e}"`,
    );
    expect(seen).toHaveLength(3);
  });

  it('that gives another manifest than the digest asked for is refused', async () => {
    pages = { [`manifests/${image.root.digest}`]: served(content) };
    await expect(manifest(image.root.digest)).rejects.toThrow(
      `the manifest "${image.root.digest}" was asked for, but what came has the digest ${content.digest}`,
    );
  });

  it('that contradicts itself about a digest is refused', async () => {
    pages = { 'manifests/1.0': served(image.root, { 'docker-content-digest': content.digest }) };
    await expect(manifest()).rejects.toThrow(/was announced as sha256:.*what came has the digest/);
  });

  it('with a manifest without end is cut off', async () => {
    pages = {
      'manifests/1.0': (_, response) => {
        response.writeHead(200, { 'content-type': MEDIA_TYPES.manifest });
        const piece = Buffer.alloc(1 << 20, ' ');
        const more = () => {
          while (response.write(piece)) if (response.destroyed) return;
        };
        response.on('drain', more);
        more();
      },
    };
    await expect(manifest()).rejects.toThrow(/larger than the 4194304 bytes it may have/);
  });

  it('that does not speak the protocol is not believed to have nothing', async () => {
    pages = { 'manifests/1.0': status(200) };
    const found = await manifest();
    expect(found?.bytes).toHaveLength(0);
    pages = { 'manifests/1.0': status(410) };
    await expect(manifest()).rejects.toThrow(/the manifest "1.0": status 410/);
  });
});

describe('a blob', () => {
  const path = `blobs/${content.digest}`;

  it('is taken up where the connection broke', async () => {
    const rest: Handler = (request, response) => {
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
      response.writeHead(206, {
        'content-length': String(content.size - from),
        'content-range': `bytes ${from}-${content.size - 1}/${content.size}`,
      });
      response.end(content.bytes.subarray(from));
    };
    pages = { [path]: inTurn(cutOff(content.bytes, 40_000), rest) };
    const target = await blob(content);
    expect(target.digest).toBe(content.digest);
    expect(target.restarts).toBe(0);
    expect(seen.at(-1)?.headers['if-range']).toBeUndefined();
  });

  it('starts over where the server knows no ranges', async () => {
    pages = { [path]: inTurn(cutOff(content.bytes, 40_000), served(content)) };
    const target = await blob(content);
    expect(target.digest).toBe(content.digest);
    expect(target.restarts).toBe(1);
  });

  it.each([
    ['more', Buffer.concat([content.bytes, Buffer.from('!')])],
    ['less', content.bytes.subarray(1)],
  ])('that is announced with %s bytes is refused before any comes', async (_, bytes) => {
    pages = { [path]: body(bytes) };
    const target = new Collected();
    await expect(blob(content, target)).rejects.toThrow(
      `the server announces ${bytes.length} bytes of what has ${content.size}`,
    );
    expect(target.bytes).toHaveLength(0);
    expect(seen).toHaveLength(1);
  });

  it.each([
    ['longer', Buffer.concat([content.bytes, Buffer.from('!')]), /more bytes than the 100000/],
    ['shorter', content.bytes.subarray(1), /99999 bytes came of the 100000/],
  ])('that is %s than its descriptor without saying so is refused', async (_, bytes, message) => {
    pages = {
      [path]: (_request, response) => {
        response.writeHead(200);
        response.end(bytes);
      },
    };
    await expect(blob(content)).rejects.toThrow(message);
  });

  it('is fetched from the storage that the registry names, which is shown no credentials', async () => {
    const credentials = { user: 'me', password: 'secret' };
    client.configure('dockerAuth', {
      registries: [`localhost:${server.port}`, `localhost:${elsewhere.port}`],
      credentials,
    });
    pages = {
      [path]: (request, response) =>
        request.headers.authorization === undefined
          ? void response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
          : redirect(`https://localhost:${elsewhere.port}/storage?signature=s`, 307)(
              request,
              response,
            ),
      '/storage': served(content),
    };
    expect((await blob(content)).digest).toBe(content.digest);
    expect(seen.map((one) => [one.path, one.headers.authorization !== undefined])).toEqual([
      [path, false],
      [path, true],
      ['/storage', false],
    ]);
  });

  it('that is a document is held against its size and digest', async () => {
    const small = blobOf('text/plain', 'small');
    const document = (expected: OciBlob, limit = 100) =>
      client.read(name(), (source) => source.document(descriptorOf(expected), limit));
    pages = { [`blobs/${small.digest}`]: body('SMALL') };
    await expect(document(small)).rejects.toThrow(/but what came has the digest/);
    pages = { [`blobs/${small.digest}`]: body('smal') };
    await expect(document(small)).rejects.toThrow('has 4 bytes, not 5');
    pages = { [`blobs/${small.digest}`]: body('small and more') };
    await expect(document(small)).rejects.toThrow('larger than the 5 bytes it may have');
    await expect(document(small, 4)).rejects.toThrow('has 5 bytes, and only 4 are taken');
  });
});

describe('a token server', () => {
  const challenge =
    (realm: string): Handler =>
    (request, response) => {
      if (request.headers.authorization?.startsWith('Bearer '))
        return served(image.root)(request, response);
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="s"` }).end();
    };
  const token = (value: unknown): Handler => body(JSON.stringify(value));
  beforeEach(() => {
    client.configure('dockerAuth', {
      registries: [`localhost:${server.port}`],
      credentials: { user: 'me', password: 'hunter2' },
    });
    pages['manifests/1.0'] = challenge(`https://localhost:${elsewhere.port}/token`);
  });

  it('may be another host, and is shown the password by Basic', async () => {
    pages['/token'] = token({ access_token: 'abc' });
    expect(await manifest()).toBeDefined();
    const basic = `Basic ${Buffer.from('me:hunter2').toString('base64')}`;
    expect(seen.map(({ path, headers }) => [path, headers.authorization])).toEqual([
      ['manifests/1.0', undefined],
      ['/token', basic],
      ['manifests/1.0', 'Bearer abc'],
    ]);
  });

  it('that redirects to another host is not followed', async () => {
    pages['/token'] = redirect('https://127.0.0.1:9/steal');
    await expect(manifest()).rejects.toThrow(
      `docker://${name()}: the token server redirects to https://127.0.0.1:9, and credentials go nowhere but to https://localhost:${elsewhere.port}: refused`,
    );
  });

  it('over plain http is never asked', async () => {
    pages['manifests/1.0'] = challenge('http://auth.example/token');
    await expect(manifest()).rejects.toThrow(
      /its token server http:\/\/auth.example speaks plain http: refused/,
    );
  });

  it.each([
    ['is not JSON', body('token=abc'), /not valid JSON$/],
    ['has no token', token({ expires_in: 60 }), /token: is required/],
    ['would break a header', token({ token: 'a\r\nx-evil: 1' }), /token: is no token/],
    ['is huge', body(Buffer.alloc(70_000, ' ')), /larger than the 65536 bytes/],
    [
      'is a refusal',
      status(403),
      /refuses the credentials: status 403: the credentials for .* are not enough/,
    ],
  ])('whose answer %s is refused, without a secret', async (_, page, message) => {
    pages['/token'] = page;
    const failure = await manifest().then(
      () => new Error('accepted'),
      (error: Error) => error,
    );
    expect(failure.message).toMatch(message);
    expect(failure.message).not.toMatch(/hunter2|abc/);
  });

  it('gives tokens that are used until they run out, and then is asked again', async () => {
    pages['/token'] = inTurn(token({ token: 'a', expires_in: 0.05 }), token({ token: 'b' }));
    await client.read(name(), async (source) => {
      await source.manifest('1.0');
      await new Promise((resolve) => setTimeout(resolve, 60));
      await source.manifest('1.0');
      await source.manifest('1.0');
    });
    expect(
      seen.map(({ headers }) => headers.authorization).filter((one) => one?.startsWith('Bearer')),
    ).toEqual(['Bearer a', 'Bearer b', 'Bearer b']);
  });

  it('is asked once by requests that are turned away together', async () => {
    pages['/token'] = token({ token: 'a' });
    await client.read(name(), (source) =>
      Promise.all([source.manifest('1.0'), source.manifest('1.0'), source.manifest('1.0')]),
    );
    expect(seen.filter(({ path }) => path === '/token')).toHaveLength(1);
  });

  it('whose token the registry does not take is not asked for ever', async () => {
    pages['/token'] = token({ token: 'a' });
    pages['manifests/1.0'] = (_, response) => {
      const realm = `https://localhost:${elsewhere.port}/token`;
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}"` }).end();
    };
    await expect(manifest()).rejects.toThrow(/the manifest "1.0": status 401/);
    expect(seen.length).toBeLessThan(6);
  });

  it('is posted an identity token', async () => {
    const auths = { [`localhost:${server.port}`]: { identitytoken: 'refresh-me' } };
    const path = join(client.directory, 'config.json');
    writeFileSync(path, JSON.stringify({ auths }));
    client = new RegistryClient(client.context().env['SSL_CERT_FILE'] ?? '');
    let form = '';
    pages['/token'] = async (request, response) => {
      for await (const piece of request) form += piece;
      response.end('{"access_token":"abc"}');
    };
    const env = { ...client.context().env, REGISTRY_AUTH_FILE: path };
    const found = await client.read(name(), (source) => source.manifest('1.0'), { env });
    expect(found).toBeDefined();
    expect(Object.fromEntries(new URLSearchParams(form))).toEqual({
      grant_type: 'refresh_token',
      client_id: 'gantry',
      refresh_token: 'refresh-me',
      scope: 'repository:team/app:pull',
      service: 's',
    });
    expect(seen.find((one) => one.path === '/token')?.headers.authorization).toBeUndefined();
  });
});

describe('the referrers API', () => {
  const subject = image.root.digest;
  const listOf = (...texts: string[]) =>
    documentOf(MEDIA_TYPES.index, {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.index,
      manifests: texts.map((text) => pointerTo(blobOf(MEDIA_TYPES.manifest, text))),
    });
  const referrers = () => client.read(name(), (source) => source.referrers(parseDigest(subject)));

  it('is read page by page', async () => {
    const next = `/v2/team/app/more?n=1`;
    pages = {
      [`referrers/${subject}`]: served(listOf('a'), { link: `<${next}>; rel="next"` }),
      more: served(listOf('b', 'c')),
    };
    expect(await referrers()).toHaveLength(3);
  });

  it('that pages for ever is cut off', async () => {
    const link = { link: `</v2/team/app/referrers/${subject}>; rel="next"` };
    pages = { [`referrers/${subject}`]: served(listOf('a'), link) };
    await expect(referrers()).rejects.toThrow(/is more than 2000 manifests/);
  });

  it('that fails is not an empty list', async () => {
    pages = { [`referrers/${subject}`]: status(500) };
    await expect(referrers()).rejects.toThrow(/status 500/);
  });

  it('that is not there is answered by the tag, and by nothing where that is not there either', async () => {
    expect(await referrers()).toEqual([]);
    pages = { [`manifests/${subject.replace(':', '-')}`]: served(listOf('a')) };
    expect(await referrers()).toHaveLength(1);
    pages = { [`manifests/${subject.replace(':', '-')}`]: served(image.root) };
    await expect(referrers()).rejects.toThrow(/is not an index/);
  });
});

describe('putting a blob', () => {
  it('refuses content that is not what its digest says, and sends no credentials elsewhere', async () => {
    client.configure('dockerAuth', {
      registries: [`localhost:${server.port}`],
      credentials: { user: 'me', password: 'hunter2' },
    });
    const received = createHash('sha256');
    pages = {
      'blobs/uploads/': (request, response) =>
        request.headers.authorization === undefined
          ? void response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
          : void response
              .writeHead(202, { location: `https://localhost:${elsewhere.port}/upload` })
              .end(),
      '/upload': async (request, response) => {
        for await (const piece of request) received.update(piece);
        response.writeHead(201).end();
      },
    };
    const put = (bytes: Buffer) =>
      client.write(name(), (destination) =>
        destination.putBlob(descriptorOf(content), once(bytes)),
      );
    await put(content.bytes);
    expect(received.digest('hex')).toBe(parseDigest(content.digest).hex);
    expect(seen.at(-1)?.headers.authorization).toBeUndefined();
    const spoiled = Buffer.from(content.bytes);
    spoiled[7] = 0;
    await expect(put(spoiled)).rejects.toThrow(/what came has the digest sha256:/);
    await expect(put(content.bytes.subarray(1))).rejects.toThrow(/it has 99999 bytes, not 100000/);
  });
});
