import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { secure } from '../../src/config/insecure.ts';
import type { ImageRecord } from '../../src/image/image-record.ts';
import type { Store } from '../../src/store/store.ts';
import { recheckProvenance } from '../../src/trust/recheck.ts';
import { reverify } from '../../src/trust/reverification.ts';
import { imageOf, indexOf, layerOf } from '../support/oci-image.ts';
import { KeySigner, OciWorld } from './oci-world.ts';

const layer = layerOf([{ name: 'a', content: 'a' }]);
const image = imageOf([layer]);
const insecure = { ...secure, image: true };
const arm = imageOf([layer], { platform: { os: 'linux', architecture: 's390x' } });

let world: OciWorld;
const signer = new KeySigner();
beforeAll(async () => {
  world = await OciWorld.open();
});
afterAll(() => world?.close());
beforeEach(async () => {
  world.distrustAll();
  await world.trust(signer, `${world.registry.host}/trusted`);
});

const ask = (record: ImageRecord) =>
  recheckProvenance(record.provenance, record.name, world.directories);

const again = (store: Store, record: ImageRecord) =>
  reverify({
    record,
    directories: world.directories,
    openBlob: (digest) => store.openBlob(digest),
    identity: 'tag',
  });

describe('an image that is stored with somebody’s word', () => {
  it('has it under that name alone: brought again under another, nobody vouches for it there', async () => {
    await world.push('trusted/app', image);
    await world.sign('trusted/app', image, signer);
    await world.push('other/app', image);
    await world.sign('other/app', image, signer);
    const { store, record } = await world.fetch(world.reference('trusted/app'));
    await expect(world.fetch(world.reference('other/app'), { store })).rejects.toThrow(
      /is trusted for .*\/trusted, not for .*\/other\/app/,
    );
    const { record: alias } = await world.fetch(world.reference('other/app'), { store, insecure });
    expect(alias.id).toBe(record.id);
    await expect(ask(alias)).rejects.toThrow('it was stored without a verified signature');
    for (const pullPolicy of ['new', 'update'] as const) {
      await expect(
        world.fetch(world.reference('other/app'), { store, pullPolicy }),
      ).rejects.toMatchObject({ code: 'untrusted' });
    }
    const found = await world.fetch(world.reference('trusted/app'), { store, pullPolicy: 'new' });
    await ask(found.record);
  });

  it('keeps it for a tag that was signed, and lends it to no other', async () => {
    await world.push('trusted/tags', image, '1');
    await world.push('trusted/tags', image, '2');
    const reference = world.reference('trusted/tags', '1');
    await world.sign('trusted/tags', image, signer, { reference });
    const { store } = await world.fetch(reference);
    await expect(
      world.fetch(world.reference('trusted/tags', '2'), { store }),
    ).rejects.toMatchObject({ code: 'bad-signature' });
  });

  it('still has it when another index has led to it since', async () => {
    const [first, second] = [indexOf([image, arm]), indexOf([arm, image])];
    await world.push('trusted/index', first);
    await world.sign('trusted/index', first, signer);
    await world.push('trusted/second', second);
    await world.sign('trusted/second', second, signer);
    const { store } = await world.fetch(world.reference('trusted/index'));
    await world.fetch(world.reference('trusted/second'), { store });
    const { record } = await world.fetch(world.reference('trusted/index'), {
      store,
      pullPolicy: 'never',
    });
    expect(record.provenance).toMatchObject({ signed: { what: 'index' } });
    expect(await again(store, record)).toMatchObject({
      kind: 'verified',
      provenance: { signed: { what: 'index', digest: { hex: first.root.digest.slice(7) } } },
    });
  });
});

describe('a layer that others share', () => {
  it('is not given away to who merely claims its diff id', async () => {
    await world.push('trusted/base', image);
    await world.sign('trusted/base', image, signer);
    const { store } = await world.fetch(world.reference('trusted/base'));
    const own = layerOf([{ name: 'a', content: 'changed' }]);
    const claimed = imageOf([{ ...own, diffId: layer.diffId }]);
    await world.push('other/claim', claimed);
    await expect(
      world.fetch(world.reference('other/claim'), { store, insecure }),
    ).rejects.toMatchObject({
      code: 'invalid-archive',
      message: expect.stringContaining('but the image configuration says'),
    });
  });
});
