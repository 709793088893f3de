import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { secure } from '../../src/config/insecure.ts';
import { formatDigest } from '../../src/image/digest.ts';
import { parseReference } from '../../src/image/reference.ts';
import { imageOf, indexOf, layerOf, type OciImage } from '../support/oci-image.ts';
import { KeySigner, keptIn, OciWorld } from './oci-world.ts';

const lower = layerOf([
  { name: 'etc/', typeflag: '5', mode: 0o755 },
  { name: 'etc/motd', content: 'lower\n' },
  { name: 'etc/gone', content: 'x' },
]);
const upper = layerOf(
  [
    { name: 'etc/', typeflag: '5', mode: 0o755 },
    { name: 'etc/motd', content: 'upper\n' },
    { name: 'etc/.wh.gone' },
  ],
  'zstd',
);
const run = { Entrypoint: ['/entry'], Cmd: ['serve'], Env: ['A=1'], User: '7' };
const image = imageOf([lower, upper], { run });
const other = imageOf([layerOf([{ name: 'other', content: 'other' }], 'none')]);

let world: OciWorld;
const signer = new KeySigner();
const stranger = new KeySigner();

beforeAll(async () => {
  world = await OciWorld.open();
});
afterAll(async () => {
  await world?.close();
});
beforeEach(async () => {
  world.report.lines.length = 0;
  world.distrustAll();
  await world.trust(signer);
});

async function published(repository: string, content: OciImage = image): Promise<string> {
  await world.push(repository, content);
  await world.sign(repository, content, signer);
  return world.reference(repository);
}

describe('a signed image in a registry', () => {
  it('is fetched, verified and stored by the digest of its manifest', async () => {
    const reference = await published('team/app');
    const { record, store } = await world.fetch(`docker://${reference}`);
    expect(record).toMatchObject({
      id: image.root.digest.replace(':', '-'),
      name: `${world.registry.host}/team/app`,
      labels: { version: '1', os: 'linux' },
      manifest: { app: { exec: ['/entry', 'serve'], user: '7' } },
      provenance: {
        kind: 'sigstore-key',
        algorithm: 'ECDSA P-256',
        signature: 'cosign',
        signed: { what: 'manifest' },
        rule: { scope: 'prefix', prefix: world.registry.host },
      },
    });
    const [top, bottom] = await store.layerPaths(record, () => undefined);
    expect(readFileSync(join(top ?? '', 'etc/motd'), 'utf8')).toBe('upper\n');
    expect(readFileSync(join(bottom ?? '', 'etc/motd'), 'utf8')).toBe('lower\n');
    expect(world.report.lines).toContain('image: signature verified:');
    await store.verifyImage(record);
  });

  it('is found again by each of its names, by its id and by its digest', async () => {
    const reference = await published('team/names');
    const { record, store } = await world.fetch(reference);
    const digest = image.root.digest;
    for (const text of [
      `docker://${reference}`,
      `oci://${reference}`,
      reference,
      `${world.registry.host}/team/names@${digest}`,
      record.id,
      record.id.slice(0, 20),
    ]) {
      const again = await world.fetch(text, { store, pullPolicy: 'never' });
      expect(again.record.id, text).toBe(record.id);
    }
  });

  it('is asked for again without its layers, and kept where nothing changed', async () => {
    const reference = await published('team/again');
    const { store } = await world.fetch(reference);
    world.report.transfers.length = 0;
    await world.fetch(reference, { store });
    expect(world.report.lines.join('\n')).toContain('is unchanged, not fetching.');
    expect(world.report.transfers).toEqual([]);
  });

  it('is replaced under its tag when the registry has another', async () => {
    const reference = await published('team/moving');
    const { record, store } = await world.fetch(reference);
    await world.push('team/moving', other);
    await world.sign('team/moving', other, signer);
    const { record: newer } = await world.fetch(reference, { store });
    expect(newer.id).not.toBe(record.id);
    const found = await world.fetch(reference, { store, pullPolicy: 'never' });
    expect(found.record.id).toBe(newer.id);
  });

  it('may have several names, each vouched for by itself', async () => {
    const first = await published('team/one');
    const second = await published('elsewhere/two');
    const { store, record } = await world.fetch(first);
    const { record: again } = await world.fetch(second, { store });
    expect(again.id).toBe(record.id);
    expect(again.name).toBe(`${world.registry.host}/elsewhere/two`);
    const found = await world.fetch(first, { store, pullPolicy: 'never' });
    expect(found.record.name).toBe(`${world.registry.host}/team/one`);
    expect(found.record.manifest.name).toBe(`${world.registry.host}/team/one`);
  });

  it('is chosen from its index by platform, whichever of the two is signed', async () => {
    const foreign = imageOf([lower], { platform: { os: 'linux', architecture: 's390x' } });
    const index = indexOf([foreign, image]);
    await world.push('team/index', index);
    await world.sign('team/index', index, signer);
    const { record } = await world.fetch(world.reference('team/index'));
    expect(record.id).toBe(image.root.digest.replace(':', '-'));
    expect(record.provenance).toMatchObject({ signed: { what: 'index' } });
    expect(record.oci?.index && formatDigest(record.oci.index.digest)).toBe(index.root.digest);

    await world.push('team/index2', index);
    await world.sign('team/index2', image, signer);
    const byManifest = await world.fetch(world.reference('team/index2'));
    expect(byManifest.record.provenance).toMatchObject({ signed: { what: 'manifest' } });

    const reference = parseReference(world.reference('team/index'));
    if (reference.kind !== 'registry') throw new Error('no registry reference');
    const platform = { os: 'linux', architecture: 's390x' };
    const chosen = await world.fetch({ ...reference, platform });
    expect(chosen.record.labels).toMatchObject({ arch: 's390x' });
  });
});

describe('a place for signatures that does not answer', () => {
  beforeEach(() => {
    const lookaside = 'https://localhost:1/sigstore';
    const rule = {
      rktKind: 'registries',
      rktVersion: 'v1',
      prefix: world.registry.host,
      lookaside,
    };
    mkdirSync(join(world.directories.local, 'registries.d'));
    writeFileSync(join(world.directories.local, 'registries.d', 'a.json'), JSON.stringify(rule));
  });
  afterEach(() => rmSync(join(world.directories.local, 'registries.d'), { recursive: true }));

  it('does not matter where a signature in another one holds', async () => {
    const { record } = await world.fetch(`docker://${await published('team/away')}`);
    expect(record.provenance.kind).toBe('sigstore-key');
  });

  it('is what is wrong where none holds, for the missing one may lie there', async () => {
    await world.push('team/nowhere', other);
    const fetched = world.fetch(`docker://${world.reference('team/nowhere')}`);
    await expect(fetched).rejects.toThrow(/localhost:1\/sigstore\/.*connection refused/);
  });
});

describe('an image that nobody vouches for', () => {
  it.each([
    [
      'has no signature',
      async (repository: string) => world.push(repository, image),
      /no signature/,
    ],
    [
      'is signed by a stranger',
      async (repository: string) => {
        await world.push(repository, image);
        await world.sign(repository, image, stranger);
      },
      /no sigstore key trusted for /,
    ],
    [
      'is signed for another repository',
      async (repository: string) => {
        await world.push(repository, image);
        await world.sign(repository, image, signer, { reference: `${world.registry.host}/team/x` });
      },
      /another repository/,
    ],
    [
      'has the signature of another image',
      async (repository: string) => {
        await world.push(repository, image);
        await world.sign(repository, image, signer, { digest: other.root.digest });
      },
      /another image/,
    ],
    [
      'is signed for another tag',
      async (repository: string) => {
        await world.push(repository, image);
        await world.sign(repository, image, signer, {
          reference: `${world.registry.host}/${repository}:2`,
        });
      },
      /not for the tag/,
    ],
  ])('is refused when it %s, and nothing of it is kept', async (what, publish, message) => {
    const repository = `bad/${what.replaceAll(' ', '-')}`;
    await publish(repository);
    const context = world.context();
    const failing = world.fetch(world.reference(repository), { store: context.store });
    await expect(failing).rejects.toThrow(message);
    expect(keptIn(context.store)).toEqual([]);
  });

  it('is refused for that, and not for what else is wrong with it', async () => {
    const wrong = imageOf([lower], { platform: { os: 'linux', architecture: 's390x' } });
    await world.push('team/wrong', wrong);
    await expect(world.fetch(world.reference('team/wrong'))).rejects.toThrow(/no signature/);
  });

  it('is refused where the key is trusted for another prefix only', async () => {
    const reference = await published('team/prefix');
    world.distrustAll();
    await world.trust(signer, `${world.registry.host}/other`);
    await expect(world.fetch(reference)).rejects.toThrow(
      expect.objectContaining({ code: 'untrusted' }),
    );
  });

  it('is taken with --insecure-options=image, which the record says', async () => {
    await world.push('team/unsigned', image);
    const insecure = { ...secure, image: true };
    const { record } = await world.fetch(world.reference('team/unsigned'), { insecure });
    expect(record.provenance.kind).toBe('unverified');
  });

  it('does not lose the verdict it has when nobody is asked', async () => {
    const reference = await published('team/kept');
    const { store } = await world.fetch(reference);
    const insecure = { ...secure, image: true };
    const { record } = await world.fetch(reference, { store, insecure });
    expect(record.provenance.kind).toBe('sigstore-key');
  });
});

describe('an image that is not what it seems', () => {
  const refusals: [string, OciImage, RegExp][] = [
    [
      'has a layer of another diff id',
      imageOf([{ ...lower, diffId: upper.diffId }]),
      /it unpacks to sha256:.*, but the image configuration says/,
    ],
    [
      'has fewer layers than its configuration names',
      imageOf([lower], {
        config: { rootfs: { type: 'layers', diff_ids: [lower.diffId, upper.diffId] } },
      }),
      /names 2 layers, and the manifest has 1/,
    ],
    [
      'has its layers in another order than its configuration',
      imageOf([lower, upper], {
        config: { rootfs: { type: 'layers', diff_ids: [upper.diffId, lower.diffId] } },
      }),
      /it unpacks to sha256:.*, but the image configuration says/,
    ],
    [
      'is for another machine',
      imageOf([lower], { platform: { os: 'linux', architecture: 's390x' } }),
      /is for linux\/s390x/,
    ],
    ['has no layers', imageOf([]), /layers: is empty/],
    [
      'writes through a symbolic link of a layer below',
      imageOf([
        layerOf([{ name: 'lib', typeflag: '2', linkName: '/etc' }]),
        layerOf([{ name: 'lib/evil', content: 'x' }]),
      ]),
      /symbolic link/,
    ],
    [
      'hides nothing by name',
      imageOf([layerOf([{ name: 'etc/.wh...', content: '' }])]),
      /whiteout/,
    ],
  ];

  it.each(refusals)(
    'is refused when it %s, and nothing of it is kept',
    async (what, content, message) => {
      const repository = `wrong/${what.replaceAll(' ', '-')}`;
      await published(repository, content);
      const context = world.context();
      const failing = world.fetch(world.reference(repository), { store: context.store });
      await expect(failing).rejects.toThrow(message);
      expect(keptIn(context.store)).toEqual([]);
    },
  );

  it('is refused where the index has none for this machine', async () => {
    const foreign = imageOf([lower], { platform: { os: 'linux', architecture: 's390x' } });
    const index = indexOf([foreign]);
    await world.push('wrong/index', index);
    await world.sign('wrong/index', index, signer);
    await expect(world.fetch(world.reference('wrong/index'))).rejects.toThrow(
      /no image for linux\/.* \(it has linux\/s390x\)/,
    );
  });

  it('is not found where there is none, and the message names it', async () => {
    await expect(world.fetch(world.reference('team/none'))).rejects.toThrow(
      expect.objectContaining({
        code: 'not-found',
        message: expect.stringContaining('team/none:1'),
      }),
    );
  });
});
