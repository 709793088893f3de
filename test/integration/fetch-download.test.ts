import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GantryError } from '../../src/error.ts';
import { type DownloadTarget, download, type Validators } from '../../src/fetch/download.ts';
import { Transport } from '../../src/fetch/transport.ts';
import { body, cutOff, inTurn, quickPace, ranged, redirect, status, World } from './fetch-world.ts';

let world: World;
beforeAll(async () => {
  world = await World.open();
});
afterAll(() => world.close());

const url = new URL('https://example.com/app.aci');
const place = 'example.com/app.aci';
const content = randomBytes(300_000);
const etag = '"one"';

/** Keeps what it is given; slow where asked to be. */
class Memory implements DownloadTarget {
  chunks: Buffer[] = [];
  restarts = 0;
  slow = false;
  busy = false;

  write(chunk: Buffer): void | Promise<void> {
    if (this.busy) throw new Error('written to while busy');
    this.chunks.push(chunk);
    if (!this.slow) return undefined;
    this.busy = true;
    return new Promise((resolve) =>
      setTimeout(() => {
        this.busy = false;
        resolve();
      }, 2),
    );
  }

  async restart(): Promise<void> {
    this.restarts++;
    await new Promise((resolve) => setTimeout(resolve, 5));
    this.chunks = [];
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }
}

async function run(target: DownloadTarget, known: Validators = {}, signal?: AbortSignal) {
  const transport = new Transport(world.context({ signal }));
  try {
    return await download(transport, url, known, target, world.report);
  } finally {
    await transport.close();
  }
}

describe('a download', () => {
  it('gives every byte in order and reports its progress', async () => {
    world.serve({ [place]: body(content, { etag }) });
    const target = new Memory();
    const outcome = await run(target);
    expect(outcome.notModified).toBe(false);
    expect(target.bytes.equals(content)).toBe(true);
    expect(world.report.transfers).toEqual([
      { label: 'Downloading ACI', total: content.length, bytes: content.length, done: true },
    ]);
  });

  it('holds the next piece back while the target is busy', async () => {
    world.serve({ [place]: body(content) });
    const target = new Memory();
    target.slow = true;
    await run(target);
    expect(target.bytes.equals(content)).toBe(true);
  });

  it('works without an announced length', async () => {
    world.serve({
      [place]: (_, response) => {
        response.write(content.subarray(0, 1000));
        response.end(content.subarray(1000));
      },
    });
    const target = new Memory();
    await run(target);
    expect(target.bytes.equals(content)).toBe(true);
    expect(world.report.transfers[0]?.total).toBeUndefined();
  });

  it('takes the bytes as they lie on the server, whatever the encoding is called', async () => {
    world.serve({ [place]: body(content, { 'content-encoding': 'gzip' }) });
    const target = new Memory();
    await run(target);
    expect(target.bytes.equals(content)).toBe(true);
    expect(world.seen[0]?.headers['accept-encoding']).toBe('identity');
  });

  it('follows a redirect', async () => {
    world.serve({
      [place]: redirect('https://files.example.com/x'),
      'files.example.com/x': body(content),
    });
    const target = new Memory();
    await run(target);
    expect(target.bytes.equals(content)).toBe(true);
  });

  it('ends with what the target throws, and asks no second time', async () => {
    world.serve({ [place]: body(content) });
    const full = new GantryError('store', 'disk full');
    const failing = { write: () => Promise.reject(full), restart: async () => {} };
    await expect(run(failing)).rejects.toBe(full);
    const throwing = {
      write: () => {
        throw full;
      },
      restart: async () => {},
    };
    await expect(run(throwing)).rejects.toBe(full);
    expect(world.seen.length).toBe(2);
  });

  it('ends when the signal is given, and reports no more', async () => {
    const controller = new AbortController();
    world.serve({
      [place]: (_, response) => {
        response.writeHead(200, { 'content-length': '1000' });
        response.write(content.subarray(0, 10));
      },
    });
    const target = { write: () => controller.abort(), restart: async () => {} };
    const failure = run(target, {}, controller.signal);
    await expect(failure).rejects.toMatchObject({ code: 'interrupted' });
    expect(world.report.transfers[0]?.done).toBe(true);
  });

  it.each([404, 410, 401])('of a thing answered %i fails at once', async (code) => {
    world.serve({ [place]: status(code) });
    await expect(run(new Memory())).rejects.toThrow(`bad HTTP status code: ${code}`);
    expect(world.seen.length).toBe(1);
  });

  it('says where credentials go when the server wants some', async () => {
    world.serve({ [place]: status(401) });
    await expect(run(new Memory())).rejects.toThrow(
      'https://example.com/app.aci: bad HTTP status code: 401: put credentials for example.com into auth.d',
    );
  });

  it('tries again on a transient status', async () => {
    world.serve({ [place]: inTurn(status(503), status(500), body(content)) });
    const target = new Memory();
    await run(target);
    expect(target.bytes.equals(content)).toBe(true);
    expect(target.restarts).toBe(0);
  });

  it('refuses a part nobody asked for', async () => {
    world.serve({
      [place]: (_, response) => {
        response.writeHead(206, { 'content-range': 'bytes 0-9/100' });
        response.end('0123456789');
      },
    });
    const target = new Memory();
    await expect(run(target)).rejects.toThrow('bad HTTP status code: 206');
    expect(target.bytes.length).toBe(0);
  });
});

describe('an interrupted download', () => {
  const modified = 'Thu, 01 Jan 2026 00:00:00 GMT';

  it.each([
    ['a strong entity tag', { etag }, etag],
    ['the date of last change', { 'last-modified': modified }, modified],
    ['the entity tag of both', { etag, 'last-modified': modified }, etag],
  ])('is resumed where it stopped, by %s', async (_, headers, validator) => {
    world.serve({ [place]: inTurn(cutOff(content, 100_000, headers), ranged(content, headers)) });
    const target = new Memory();
    await run(target);
    expect(target.bytes.equals(content)).toBe(true);
    expect(target.restarts).toBe(0);
    const { range, 'if-range': ifRange } = world.seen[1]?.headers ?? {};
    expect(range).toMatch(/^bytes=\d+-$/);
    expect(Number(range?.slice(6, -1))).toBeGreaterThan(0);
    expect(ifRange).toBe(validator);
    expect(world.report.transfers.length).toBe(1);
    expect(world.report.transfers[0]?.bytes).toBe(content.length);
  });

  it('is resumed as often as there is progress', async () => {
    const cut = cutOff(content, 40_000, { etag });
    world.serve({ [place]: inTurn(cut, cut, cut, cut, cut, cut, ranged(content, { etag })) });
    const target = new Memory();
    await run(target);
    expect(target.bytes.equals(content)).toBe(true);
    expect(target.restarts).toBe(0);
  });

  it('is given up when no progress is made', async () => {
    const nothing = cutOff(content, 0, { etag });
    world.serve({ [place]: inTurn(cutOff(content, 100_000, { etag }), nothing) });
    await expect(run(new Memory())).rejects.toThrow(/before the whole body came|reset/);
    expect(world.seen.length).toBeLessThanOrEqual((quickPace.attempts ?? 0) + 1);
  });

  it('starts over when the entity tag changed meanwhile', async () => {
    const newer = randomBytes(200_000);
    world.serve({
      [place]: inTurn(cutOff(content, 100_000, { etag }), ranged(newer, { etag: '"two"' })),
    });
    const target = new Memory();
    await run(target);
    expect(target.restarts).toBe(1);
    expect(target.bytes.equals(newer)).toBe(true);
    expect(world.report.transfers[0]?.bytes).toBe(newer.length);
  });

  it('starts over when the rest that comes is of another version after all', async () => {
    const newer = randomBytes(content.length);
    const careless = cutOff(newer, newer.length, { etag: '"two"' });
    world.serve({
      [place]: inTurn(cutOff(content, 100_000, { etag }), careless, body(newer, { etag: '"two"' })),
    });
    const target = new Memory();
    await run(target);
    expect(target.bytes.equals(newer)).toBe(true);
  });

  it.each([
    ['another start', 'bytes 5-299999/300000'],
    ['another length', 'bytes 100000-299999/999999'],
    ['a gap at the end', 'bytes 100000-200000/300000'],
    ['no sense', 'pages 1-2'],
  ])('starts over when Content-Range has %s', async (_, range) => {
    world.serve({
      [place]: inTurn(
        cutOff(content, 100_000, { etag }),
        (_request, response) => {
          response.writeHead(206, { etag, 'content-range': range }).end(content.subarray(0, 100));
        },
        body(content, { etag }),
      ),
    });
    const target = new Memory();
    await run(target);
    expect(target.restarts).toBe(1);
    expect(target.bytes.equals(content)).toBe(true);
  });

  it.each([
    ['only a weak entity tag', { etag: 'W/"one"' }],
    ['no validator', {}],
    [
      'a date of last change as late as the answer',
      { 'last-modified': new Date(Date.now() + 9e6).toUTCString() },
    ],
    ['a refusal of ranges', { etag, 'accept-ranges': 'none' }],
  ])('starts over where there is %s', async (_, headers) => {
    world.serve({
      [place]: inTurn(cutOff(content, 100_000, headers), body(content, headers)),
    });
    const target = new Memory();
    await run(target);
    expect(target.restarts).toBe(1);
    expect(target.bytes.equals(content)).toBe(true);
    expect(world.seen[1]?.headers.range).toBeUndefined();
  });

  it('starts over when the range is not satisfiable any more', async () => {
    world.serve({
      [place]: inTurn(cutOff(content, 100_000, { etag }), status(416), body(content, { etag })),
    });
    const target = new Memory();
    await run(target);
    expect(target.restarts).toBe(1);
    expect(target.bytes.equals(content)).toBe(true);
  });
});

describe('a download of what may be stored already', () => {
  it('asks by entity tag, and takes 304 for an answer', async () => {
    world.serve({ [place]: status(304, { etag }) });
    const target = new Memory();
    const outcome = await run(target, { etag, lastModified: 'then' });
    expect(outcome.notModified).toBe(true);
    expect(target.chunks).toEqual([]);
    expect(world.seen[0]?.headers['if-none-match']).toBe(etag);
    expect(world.seen[0]?.headers['if-modified-since']).toBeUndefined();
    expect(world.report.transfers).toEqual([]);
  });

  it('asks by date where there is no entity tag', async () => {
    world.serve({ [place]: status(304) });
    expect((await run(new Memory(), { lastModified: 'then' })).notModified).toBe(true);
    expect(world.seen[0]?.headers['if-modified-since']).toBe('then');
  });

  it('refuses a 304 nobody asked for', async () => {
    world.serve({ [place]: status(304) });
    await expect(run(new Memory())).rejects.toThrow('bad HTTP status code: 304');
  });
});
