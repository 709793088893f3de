import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Handler } from '../../examples/quickstart/https-server.ts';
import { secure } from '../../src/config/insecure.ts';
import { findCached } from '../../src/fetch/cached.ts';
import type { FetchContext } from '../../src/fetch/context.ts';
import { fetchImage } from '../../src/fetch/fetch.ts';
import { parseReference } from '../../src/image/reference.ts';
import { needs, root } from '../support/requirements.ts';
import { fetchContext, filesIn, type ImageParts, makeImage, Signer } from './fetch-images.ts';
import { body, cutOff, inTurn, ranged, redirect, status, World } from './fetch-world.ts';

// Files keep their owners, which only root may set.
beforeEach((context) => needs(context, root));

let world: World;
let maker: Signer;
let stranger: Signer;
beforeAll(async () => {
  world = await World.open();
  maker = await Signer.create('Maker');
  stranger = await Signer.create('Stranger');
  await maker.trustFor(world.directories, 'example.com/app');
  await maker.trustFor(world.directories, 'example.com/base');
});
afterAll(() => world.close());

const url = 'https://files.example.com/app.aci';
const place = 'files.example.com/app.aci';
const unchecked = { ...secure, image: true };

/** Serves an image with its signature at the usual place. */
async function served(parts: ImageParts = {}, headers: Record<string, string> = {}) {
  const image = await makeImage('example.com/app', parts);
  const signature = await maker.sign(image);
  world.serve({ [place]: ranged(image, headers), [`${place}.asc`]: body(signature) });
  return { image, signature };
}

function fetchUrl(context: FetchContext, signature?: string) {
  return fetchImage(parseReference(url), context, signature === undefined ? {} : { signature });
}

/** Serves images by name through discovery: `NAME-VERSION.aci` on another host. */
async function discoverable(images: Readonly<Record<string, Buffer>>, signer: Signer = maker) {
  const pages: Record<string, Handler> = {
    'example.com/': body(
      '<meta name="ac-discovery" content="example.com https://files.example.com/{name}-{version}.{ext}">' +
        '<meta name="ac-discovery-pubkeys" content="example.com https://example.com/keys.gpg">',
    ),
    'example.com/keys.gpg': body(signer.key),
  };
  for (const [path, image] of Object.entries(images)) {
    pages[`files.example.com/${path}.aci`] = body(image, { etag: `"${path}"` });
    pages[`files.example.com/${path}.aci.asc`] = body(await signer.sign(image));
  }
  world.serve(pages);
}

async function refusal(work: Promise<unknown>): Promise<{ code: string; message: string }> {
  const failure = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  return failure as { code: string; message: string };
}

describe('an image by URL', () => {
  it('is verified and stored with its source and who vouched', async () => {
    const { image } = await served({}, { etag: '"one"', 'cache-control': 'max-age=60' });
    const context = fetchContext(world);
    const record = await fetchUrl(context);
    expect(record.name).toBe('example.com/app');
    expect(record.blob.size).toBe(image.length);
    expect(record.source).toMatchObject({ url, etag: '"one"', expiresAt: expect.any(String) });
    expect(record.provenance).toMatchObject({ kind: 'openpgp', name: 'example.com/app' });
    expect(context.store.listImages().map(({ id }) => id)).toEqual([record.id]);
    expect(world.places).toEqual([`${place}.asc`, place]);
    expect(world.report.lines).toEqual([
      `image: remote fetching from URL "${url}"`,
      `image: fetching image from ${url}`,
      `image: downloading signature from ${url}.asc`,
      'image: signature verified:',
      '  Maker <maker@example.com>',
    ]);
    expect(filesIn(context.store).join()).not.toMatch(/fetch-|staging/);
  });

  it('is not asked for again while its Cache-Control lasts', async () => {
    await served({}, { 'cache-control': 'max-age=60' });
    const context = fetchContext(world);
    const record = await fetchUrl(context);
    world.serve({});
    expect((await fetchUrl(context)).id).toBe(record.id);
    expect(world.seen).toEqual([]);
    expect(world.report.lines).toContain(`image: image for ${url} isn't expired, not fetching.`);
  });

  it('is asked for with its entity tag, and 304 means the stored one', async () => {
    const { signature } = await served({}, { etag: '"one"' });
    const context = fetchContext(world);
    const record = await fetchUrl(context);
    world.serve({
      [place]: status(304, { etag: '"one"', 'cache-control': 'max-age=60' }),
      [`${place}.asc`]: body(signature),
    });
    expect((await fetchUrl(context)).id).toBe(record.id);
    expect(world.seen[1]?.headers['if-none-match']).toBe('"one"');
    world.serve({});
    // The 304 renewed how long the image may be used without asking.
    expect((await fetchUrl(context)).id).toBe(record.id);
    expect(context.store.listImages().length).toBe(1);
  });

  it('is replaced by a newer one', async () => {
    await served({ text: 'old' }, { etag: '"one"' });
    const context = fetchContext(world);
    const old = await fetchUrl(context);
    await served({ text: 'new' }, { etag: '"two"' });
    const newer = await fetchUrl(context);
    expect(newer.id).not.toBe(old.id);
    expect(context.store.findImage(parseReference(url))?.id).toBe(newer.id);
  });

  it('comes from the store with --pull-policy=new, without a request', async () => {
    await served();
    const context = fetchContext(world, { pullPolicy: 'new' });
    const record = await fetchUrl(context);
    world.serve({});
    expect((await fetchUrl(context)).id).toBe(record.id);
    expect(findCached(parseReference(url), context)?.id).toBe(record.id);
    expect(world.report.lines).toContain(`image: using image from local store for url ${url}`);
    expect(world.seen).toEqual([]);
  });

  it('is never asked for with --pull-policy=never', async () => {
    await served();
    const context = fetchContext(world, { pullPolicy: 'never' });
    expect(await refusal(fetchUrl(context))).toMatchObject({
      code: 'not-found',
      message: expect.stringContaining('the network is not to be asked'),
    });
    expect(world.seen).toEqual([]);
  });

  it('is verified now, if it was stored without a check', async () => {
    await served({}, { 'cache-control': 'max-age=60' });
    const context = fetchContext(world);
    const careless = await fetchUrl({ ...context, insecure: unchecked });
    expect(careless.provenance.kind).toBe('unverified');
    const careful = await fetchUrl(context);
    expect(careful.id).toBe(careless.id);
    expect(careful.provenance.kind).toBe('openpgp');
    expect(context.store.listImages().map(({ provenance }) => provenance.kind)).toEqual([
      'openpgp',
    ]);
  });

  it('needs no signature with --insecure-options=image, and says that nobody vouched', async () => {
    const image = await makeImage('example.com/app');
    world.serve({ [place]: body(image) });
    const record = await fetchUrl(fetchContext(world, { insecure: unchecked }));
    expect(record.provenance).toEqual({ kind: 'unverified', reason: expect.any(String) });
    expect(world.places).toEqual([place]);
    expect(world.report.lines).toContain('warning: image signature verification has been disabled');
  });

  it('is resumed when the connection breaks, and verified as one', async () => {
    const { image, signature } = await served();
    const headers = { etag: '"one"' };
    world.serve({
      [place]: inTurn(cutOff(image, 100, headers), ranged(image, headers)),
      [`${place}.asc`]: body(signature),
    });
    expect((await fetchUrl(fetchContext(world))).provenance.kind).toBe('openpgp');
    expect(world.seen[2]?.headers.range).toBe('bytes=100-');
  });

  it('starts over when it changed while the connection was broken', async () => {
    const { image } = await served({ text: 'old' });
    const newer = await makeImage('example.com/app', { text: 'new' });
    world.serve({
      [place]: inTurn(cutOff(image, 100, { etag: '"one"' }), ranged(newer, { etag: '"two"' })),
      [`${place}.asc`]: body(await maker.sign(newer)),
    });
    const context = fetchContext(world);
    expect((await fetchUrl(context)).blob.size).toBe(newer.length);
    expect(context.store.listImages().length).toBe(1);
  });

  it('may redirect to where it lies', async () => {
    const { image, signature } = await served();
    world.serve({
      [place]: redirect('https://other.example.net/blob?key=hidden'),
      'other.example.net/blob': body(image),
      [`${place}.asc`]: body(signature),
    });
    const record = await fetchUrl(fetchContext(world));
    expect(record.source.url).toBe(url);
  });

  it('keeps no user and password of its URL', async () => {
    await served();
    const context = fetchContext(world);
    const reference = parseReference('https://me:hidden@files.example.com/app.aci');
    const record = await fetchImage(reference, context);
    expect(JSON.stringify([record, world.report.lines])).not.toContain('hidden');
    expect(world.seen[1]?.headers.authorization).toMatch(/^Basic /);
  });
});

describe('a signature', () => {
  it('may come after the image when the server asks for that', async () => {
    const { image, signature } = await served();
    world.serve({
      [place]: body(image),
      [`${place}.asc`]: inTurn(status(202), body(signature)),
    });
    const record = await fetchUrl(fetchContext(world));
    expect(record.provenance.kind).toBe('openpgp');
    expect(world.places).toEqual([`${place}.asc`, place, `${place}.asc`]);
    expect(world.report.lines).toContain(
      'image: server requested deferring the signature download',
    );
  });

  it('that comes late is checked like every other', async () => {
    const { image } = await served();
    world.serve({
      [place]: body(image),
      [`${place}.asc`]: inTurn(status(202), body(await maker.sign(Buffer.from('other')))),
    });
    const context = fetchContext(world);
    expect(await refusal(fetchUrl(context))).toMatchObject({ code: 'bad-signature' });
    expect(filesIn(context.store)).toEqual([]);
  });

  it('that is put off for ever is a refusal', async () => {
    const { image } = await served();
    world.serve({ [place]: body(image), [`${place}.asc`]: status(202) });
    const context = fetchContext(world);
    expect((await refusal(fetchUrl(context))).message).toMatch(/deferred it again/);
    expect(filesIn(context.store)).toEqual([]);
  });

  it('that is not there is a refusal before the image is asked for', async () => {
    const { image } = await served();
    world.serve({ [place]: body(image) });
    const context = fetchContext(world);
    expect(await refusal(fetchUrl(context))).toMatchObject({
      code: 'untrusted',
      message: expect.stringMatching(/^error downloading the signature file: .*404/),
    });
    expect(world.places).toEqual([`${place}.asc`]);
    expect(filesIn(context.store)).toEqual([]);
  });

  it('that is too large is a refusal', async () => {
    const { image } = await served();
    world.serve({ [place]: body(image), [`${place}.asc`]: body(Buffer.alloc((1 << 20) + 1)) });
    const context = fetchContext(world);
    expect((await refusal(fetchUrl(context))).message).toMatch(
      /^error downloading the signature file: .*larger than the 1048576/,
    );
    expect(filesIn(context.store)).toEqual([]);
  });

  it('by a stranger is refused, and nothing is kept', async () => {
    const { image } = await served();
    world.serve({ [place]: body(image), [`${place}.asc`]: body(await stranger.sign(image)) });
    const context = fetchContext(world);
    expect(await refusal(fetchUrl(context))).toMatchObject({ code: 'untrusted' });
    expect(filesIn(context.store)).toEqual([]);
  });

  it('may be named: a path', async () => {
    const { image, signature } = await served();
    world.serve({ [place]: body(image) });
    const path = join(world.directory, 'elsewhere.sig');
    writeFileSync(path, signature);
    const record = await fetchUrl(fetchContext(world), path);
    expect(record.provenance.kind).toBe('openpgp');
    expect(world.places).toEqual([place]);
  });

  it('may be named: a URL', async () => {
    const { image, signature } = await served();
    world.serve({ [place]: body(image), 'other.example.net/sig': body(signature) });
    await fetchUrl(fetchContext(world), 'https://other.example.net/sig');
    expect(world.places).toEqual(['other.example.net/sig', place]);
  });

  it('named but missing is a refusal', async () => {
    await served();
    const failure = await refusal(fetchUrl(fetchContext(world), '/nonexistent/sig'));
    expect(failure.message).toMatch(
      /^error opening signature file \/nonexistent\/sig: no such file/,
    );
  });
});

describe('an image by name', () => {
  it('is discovered, verified and stored', async () => {
    await discoverable({ 'example.com/app-1.0.0': await makeImage('example.com/app') });
    const context = fetchContext(world);
    const record = await fetchImage(parseReference('example.com/app:1.0.0'), context);
    expect(record.source.url).toBe('https://files.example.com/example.com/app-1.0.0.aci');
    expect(world.report.lines).toContain('image: searching for app image example.com/app');
    expect(
      findCached(parseReference('example.com/app:1.0.0'), { ...context, pullPolicy: 'new' })?.id,
    ).toBe(record.id);
    expect(world.report.lines.at(-1)).toBe(
      'image: using image from local store for image name example.com/app:1.0.0',
    );
  });

  it('that may be meant for a registry is advised of how to say so', async () => {
    world.serve({});
    const context = fetchContext(world);
    await expect(
      fetchImage(parseReference('unknown.example.org/team/app:1.2'), context),
    ).rejects.toThrow(
      /; if it is an image in a registry, say docker:\/\/unknown\.example\.org\/team\/app:1\.2$/,
    );
    await expect(fetchImage(parseReference('unknown,version=1'), context)).rejects.toThrow(
      /^(?!.*docker:)/,
    );
  });

  it('is refused before its download when no trusted key can have signed it', async () => {
    await discoverable({ 'example.com/app-1.0.0': await makeImage('example.com/app') }, stranger);
    const context = fetchContext(world);
    const failure = await refusal(fetchImage(parseReference('example.com/app:1.0.0'), context));
    expect(failure).toMatchObject({ code: 'untrusted' });
    expect(failure.message).toMatch(/gantry trust/);
    expect(world.places).not.toContain('files.example.com/example.com/app-1.0.0.aci');
    expect(filesIn(context.store)).toEqual([]);
  });

  it('is not vouched for by a key trusted for a neighbour', async () => {
    await discoverable({ 'example.com/apple-1.0.0': await makeImage('example.com/apple') });
    const context = fetchContext(world);
    const failure = await refusal(fetchImage(parseReference('example.com/apple:1.0.0'), context));
    expect(failure).toMatchObject({ code: 'untrusted' });
    expect(filesIn(context.store)).toEqual([]);
  });

  it('must carry the name asked for', async () => {
    await discoverable({ 'example.com/app-1.0.0': await makeImage('example.com/base') });
    const context = fetchContext(world);
    const failure = await refusal(fetchImage(parseReference('example.com/app:1.0.0'), context));
    expect(failure.message).toContain(
      'error when reading the app name: "example.com/app" expected but "example.com/base" found',
    );
    expect(filesIn(context.store)).toEqual([]);
  });

  it('must carry the labels asked for', async () => {
    const image = await makeImage('example.com/app', { labels: { version: '1.2.0' } });
    await discoverable({ 'example.com/app-2.0': image });
    const context = fetchContext(world);
    const failure = await refusal(fetchImage(parseReference('example.com/app:2.0'), context));
    expect(failure.message).toContain(
      'requested value for label "version": "2.0" differs from fetched aci label value: "1.2.0"',
    );
    expect(filesIn(context.store)).toEqual([]);
  });

  it('with one byte changed is refused for its signature, and nothing is kept', async () => {
    const image = await makeImage('example.com/app');
    await discoverable({ 'example.com/app-1.0.0': image });
    const changed = Buffer.from(image);
    changed[changed.length >> 1] = (changed[changed.length >> 1] ?? 0) ^ 1;
    world.pages.set('files.example.com/example.com/app-1.0.0.aci', body(changed));
    const context = fetchContext(world);
    const failure = await refusal(fetchImage(parseReference('example.com/app:1.0.0'), context));
    expect(failure).toMatchObject({ code: 'bad-signature' });
    expect(filesIn(context.store)).toEqual([]);
  });

  it('signed but damaged is refused as such', async () => {
    const image = await makeImage('example.com/app');
    const truncated = image.subarray(0, image.length - 20);
    await discoverable({ 'example.com/app-1.0.0': truncated });
    const context = fetchContext(world);
    const failure = await refusal(fetchImage(parseReference('example.com/app:1.0.0'), context));
    expect(failure).toMatchObject({ code: 'invalid-archive' });
    expect(filesIn(context.store)).toEqual([]);
  });

  it('tries the next endpoint when the first fails, but not when it is refused', async () => {
    const image = await makeImage('example.com/app');
    await discoverable({ 'example.com/app-1.0.0': image });
    world.pages.set(
      'example.com/',
      body(
        '<meta name="ac-discovery" content="example.com https://gone.example.org/{name}.{ext}">' +
          '<meta name="ac-discovery" content="example.com https://files.example.com/{name}-{version}.{ext}">',
      ),
    );
    const record = await fetchImage(parseReference('example.com/app:1.0.0'), fetchContext(world));
    expect(record.name).toBe('example.com/app');
  });

  it('is a file of the working directory that is called so, if there is one', async () => {
    const image = await makeImage('example.com/app');
    const directory = mkdtempSync(join(tmpdir(), 'gantry-named-'));
    const before = process.cwd();
    world.serve({});
    try {
      process.chdir(directory);
      writeFileSync('app', image);
      writeFileSync('app.asc', await maker.sign(image));
      const context = fetchContext(world);
      const record = await fetchImage(parseReference('app'), context);
      expect(record.source).toEqual({ path: join(process.cwd(), 'app') });
      expect(findCached(parseReference('app'), { ...context, pullPolicy: 'new' })).toBeUndefined();
    } finally {
      process.chdir(before);
      rmSync(directory, { recursive: true });
    }
    expect(world.seen).toEqual([]);
  });
});

describe('keys of a name nobody is trusted for', () => {
  const reference = parseReference('example.com/new:1.0.0');

  async function withOwnTrust(changes: Partial<FetchContext>): Promise<FetchContext> {
    const local = mkdtempSync(join(world.directory, 'trust-'));
    await discoverable({ 'example.com/new-1.0.0': await makeImage('example.com/new') });
    return fetchContext(world, { directories: { ...world.directories, local }, ...changes });
  }

  it('are trusted unasked with --trust-keys-from-https', async () => {
    const context = await withOwnTrust({ trustKeysFromHttps: true });
    const record = await fetchImage(reference, context);
    expect(record.provenance).toMatchObject({
      rule: { scope: 'prefix', prefix: 'example.com/new' },
    });
    expect(world.report.lines.join('\n')).toMatch(
      /Trusting "https:\/\/example.com\/keys.gpg" for prefix "example.com\/new" without/,
    );
  });

  it('are trusted when the operator says yes', async () => {
    const asked: string[] = [];
    const reviewKey = async (prefix: string, keyUrl: string) => {
      asked.push(prefix, keyUrl);
      return true;
    };
    await fetchImage(reference, await withOwnTrust({ reviewKey }));
    expect(asked).toEqual(['example.com/new', 'https://example.com/keys.gpg']);
  });

  it('are not trusted when the operator says no', async () => {
    const context = await withOwnTrust({ reviewKey: async () => false });
    expect(await refusal(fetchImage(reference, context))).toMatchObject({ code: 'untrusted' });
    expect(filesIn(context.store)).toEqual([]);
  });

  it('are not even looked for where nobody can answer', async () => {
    const context = await withOwnTrust({});
    expect(await refusal(fetchImage(reference, context))).toMatchObject({ code: 'untrusted' });
    expect(world.places).not.toContain('example.com/keys.gpg');
  });

  it('are not trusted when certificates go unchecked', async () => {
    const insecure = { ...secure, tls: true };
    const context = await withOwnTrust({ trustKeysFromHttps: true, insecure });
    expect(await refusal(fetchImage(reference, context))).toMatchObject({ code: 'untrusted' });
    expect(world.places).not.toContain('example.com/keys.gpg');
  });
});

describe('dependencies', () => {
  const app = (...dependencies: { imageName: string; imageID?: string }[]) =>
    makeImage('example.com/app', { dependencies });
  const reference = parseReference('example.com/app:1.0.0');

  it('are fetched too, each verified under its own name', async () => {
    await discoverable({
      'example.com/app-1.0.0': await app(
        { imageName: 'example.com/base/a' },
        { imageName: 'example.com/base/b' },
      ),
      'example.com/base/a-latest': await makeImage('example.com/base/a', {
        dependencies: [{ imageName: 'example.com/base/b' }],
      }),
      'example.com/base/b-latest': await makeImage('example.com/base/b'),
    });
    const context = fetchContext(world, { pullPolicy: 'new' });
    const record = await fetchImage(reference, context);
    expect(record.name).toBe('example.com/app');
    expect(
      context.store
        .listImages()
        .map(({ name }) => name)
        .sort(),
    ).toEqual(['example.com/app', 'example.com/base/a', 'example.com/base/b']);
    expect(world.places.filter((path) => path.endsWith('b-latest.aci')).length).toBe(1);
  });

  it('that lack are fetched though the image itself is stored', async () => {
    await discoverable({
      'example.com/app-1.0.0': await app({ imageName: 'example.com/base/a' }),
      'example.com/base/a-latest': await makeImage('example.com/base/a'),
    });
    const context = fetchContext(world, { pullPolicy: 'new' });
    await fetchImage(reference, context);
    const base = context.store.listImages().find(({ name }) => name === 'example.com/base/a');
    expect(findCached(reference, context)?.name).toBe('example.com/app');
    await context.store.removeImage(base?.id ?? '');
    expect(findCached(reference, context)).toBeUndefined();
    await fetchImage(reference, context);
    expect(context.store.listImages().length).toBe(2);
  });

  it('must be the image of the digest given', async () => {
    await discoverable({
      'example.com/app-1.0.0': await app({
        imageName: 'example.com/base/a',
        imageID: `sha512-${'0'.repeat(128)}`,
      }),
      'example.com/base/a-latest': await makeImage('example.com/base/a'),
    });
    const failure = await refusal(fetchImage(reference, fetchContext(world)));
    expect(failure.message).toMatch(/dependency example.com\/base\/a: the image ID/);
  });

  it('that are not signed are refused', async () => {
    await discoverable({ 'example.com/app-1.0.0': await app({ imageName: 'example.com/base/a' }) });
    world.pages.set(
      'files.example.com/example.com/base/a-latest.aci',
      body(await makeImage('example.com/base/a')),
    );
    const failure = await refusal(fetchImage(reference, fetchContext(world)));
    expect(failure).toMatchObject({ code: 'untrusted' });
  });

  it('that go round in a circle are refused', async () => {
    await discoverable({
      'example.com/app-1.0.0': await app({ imageName: 'example.com/base/a' }),
      'example.com/base/a-latest': await makeImage('example.com/base/a', {
        dependencies: [{ imageName: 'example.com/base/b' }],
      }),
      'example.com/base/b-latest': await makeImage('example.com/base/b', {
        dependencies: [{ imageName: 'example.com/base/a' }],
      }),
    });
    const context = fetchContext(world, { pullPolicy: 'new' });
    expect((await refusal(fetchImage(reference, context))).message).toMatch(/depends on itself/);
    expect(findCached(reference, context)).toBeUndefined();
  });

  it('that go on without end are refused', async () => {
    const images: Record<string, Buffer> = {
      'example.com/app-1.0.0': await app({ imageName: 'example.com/base/0' }),
    };
    for (let n = 0; n < 20; n++) {
      images[`example.com/base/${n}-latest`] = await makeImage(`example.com/base/${n}`, {
        dependencies: [{ imageName: `example.com/base/${n + 1}` }],
      });
    }
    await discoverable(images);
    const failure = await refusal(fetchImage(reference, fetchContext(world)));
    expect(failure.message).toMatch(/deeper than 16/);
  });
});

describe('an image from a file', () => {
  it('is verified by the signature beside it', async () => {
    const image = await makeImage('example.com/app');
    const path = join(world.directory, 'app.aci');
    writeFileSync(path, image);
    writeFileSync(`${path}.asc`, await maker.sign(image));
    const context = fetchContext(world);
    world.serve({});
    const record = await fetchImage(parseReference(path), context);
    expect(record.source).toEqual({ path });
    expect(record.provenance.kind).toBe('openpgp');
    expect(world.report.lines[0]).toBe(`image: using image from file ${path}`);
  });

  it('is refused without a signature, unless that is allowed', async () => {
    const path = join(world.directory, 'unsigned.aci');
    writeFileSync(path, await makeImage('example.com/app'));
    const context = fetchContext(world);
    const failure = await refusal(fetchImage(parseReference(path), context));
    expect(failure).toMatchObject({ code: 'untrusted' });
    expect(failure.message).toMatch(
      /^error opening signature file .*unsigned.aci.asc: no such file/,
    );
    expect(filesIn(context.store)).toEqual([]);
    const record = await fetchImage(parseReference(path), { ...context, insecure: unchecked });
    expect(record.provenance.kind).toBe('unverified');
  });

  it.each([
    ['with signatures checked', {}],
    ['without', { insecure: unchecked }],
  ])('that is not there, or no file, is an error %s', async (name, how) => {
    const context = fetchContext(world, how);
    const missing = join(world.directory, 'missing.aci');
    expect((await refusal(fetchImage(parseReference(missing), context))).message).toMatch(
      /error opening ACI file .*missing.aci: no such file or directory/,
    );
    const link = join(world.directory, `link-${name.length}.aci`);
    symlinkSync(world.directory, link);
    expect((await refusal(fetchImage(parseReference(link), context))).message).toMatch(
      /error opening ACI file .*link-\d+.aci/,
    );
    expect(filesIn(context.store)).toEqual([]);
  });
});

describe('an image by id', () => {
  it('is the stored one', async () => {
    await served();
    const context = fetchContext(world);
    const record = await fetchUrl(context);
    const found = await fetchImage(parseReference(record.id.slice(0, 30)), context);
    expect(found.id).toBe(record.id);
    expect(world.report.lines.at(-1)).toBe(
      `image: using image from the store with hash ${record.id}`,
    );
  });

  it('that is not stored is an error', async () => {
    const failure = await refusal(fetchImage(parseReference('sha512-abcd'), fetchContext(world)));
    expect(failure).toMatchObject({ code: 'not-found' });
  });
});

describe('two fetches at once', () => {
  it('download once: the second finds what the first stored', async () => {
    const { image, signature } = await served();
    let downloads = 0;
    world.serve({
      [place]: (request, response) => {
        downloads++;
        setTimeout(() => body(image)(request, response), 300);
      },
      [`${place}.asc`]: body(signature),
    });
    const context = fetchContext(world);
    const records = await Promise.all([fetchUrl(context), fetchUrl(context)]);
    expect(records[0]?.id).toBe(records[1]?.id);
    expect(downloads).toBe(1);
    expect(world.report.lines).toContain(`image: waiting for another fetch of ${url}`);
    expect(filesIn(context.store).join()).not.toContain('.lock');
  });

  it('do not stop each other when the first fails', async () => {
    const { image, signature } = await served();
    world.serve({
      [place]: inTurn(
        (_, response) => void setTimeout(() => response.writeHead(404).end(), 200),
        body(image),
      ),
      [`${place}.asc`]: body(signature),
    });
    const context = fetchContext(world);
    const outcomes = await Promise.allSettled([fetchUrl(context), fetchUrl(context)]);
    expect(outcomes.map(({ status: outcome }) => outcome).sort()).toEqual([
      'fulfilled',
      'rejected',
    ]);
  });
});

describe('an interrupted fetch', () => {
  it('leaves nothing behind', async () => {
    const { image, signature } = await served();
    world.serve({
      [place]: (_, response) => {
        response.writeHead(200, { 'content-length': String(image.length) });
        response.write(image.subarray(0, 100));
      },
      [`${place}.asc`]: body(signature),
    });
    const controller = new AbortController();
    const context = fetchContext(world, { signal: controller.signal });
    setTimeout(() => controller.abort(), 200);
    expect(await refusal(fetchUrl(context))).toMatchObject({ code: 'interrupted' });
    expect(filesIn(context.store)).toEqual([]);
  });

  it('leaves nothing behind when it waited for another', async () => {
    await served();
    const context = fetchContext(world);
    const held = await import('../../src/fetch/fetch-lock.ts').then(({ lockFetch }) =>
      lockFetch(url, context),
    );
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 300);
    const waiting = fetchUrl({ ...context, signal: controller.signal });
    expect(await refusal(waiting)).toMatchObject({ code: 'interrupted' });
    await held.release();
    expect(filesIn(context.store)).toEqual([]);
  });
});
