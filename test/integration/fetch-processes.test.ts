import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Handler } from '../../examples/quickstart/https-server.ts';
import { Store } from '../../src/store/store.ts';
import { ended } from '../support/ended.ts';
import { needs, root } from '../support/requirements.ts';
import { filesIn, makeImage, Signer } from './fetch-images.ts';
import { body, World } from './fetch-world.ts';

// Files keep their owners, which only root may set.
beforeEach((context) => needs(context, root));

const gantry = join(import.meta.dirname, '../../bin/gantry');
const url = 'https://files.example.com/app.aci';
const place = 'files.example.com/app.aci';

let world: World;
let image: Buffer;
let signature: Buffer;
beforeAll(async () => {
  world = await World.open();
  const maker = await Signer.create('Maker');
  await maker.trustFor(world.directories, 'example.com/app');
  image = await makeImage('example.com/app');
  signature = await maker.sign(image);
});
afterAll(() => world.close());

let stores = 0;

function newStore(): Store {
  return Store.open(join(world.directory, `process-store-${++stores}`));
}

function startFetch(store: Store): ChildProcess {
  const { system, local } = world.directories;
  const flags = [`--dir=${store.dir}`, `--system-config=${system}`, `--local-config=${local}`];
  return spawn(gantry, [...flags, 'fetch', url], {
    env: { ...process.env, ...world.context().env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Begins the image and never ends it; tells when a client is in the middle of it. */
function neverEnding(): { handler: Handler; reached: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const handler: Handler = (_, response) => {
    response.writeHead(200, { 'content-length': String(image.length) });
    response.write(image.subarray(0, 100), () => setTimeout(resolve, 200));
  };
  return { handler, reached: promise };
}

describe('two processes that fetch the same image at once', () => {
  it('both succeed, with one download', async () => {
    let downloads = 0;
    world.serve({
      [place]: (request, response) => {
        downloads++;
        setTimeout(() => body(image)(request, response), 1000);
      },
      [`${place}.asc`]: body(signature),
    });
    const store = newStore();
    const both = await Promise.all([ended(startFetch(store)), ended(startFetch(store))]);
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    expect(both[0]?.said).toMatch(/^sha512-[0-9a-f]{32}\n$/);
    expect(both[1]?.said).toBe(both[0]?.said);
    expect(downloads).toBe(1);
  });
});

describe('a process that is told to stop while it fetches', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('by %s cleans up and dies of it', async (signal) => {
    const { handler, reached } = neverEnding();
    world.serve({ [place]: handler, [`${place}.asc`]: body(signature) });
    const store = newStore();
    const child = startFetch(store);
    const end = ended(child);
    await reached;
    child.kill(signal);
    expect((await end).signal).toBe(signal);
    expect(filesIn(store)).toEqual([]);
  });

  it('by SIGKILL stores nothing, and the next fetch takes over', async () => {
    const { handler, reached } = neverEnding();
    world.serve({ [place]: handler, [`${place}.asc`]: body(signature) });
    const store = newStore();
    const child = startFetch(store);
    const end = ended(child);
    await reached;
    child.kill('SIGKILL');
    await end;
    expect(store.listImages()).toEqual([]);
    world.serve({ [place]: body(image), [`${place}.asc`]: body(signature) });
    const next = await ended(startFetch(store));
    expect(next.complained).toContain(`image: waiting for another fetch of ${url}`);
    expect(next.code).toBe(0);
    expect(store.listImages().length).toBe(1);
  });
});
