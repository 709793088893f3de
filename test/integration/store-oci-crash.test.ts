import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { Store } from '../../src/store/store.ts';
import { needs, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { type Member, wideLimits } from '../unit/store/image-archive.ts';
import { contentsOf } from './store-fixture.ts';
import { importOci, layerOf, type MadeLayer, workOf } from './store-oci-fixture.ts';

beforeEach((context) => needs(context, root));

const dir = (name: string, mode = 0o755): Member => ({ name, typeflag: '5', mode });
// The second layer goes through a directory of the first, and so is used in a variant.
const layers = [layerOf([dir('tmp/', 0o1777)]), layerOf([{ name: 'tmp/x', content: 'x' }])];

/** A process that dies of SIGKILL at its `stop`th rename, exchanges included; 0 never. */
async function diesAt(stop: number, dir: string, work: string): Promise<boolean> {
  const source = (path: string): string => new URL(path, import.meta.url).href;
  const script = join(temporaryDirectory(), 'script.mjs');
  writeFileSync(
    script,
    `import fs from 'node:fs';
       import { syncBuiltinESMExports } from 'node:module';
       const { system } = await import('${source('../../src/system/binding.ts')}');
       const { Store } = await import('${source('../../src/store/store.ts')}');
       let count = 0;
       const dying = (work) => (...words) => {
         if (++count === ${stop}) process.kill(process.pid, 'SIGKILL');
         return work(...words);
       };
       fs.renameSync = dying(fs.renameSync);
       system.renameAt = dying(system.renameAt);
       syncBuiltinESMExports();
       const { documents, facts, layers, force } = JSON.parse(fs.readFileSync('${work}', 'utf8'));
       const ingest = await Store.open('${dir}').beginOciIngest(${JSON.stringify(wideLimits)});
       for (const { descriptor, bytes } of documents) ingest.addDocument(descriptor, Buffer.from(bytes, 'base64'));
       for (const { descriptor, diffId, bytes } of layers) {
         if (!force && ingest.hasLayer({ descriptor, diffId })) continue;
         const intake = ingest.openLayer({ descriptor, diffId });
         await intake.write(Buffer.from(bytes, 'base64'));
         await intake.finish();
       }
       await ingest.commit(facts);`,
  );
  const child = spawn(process.execPath, [script], { stdio: ['ignore', 'ignore', 'inherit'] });
  const [code, signal] = await once(child, 'exit');
  expect(signal === 'SIGKILL' || code === 0).toBe(true);
  return signal === 'SIGKILL';
}

/** What such a process is to store. */
function workFile(made: readonly MadeLayer[], force = false): string {
  const path = join(temporaryDirectory(), 'work.json');
  writeFileSync(path, workOf(made, { force }));
  return path;
}

/** Lets processes die at their first rename, their second, and so on, until one lives. */
async function atEveryStep(
  work: string,
  prepare: (store: Store) => Promise<void>,
  check: (store: Store) => Promise<void>,
): Promise<number> {
  for (let stop = 1; ; stop++) {
    const store = Store.open(join(temporaryDirectory(), 'store'));
    await prepare(store);
    if (!(await diesAt(stop, store.dir, work))) return stop - 1;
    await check(store);
  }
}

describe('a process that dies while it stores an OCI image', () => {
  it('leaves what the next one makes whole, or what is collected', {
    timeout: 120_000,
  }, async () => {
    const steps = await atEveryStep(
      workFile(layers),
      async () => undefined,
      async (store) => {
        expect(store.listImages()).toEqual([]);
        const record = await importOci(store, layers);
        await store.verifyImage(record);
        await store.removeImage(record.id);
        await store.imageGc({ inUse: new Set(), graceSeconds: 0 });
        // A file that was being written may belong to somebody; that is collected an hour later.
        expect(contentsOf(store).filter((path) => !path.includes('/.new-'))).toEqual([]);
      },
    );
    // Three trees with their notes, four blobs, the record.
    expect(steps).toBe(11);
  });

  it('leaves an image that can be repaired, where it was repairing one', {
    timeout: 120_000,
  }, async () => {
    const other = [...layers, layerOf([{ name: 'tmp/other', content: 'other' }])];
    const changed = (store: Store) => {
      const tree = store.listImages()[0]?.oci?.layers[1]?.tree ?? '';
      return join(store.layout.layer(tree), 'tmp/x');
    };
    const steps = await atEveryStep(
      workFile(layers, true),
      async (store) => {
        await importOci(store, other, { name: 'r.example/other' });
        const record = await importOci(store, layers);
        writeFileSync(changed(store), 'changed');
        await expect(store.verifyImage(record)).rejects.toThrow(/fetch it again$/);
        expect(await store.isWhole(record)).toBe(false);
      },
      async (store) => {
        const record = await importOci(store, layers);
        await store.verifyImage(record);
        expect(await store.isWhole(record)).toBe(true);
        expect(readFileSync(changed(store), 'utf8')).toBe('x');
        for (const image of store.listImages()) await store.verifyImage(image);
      },
    );
    expect(steps).toBeGreaterThan(11);
  });
});
