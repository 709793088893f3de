import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { constants, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Handler } from '../../examples/quickstart/https-server.ts';
import type { ImageRecord } from '../../src/image/image-record.ts';
import { MEDIA_TYPES } from '../../src/image/oci-manifest.ts';
import type { Store } from '../../src/store/store.ts';
import { ended } from '../support/ended.ts';
import {
  blobOf,
  imageOf,
  layerOf,
  layerOfTar,
  type OciLayer,
  writeLayout,
} from '../support/oci-image.ts';
import { needs, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { tarOf } from '../unit/store/image-archive.ts';
import { filesIn } from './fetch-images.ts';
import { body, cutOff, inTurn } from './fetch-world.ts';
import { HandRegistry } from './hand-registry.ts';

beforeEach((context) => needs(context, root));

const gantry = join(import.meta.dirname, '../../bin/gantry');
const layers = (...names: string[]): OciLayer[] =>
  names.map((name) => layerOf([{ name, content: name.repeat(40_000) }], 'none'));

let registry: HandRegistry;
beforeAll(async () => {
  registry = await HandRegistry.open();
});
afterAll(() => registry?.close());

/** A layer of zstd that only one at a time may be unpacked of. */
function largeWindow(name: string): OciLayer {
  const tar = tarOf([{ name, content: Buffer.alloc(40 << 20, randomBytes(1 << 18)) }]);
  const params = { [constants.ZSTD_c_windowLog]: 25 };
  const { diffId } = layerOfTar(tar, 'none');
  return { ...blobOf(`${MEDIA_TYPES.layer}+zstd`, zstdCompressSync(tar, { params })), diffId };
}

/** The one layer of an image of one. */
function only([layer]: readonly OciLayer[]): OciLayer {
  if (layer === undefined) throw new Error('no layer');
  return layer;
}

function startFetch(store: Store, reference: string): ChildProcess {
  const { system, local } = registry.directories;
  const flags = [`--dir=${store.dir}`, `--system-config=${system}`, `--local-config=${local}`];
  return spawn(gantry, [...flags, '--insecure-options=image', 'fetch', '--full', reference], {
    env: { ...process.env, ...registry.environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Begins a layer and never ends it; tells when a client is in the middle of it. */
function neverEnding({ bytes }: OciLayer): { handler: Handler; reached: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const handler: Handler = (_, response) => {
    response.writeHead(200, { 'content-length': String(bytes.length) });
    response.write(bytes.subarray(0, bytes.length / 2), () => setTimeout(resolve, 200));
  };
  return { handler, reached: promise };
}

describe('a process that is told to stop while it pulls', () => {
  it.each([
    ['one layer', layers('only')],
    ['several layers', layers('a', 'b', 'c', 'd', 'e')],
    ['layers that wait for memory', ['x', 'y', 'z'].map(largeWindow)],
  ])('%s cleans up and dies of it', async (what, made) => {
    const reference = registry.serve(`stop/${what.replaceAll(' ', '-')}`, imageOf(made));
    let begun = 0;
    const underWay = new Promise<void>((resolve) => {
      for (const layer of made) {
        const { handler, reached } = neverEnding(layer);
        registry.override(layer, handler);
        // Two come at once on the smallest machine.
        void reached.then(() => ++begun === Math.min(2, made.length) && resolve());
      }
    });
    const store = registry.newStore();
    const child = startFetch(store, reference);
    const end = ended(child);
    await underWay;
    child.kill('SIGINT');
    expect((await end).signal).toBe('SIGINT');
    expect(filesIn(store)).toEqual([]);
  });

  it('leaves what others then bring whole, when it is killed', async () => {
    const made = layers('k1', 'k2');
    const image = imageOf(made);
    const reference = registry.serve('stop/killed', image);
    const { handler, reached } = neverEnding(only(made));
    registry.override(only(made), handler);
    const store = registry.newStore();
    const child = startFetch(store, reference);
    const end = ended(child);
    await reached;
    child.kill('SIGKILL');
    await end;
    expect(store.listImages()).toEqual([]);
    registry.serve('stop/killed', image);
    expect((await ended(startFetch(store, reference))).code).toBe(0);
    await Promise.all(store.listImages().map((record) => store.verifyImage(record)));
    await store.imageGc({ inUse: new Set(), graceSeconds: 3600 });
    expect(readdirSync(store.layout.staging)).toEqual([]);
  });
});

describe('two processes that pull at once', () => {
  /** Serves a layer only after a while, so that both are at it. */
  const slowly =
    ({ bytes }: OciLayer): Handler =>
    (request, response) =>
      void setTimeout(() => void body(bytes)(request, response), 700);

  it('the same image bring it once', async () => {
    const made = layers('same1', 'same2');
    const reference = registry.serve('both/same', imageOf(made));
    for (const layer of made) registry.override(layer, slowly(layer));
    const store = registry.newStore();
    const both = await Promise.all([
      ended(startFetch(store, reference)),
      ended(startFetch(store, reference)),
    ]);
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    expect(both[1]?.said).toBe(both[0]?.said);
    expect(made.map((layer) => registry.count(layer))).toEqual([1, 1]);
  });

  it('images that share layers both succeed, and share them', async () => {
    const shared = layers('shared1', 'shared2');
    const references = ['one', 'two'].map((name) =>
      registry.serve(`both/${name}`, imageOf([...shared, ...layers(name)])),
    );
    for (const layer of shared) registry.override(layer, slowly(layer));
    const store = registry.newStore();
    const both = await Promise.all(references.map((one) => ended(startFetch(store, one))));
    expect(both.map(({ code, complained }) => [code, code === 0 ? '' : complained])).toEqual([
      [0, ''],
      [0, ''],
    ]);
    const records = store.listImages();
    expect(records).toHaveLength(2);
    for (const record of records) await store.verifyImage(record);
    const trees = readdirSync(store.layout.layers).filter((name) => !name.endsWith('.json'));
    expect(trees).toHaveLength(4);
  });
});

describe('a pull that shares layers with an image that is removed meanwhile', () => {
  const inUse = new Set<string>();

  it.each<[string, (store: Store, record: ImageRecord) => Promise<unknown>]>([
    ['by image rm', (store, { id }) => store.removeImage(id)],
    ['by image gc', (store) => store.imageGc({ inUse, graceSeconds: 0 })],
  ])('%s brings those, too', async (how, remove) => {
    const [shared, own] = [only(layers(`${how} shared`)), only(layers(`${how} own`))];
    const first = registry.serve('gone/first', imageOf([shared]));
    const second = registry.serve('gone/second', imageOf([shared, own]));
    const { store, record } = await registry.fetch(first);
    registry.override(own, async (request, response) => {
      if (store.getImage(record.id) !== undefined) await remove(store, record);
      return body(own.bytes)(request, response);
    });
    const { record: fetched } = await registry.fetch(second, store);
    await store.verifyImage(fetched);
    expect(registry.count(shared)).toBe(2);
    expect(store.listImages().map(({ id }) => id)).toEqual([fetched.id]);
  });
});

describe('a layer whose connection breaks', () => {
  const ranged =
    (cut: number) =>
    ({ bytes }: OciLayer): Handler =>
    (request, response) => {
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
      const end = Math.min(bytes.length, from + cut);
      response.writeHead(from > 0 ? 206 : 200, {
        'content-length': String(bytes.length - from),
        ...(from > 0 && {
          'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}`,
        }),
      });
      response.write(bytes.subarray(from, end), () =>
        end === bytes.length ? response.end() : setTimeout(() => response.destroy(), 50),
      );
    };

  it('again and again is taken up each time, others beside it', async () => {
    const made = layers('r1', 'r2', 'r3');
    const reference = registry.serve('broken/ranged', imageOf(made));
    for (const layer of made) {
      registry.override(layer, ranged(Math.ceil(layer.size / 4))(layer));
    }
    const { store, record } = await registry.fetch(reference);
    await store.verifyImage(record);
    for (const layer of made) expect(registry.count(layer)).toBe(4);
  });

  it('again and again starts over where the server knows no ranges', async () => {
    const made = layers('n1', 'n2');
    const reference = registry.serve('broken/whole', imageOf(made));
    for (const layer of made) {
      const whole: Handler = (request, response) => {
        delete request.headers.range;
        return cutOff(layer.bytes, layer.size / 2)(request, response);
      };
      registry.override(layer, inTurn(whole, whole, body(layer.bytes)));
    }
    const { store, record } = await registry.fetch(reference);
    await store.verifyImage(record);
    for (const layer of made) expect(registry.count(layer)).toBe(3);
    expect(readdirSync(store.layout.staging)).toEqual([]);
  });
});

describe('a stored image that somebody changed', () => {
  const changed = (store: Store, { oci }: ImageRecord) => {
    const tree = oci?.layers[0]?.tree ?? '';
    writeFileSync(join(store.layout.layer(tree), 'base'), 'changed');
  };

  it.each(['registry', 'layout'])('is whole after fetching it again from a %s', async (kind) => {
    const [base, a, b] = layers('base', `${kind} a`, `${kind} b`);
    if (!base || !a || !b) throw new Error('three layers');
    const image = imageOf([base, a]);
    const other = registry.serve(`changed/other-${kind}`, imageOf([base, b]));
    const reference =
      kind === 'registry' ? registry.serve('changed/image', image) : layoutOf(image);
    const { store, record } = await registry.fetch(reference);
    const { record: sharing } = await registry.fetch(other, store);
    changed(store, record);
    await expect(store.verifyImage(record)).rejects.toThrow(/was changed.*; fetch it again$/);
    const { record: again } = await registry.fetch(reference, store);
    await store.verifyImage(again);
    await store.verifyImage(sharing);
    registry.report.lines.length = 0;
    await registry.fetch(other, store);
    expect(registry.report.lines.join('\n')).toContain('is unchanged, not fetching');
  });

  it('is whole after removing it and fetching it again, though another uses the layer', async () => {
    const [base, a, b] = layers('base', 'rm a', 'rm b');
    if (!base || !a || !b) throw new Error('three layers');
    const reference = registry.serve('changed/removed', imageOf([base, a]));
    const { store, record } = await registry.fetch(reference);
    await registry.fetch(registry.serve('changed/stays', imageOf([base, b])), store);
    changed(store, record);
    await expect(store.verifyImage(record)).rejects.toThrow(/fetch it again/);
    await store.removeImage(record.id);
    await store.verifyImage((await registry.fetch(reference, store)).record);
    await Promise.all(store.listImages().map((image) => store.verifyImage(image)));
  });

  it('in a document is whole after fetching it again', async () => {
    const reference = registry.serve('changed/document', imageOf(layers('document')));
    const { store, record } = await registry.fetch(reference);
    const config = record.oci?.config.digest;
    if (config !== undefined) writeFileSync(store.blobPath(config), '{}');
    await registry.fetch(reference, store);
    await store.verifyImage(record);
  });
});

function layoutOf(image: Parameters<typeof writeLayout>[1][string]): string {
  const directory = temporaryDirectory();
  writeLayout(directory, { 'example.com/changed:1': image });
  return `oci:${directory}`;
}
