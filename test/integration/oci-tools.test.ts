import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CosignAlgorithm, CosignKey, cosignProgram } from '../support/cosign.ts';
import { runCommand } from '../support/installation.ts';
import { Notation, notationProgram } from '../support/notation.ts';
import { imageOf, indexOf, layerOf, writeLayout } from '../support/oci-image.ts';
import { pushImage } from '../support/oci-push.ts';
import { registryProgram, startRegistry, type TestRegistry } from '../support/registry.ts';
import { findProgram, needs, program } from '../support/requirements.ts';
import { simpleSignature, storeSignature } from '../support/simple-signing.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { Gnupg } from './trust-gnupg.ts';

// What the tests of images and signatures stand on: that the real tools take what test/support makes.
const files = [
  { name: 'etc/', typeflag: '5', mode: 0o755 },
  { name: 'etc/motd', content: 'hello\n' },
];
const image = imageOf([layerOf(files), layerOf([{ name: 'b', content: 'b' }], 'zstd')]);

let registry: TestRegistry | undefined;
beforeAll(async () => {
  if (findProgram(registryProgram) === undefined) return;
  registry = await startRegistry();
  await pushImage(registry, 'team/app', '1', image);
});
afterAll(async () => {
  await registry?.close();
});

/** The image as signers are told of it. */
function target(host = registry?.host) {
  if (registry === undefined) throw new Error('no registry');
  return { reference: `${host}/team/app@${image.root.digest}`, registry };
}

describe('images made for tests', () => {
  test('umoci unpacks a layout', async (context) => {
    needs(context, program('umoci'));
    const directory = temporaryDirectory();
    const upper = [{ name: 'etc/.wh.motd' }, { name: 'etc/issue', content: 'upper\n' }];
    writeLayout(directory, { 1: imageOf([layerOf(files), layerOf(upper, 'none')]) });
    const flags = ['--rootless', '--image', `${directory}:1`];
    const bundle = join(temporaryDirectory(), 'bundle');
    const ending = await runCommand({ words: ['umoci', 'unpack', ...flags, bundle] });
    expect(ending).toMatchObject({ code: 0 });
    expect(readdirSync(join(bundle, 'rootfs/etc'))).toEqual(['issue']);
  });

  test('skopeo copies what was pushed, an index too', async (context) => {
    needs(context, program('skopeo'), program(registryProgram));
    const { registry } = target();
    const other = { os: 'linux', architecture: 's390x' };
    const index = indexOf([image, imageOf([layerOf(files)], { platform: other })]);
    await pushImage(registry, 'team/index', '1', index);
    const certificates = `--src-cert-dir=${registry.certificates}`;
    const source = `docker://${registry.host}/team/index:1`;
    const destination = `dir:${temporaryDirectory()}`;
    const flags = ['--insecure-policy', '--all', certificates];
    const ending = await runCommand({ words: ['skopeo', 'copy', ...flags, source, destination] });
    expect(ending).toMatchObject({ code: 0 });
  });
});

describe('signers', () => {
  test('cosign verifies the bundle it made, and the classic signature', async (context) => {
    needs(context, program(cosignProgram), program(registryProgram));
    const directory = temporaryDirectory();
    const key = await CosignKey.generate(directory);
    const other = await CosignKey.generate(directory, 'other');
    for (const format of ['bundle', 'classic'] as const) {
      await key.sign(target(), format);
      await key.verify(target(), format);
      await expect(other.verify(target(), format)).rejects.toThrow(/cosign verify .* exit/);
    }
  });

  test('cosign signs with every kind of key', async (context) => {
    needs(context, program(cosignProgram), program(registryProgram));
    const algorithms: CosignAlgorithm[] = ['p256', 'p384', 'p521', 'rsa', 'ed25519'];
    // cosign 3.1 signs with SHA-384, SHA-512 and Ed25519ph by the others, and then only tries SHA-256
    // and plain Ed25519 on verifying.
    const verified = new Set<CosignAlgorithm>(['p256', 'rsa']);
    for (const algorithm of algorithms) {
      const key = await CosignKey.import(temporaryDirectory(), algorithm);
      for (const format of ['bundle', 'classic'] as const) {
        await key.sign(target(), format);
        if (verified.has(algorithm)) await key.verify(target(), format);
      }
    }
  });

  test('cosign signs a file', async (context) => {
    needs(context, program(cosignProgram));
    const directory = temporaryDirectory();
    const key = await CosignKey.generate(directory);
    const path = join(directory, 'file');
    writeFileSync(path, 'content');
    expect(JSON.parse(await key.signBlob(path))).toHaveProperty('messageSignature');
    expect(await key.signBlob(path, 'classic')).toMatch(/^[A-Za-z0-9+/]+=*$/);
  });

  test('notation verifies both envelopes it made', async (context) => {
    needs(context, program(notationProgram), program(registryProgram));
    const notation = await Notation.generate(temporaryDirectory());
    const there = target(`127.0.0.1:${registry?.port}`);
    for (const envelope of ['jws', 'cose'] as const) {
      await notation.sign(there, { envelope, metadata: { stage: envelope } });
      await notation.verify(there);
    }
  });

  test('skopeo makes a simple signature', async (context) => {
    needs(context, program('skopeo'), program('gpg'));
    using gnupg = new Gnupg();
    const fingerprint = gnupg.generate('Test <test@example.com>');
    const reference = 'localhost:5000/team/app:1';
    const signer = { home: gnupg.home, fingerprint };
    const signature = await simpleSignature(signer, image.root, reference);
    const file = join(gnupg.home, 'simple-signature');
    writeFileSync(file, signature);
    const payload = gnupg.run(['--decrypt', file]);
    expect(payload.toString()).toContain(image.root.digest);
    const store = temporaryDirectory();
    storeSignature(store, 'team/app', image.root.digest, signature);
    const folder = `team/app@${image.root.digest.replace(':', '=')}`;
    expect(readFileSync(join(store, folder, 'signature-1'))).toEqual(signature);
  });
});
