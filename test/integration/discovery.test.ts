import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { secure } from '../../src/config/insecure.ts';
import type { TransportContext } from '../../src/fetch/context.ts';
import { Discovery } from '../../src/fetch/discovery.ts';
import { Transport } from '../../src/fetch/transport.ts';
import { body, inTurn, redirect, status, World } from './fetch-world.ts';

let world: World;
beforeAll(async () => {
  world = await World.open();
});
afterAll(() => world.close());

const http = { ...secure, http: true };
const labels = new Map([
  ['version', '1.0.0'],
  ['os', 'linux'],
  ['arch', 'amd64'],
]);

async function discover<T>(
  use: (discovery: Discovery) => Promise<T>,
  changes: Partial<TransportContext> = {},
): Promise<T> {
  const context = world.context(changes);
  const transport = new Transport(context);
  try {
    return await use(new Discovery(context, transport));
  } finally {
    await transport.close();
  }
}

async function endpoints(
  name: string,
  changes: Partial<TransportContext> = {},
  asked: ReadonlyMap<string, string> = labels,
): Promise<string[]> {
  const found = await discover((discovery) => discovery.findEndpoints(name, asked), changes);
  return found.flatMap(({ image, signature }) => [image.href, signature.href]);
}

async function keys(prefix: string, changes: Partial<TransportContext> = {}): Promise<string[]> {
  const found = await discover((discovery) => discovery.findKeys(prefix), changes);
  return found.map(({ href }) => href);
}

function page(...tags: (readonly [kind: string, content: string])[]) {
  const metas = tags.map(([kind, content]) => `<meta name="${kind}" content="${content}">`);
  return body(`<!doctype html><html><head>${metas.join('\n')}</head><body>hello</body></html>`);
}

const template = 'https://files.example.com/{name}-{version}-{os}-{arch}.{ext}';
const image = 'https://files.example.com/example.com/team/app-1.0.0-linux-amd64.aci';

describe('meta discovery of images', () => {
  it('asks the page of the name itself first', async () => {
    world.serve({ 'example.com/team/app': page(['ac-discovery', `example.com ${template}`]) });
    expect(await endpoints('example.com/team/app')).toEqual([image, `${image}.asc`]);
    expect(world.places).toEqual(['example.com/team/app']);
    expect(world.proxy.requests).toEqual(['CONNECT example.com:443']);
  });

  it('walks up where a page is missing or has no tag', async () => {
    world.serve({
      'example.com/team': page(),
      'example.com/': page(['ac-discovery', `example.com ${template}`]),
    });
    expect((await endpoints('example.com/team/app'))[0]).toBe(image);
    expect(world.places).toEqual(['example.com/team/app', 'example.com/team', 'example.com/']);
  });

  it('says once what it did not find, and where', async () => {
    world.serve({
      'example.com/team': page(),
      'example.com/': page(['ac-discovery', `example.com ${template}`]),
    });
    await endpoints('example.com/team/app');
    expect(world.report.lines).toEqual([
      'image: https://example.com/team/app?ac-discovery=1: bad HTTP status code: 404',
      "image: meta tag 'ac-discovery' not found on example.com/team",
    ]);
  });

  it('walks on past tags for another prefix', async () => {
    world.serve({
      'example.com/team/app': page(['ac-discovery', `example.com/te ${template}`]),
      'example.com/': page(['ac-discovery', `example.com/team ${template}`]),
    });
    expect((await endpoints('example.com/team/app'))[0]).toBe(image);
  });

  it('skips templates with a variable it has no label for', async () => {
    world.serve({
      'example.com/team/app': page(
        ['ac-discovery', 'example.com https://files.example.com/{flavour}/{name}.{ext}'],
        ['ac-discovery', `example.com ${template}`],
      ),
    });
    expect(await endpoints('example.com/team/app')).toEqual([image, `${image}.asc`]);
  });

  it('fills a variable from any label asked for', async () => {
    world.serve({
      'example.com/app': page([
        'ac-discovery',
        'example.com https://files.example.com/{flavour}.{ext}',
      ]),
    });
    const asked = new Map([...labels, ['flavour', 'mint']]);
    expect((await endpoints('example.com/app', {}, asked))[0]).toBe(
      'https://files.example.com/mint.aci',
    );
  });

  it('looks for the version "latest" where none is asked for', async () => {
    world.serve({
      'example.com/app': page([
        'ac-discovery',
        'example.com https://files.example.com/{version}.{ext}',
      ]),
    });
    expect((await endpoints('example.com/app', {}, new Map()))[0]).toBe(
      'https://files.example.com/latest.aci',
    );
  });

  it('follows redirects of the page', async () => {
    world.serve({
      'example.com/app': redirect('https://other.example.net/about'),
      'other.example.net/about': page(['ac-discovery', `example.com ${template}`]),
    });
    expect((await endpoints('example.com/app'))[0]).toContain('https://files.example.com/');
  });

  it('tries a page again on a transient status', async () => {
    world.serve({
      'example.com/app': inTurn(status(503), page(['ac-discovery', `example.com ${template}`])),
    });
    expect((await endpoints('example.com/app'))[0]).toContain('https://files.example.com/');
  });

  it('passes over schemes it does not speak', async () => {
    world.serve({
      'example.com/team/app': page(
        ['ac-discovery', 'example.com hdfs://files.example.com/{name}.{ext}'],
        ['ac-discovery', `example.com ${template}`],
      ),
    });
    expect(await endpoints('example.com/team/app')).toEqual([image, `${image}.asc`]);
  });

  it('falls back to the simple template where no page says anything', async () => {
    world.serve({ 'example.com/': body('<html><title>welcome</title></html>') });
    const simple = 'https://example.com/team/app-1.0.0-linux-amd64.aci';
    expect(await endpoints('example.com/team/app')).toEqual([simple, `${simple}.asc`]);
  });

  it('stops at a host that cannot be reached, saying so', async () => {
    world.serve({});
    await expect(endpoints('unknown.example.org/team/app')).rejects.toMatchObject({
      code: 'discovery',
      message: expect.stringMatching(
        /^discovery failed for "unknown.example.org\/team\/app": https:\/\/unknown.example.org\/team\/app\?ac-discovery=1: .*403/,
      ),
    });
    expect(world.proxy.requests.length).toBe(1);
  });
});

describe('a name that begins with no host', () => {
  it('is an error that says so', async () => {
    world.serve({});
    await expect(endpoints('app-1.2')).rejects.toThrow(
      'discovery failed for "app-1.2": "app-1.2" is not the name of a host',
    );
  });
});

describe('plain http', () => {
  it('is not asked without --insecure-options=http', async () => {
    world.serve({});
    await expect(endpoints('unknown.example.org/app')).rejects.toThrow();
    expect(world.proxy.requests.join()).not.toContain('http://');
  });

  it('is asked with it, after https', async () => {
    let turn = 0;
    const httpOnly = page(['ac-discovery', `example.com ${template}`]);
    world.serve({
      'example.com/app': (request, response) =>
        turn++ === 0 ? status(404)(request, response) : httpOnly(request, response),
    });
    expect((await endpoints('example.com/app', { insecure: http }))[0]).toContain(
      'files.example.com',
    );
    expect(world.proxy.requests).toEqual([
      'CONNECT example.com:443',
      'GET http://example.com/app?ac-discovery=1',
    ]);
  });

  it('endpoints are refused without it, saying what would allow them', async () => {
    const plain = template.replace('https', 'http');
    world.serve({ 'example.com/app': page(['ac-discovery', `example.com ${plain}`]) });
    await expect(endpoints('example.com/app')).rejects.toThrow(/--insecure-options=http/);
    expect((await endpoints('example.com/app', { insecure: http }))[0]).toMatch(/^http:/);
  });

  it('endpoints come after https ones', async () => {
    const plain = template.replace('https', 'http');
    world.serve({
      'example.com/app': page(
        ['ac-discovery', `example.com ${plain}`],
        ['ac-discovery', `example.com ${template}`],
      ),
    });
    const found = await endpoints('example.com/app', { insecure: http });
    expect(found.map((url) => url.slice(0, 5))).toEqual(['https', 'https', 'http:', 'http:']);
  });
});

describe('discovery of public keys', () => {
  const location = 'https://example.com/pubkeys.gpg';

  it('gives every location that speaks for the prefix', async () => {
    world.serve({
      'example.com/team': page(
        ['ac-discovery-pubkeys', `example.com ${location}`],
        ['ac-discovery-pubkeys', 'example.com/team https://files.example.com/team.gpg'],
        ['ac-discovery-pubkeys', 'example.com/other https://files.example.com/other.gpg'],
        ['ac-discovery', `example.com ${template}`],
      ),
    });
    expect(await keys('example.com/team')).toEqual([
      location,
      'https://files.example.com/team.gpg',
    ]);
  });

  it('walks up past pages that only know images', async () => {
    world.serve({
      'example.com/team': page(['ac-discovery', `example.com ${template}`]),
      'example.com/': page(['ac-discovery-pubkeys', `example.com ${location}`]),
    });
    expect(await keys('example.com/team')).toEqual([location]);
  });

  it('fails where no page knows any', async () => {
    world.serve({ 'example.com/': page() });
    await expect(keys('example.com/team')).rejects.toThrow(
      /^discovery failed for "example.com\/team": .*404.*'ac-discovery-pubkeys' not found on example.com$/,
    );
  });
});
