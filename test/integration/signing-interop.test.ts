import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseInsecureOptions } from '../../src/config/insecure.ts';
import { DirectoryFiles } from '../../src/fetch/content-files.ts';
import type { TransportContext } from '../../src/fetch/context.ts';
import {
  type ImageSignature,
  type SigningRequest,
  signImage,
} from '../../src/fetch/image-signing.ts';
import { LayoutSource } from '../../src/fetch/layout-source.ts';
import { openRegistry } from '../../src/fetch/registry-source.ts';
import { findSignatures } from '../../src/fetch/signature-discovery.ts';
import { Transport } from '../../src/fetch/transport.ts';
import type { Digest } from '../../src/image/digest.ts';
import { parseReference, type Reference } from '../../src/image/reference.ts';
import { parseRepository } from '../../src/image/repository.ts';
import { addTrustedKeys } from '../../src/trust/keystore.ts';
import type { ManifestSignature, SignatureCandidate } from '../../src/trust/manifest-signature.ts';
import { verifyManifest } from '../../src/trust/manifest-verification.ts';
import { readSigningKey } from '../../src/trust/signing-key.ts';
import { type CosignFormat, CosignKey, cosignProgram, verifyByCosign } from '../support/cosign.ts';
import { imageOf, indexOf, layerOf, type OciImage } from '../support/oci-image.ts';
import { pushImage } from '../support/oci-push.ts';
import { registryProgram, startRegistry, type TestRegistry } from '../support/registry.ts';
import { needs, program } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { Gnupg } from './trust-gnupg.ts';

let registry: TestRegistry;
let gpg: Gnupg;
let directory: string;
let image: OciImage;

beforeAll(async () => {
  gpg = new Gnupg();
  if (program(registryProgram).met) registry = await startRegistry();
});
afterAll(async () => {
  gpg[Symbol.dispose]();
  await registry?.close();
});
beforeEach(async (context) => {
  needs(context, program(registryProgram));
  directory = temporaryDirectory();
  image = imageOf([layerOf([])], { config: { author: directory } });
  await pushImage(registry, 'team/app', '1.0', image);
});

async function sign(
  reference: string | Reference,
  secret: string | Uint8Array,
  wishes: Partial<SigningRequest> = {},
): Promise<ImageSignature[]> {
  const path = join(directory, 'secret');
  writeFileSync(path, secret, { mode: 0o600 });
  const key = await readSigningKey(path, {
    askPassphrase: async () => undefined,
    warn: () => undefined,
  });
  return await signImage(
    typeof reference === 'string' ? parseReference(reference) : reference,
    { key, overwrite: false, ...wishes },
    transportContext(),
  );
}

function directories() {
  return { system: join(directory, 'usr'), local: join(directory, 'etc') };
}

function transportContext(): TransportContext {
  return {
    directories: directories(),
    insecure: parseInsecureOptions('none'),
    report: {
      info: () => undefined,
      debug: () => undefined,
      warn: () => undefined,
      transfer: () => ({ advance: () => undefined, done: () => undefined }),
    },
    env: { SSL_CERT_FILE: registry.ca },
  };
}

/** What Gantry finds beside the image, as when it fetches. */
async function signaturesOf(name: string): Promise<ManifestSignature[]> {
  const context = transportContext();
  const transport = new Transport(context);
  try {
    const { source } = await openRegistry(parseRepository(name), context, transport);
    return await findSignatures(source, name, [candidateOf(image)]);
  } finally {
    await transport.close();
  }
}

function candidateOf({ root: { bytes, digest, mediaType } }: OciImage): SignatureCandidate {
  return { what: 'manifest', digest: digestOf(digest), bytes, mediaType };
}

function digestOf(text: string): Digest {
  return { algorithm: 'sha256', hex: text.slice('sha256:'.length) };
}

describe('an OpenPGP signature in a lookaside store', () => {
  /** What skopeo says of the image under a policy that trusts the key alone. */
  function skopeo(fingerprint: string, tag: string): void {
    const keyPath = join(directory, 'public.gpg');
    writeFileSync(keyPath, gpg.publicKey(fingerprint, false));
    const rule = { type: 'signedBy', keyType: 'GPGKeys', keyPath };
    const policy = join(directory, 'policy.json');
    writeFileSync(policy, JSON.stringify({ default: [rule] }));
    const configuration = join(directory, 'registries.d');
    mkdirSync(configuration, { recursive: true });
    const lookaside = `file://${join(directory, 'lookaside')}`;
    writeFileSync(
      join(configuration, 'test.yaml'),
      JSON.stringify({ docker: { [registry.host]: { lookaside, sigstore: lookaside } } }),
    );
    const to = `dir:${join(directory, 'copy')}`;
    const from = ['--src-cert-dir', registry.certificates, '--remove-signatures'];
    execFileSync(
      'skopeo',
      [
        '--policy',
        policy,
        '--registries.d',
        configuration,
        'copy',
        ...from,
        `docker://${registry.host}/team/app:${tag}`,
        to,
      ],
      { stdio: 'pipe' },
    );
  }

  it('is accepted by skopeo, for the tag it names and no other', async (context) => {
    needs(context, program('skopeo'));
    const fingerprint = gpg.generate('lookaside <l@example.com>', 'rsa2048');
    const lookaside = join(directory, 'lookaside');
    const [signature] = await sign(`${registry.host}/team/app:1.0`, gpg.secretKey(fingerprint), {
      lookaside,
    });
    expect(signature).toMatchObject({
      kind: 'simple-signing',
      signed: { what: 'manifest' },
      made: true,
    });
    expect(readdirSync(join(lookaside, 'team'))).toEqual([
      `app@sha256=${image.root.digest.slice(7)}`,
    ]);
    skopeo(fingerprint, '1.0');
    await pushImage(registry, 'team/app', '2.0', image);
    expect(() => skopeo(fingerprint, '2.0')).toThrow(/rejected/);
  });
});

describe('sigstore signatures in a registry', () => {
  const formats: readonly CosignFormat[] = ['bundle', 'classic'];

  function newKey(type = 'ec', options: object = { namedCurve: 'P-256' }) {
    const { privateKey, publicKey } = generateKeyPairSync(
      type as 'ec',
      options as { namedCurve: string },
    );
    const publicPath = join(directory, 'key.pub');
    writeFileSync(publicPath, publicKey.export({ format: 'pem', type: 'spki' }));
    return { secret: String(privateKey.export({ format: 'pem', type: 'pkcs8' })), publicPath };
  }

  async function verify(publicPath: string, reference: string, format: CosignFormat) {
    await verifyByCosign(publicPath, { reference, registry }, format);
  }

  const kinds: [string, string, object][] = [
    ['ECDSA P-256', 'ec', { namedCurve: 'P-256' }],
    ['ECDSA P-384', 'ec', { namedCurve: 'P-384' }],
    ['ECDSA P-521', 'ec', { namedCurve: 'P-521' }],
    ['RSA', 'rsa', { modulusLength: 2048 }],
    ['Ed25519', 'ed25519', {}],
  ];
  for (const [what, type, options] of kinds) {
    it(`by a key of ${what} are accepted by cosign, of both kinds`, async (context) => {
      needs(context, program(cosignProgram));
      const reference = `${registry.host}/team/app:1.0`;
      const { secret, publicPath } = newKey(type, options);
      const signatures = await sign(reference, secret);
      expect(signatures.map(({ kind }) => kind)).toEqual(['cosign', 'bundle']);
      for (const format of formats) await verify(publicPath, reference, format);
      const other = newKey();
      for (const format of formats) {
        await expect(verify(other.publicPath, reference, format)).rejects.toThrow(/no matching/);
      }
    });
  }

  it("stand beside cosign's own, and both hold", async (context) => {
    needs(context, program(cosignProgram));
    const reference = `${registry.host}/team/app@${image.root.digest}`;
    const theirs = await CosignKey.generate(directory);
    for (const format of formats) await theirs.sign({ reference, registry }, format);
    const ours = newKey();
    await sign(reference, ours.secret);
    for (const format of formats) {
      await verify(theirs.publicKey, reference, format);
      await verify(ours.publicPath, reference, format);
    }
  });

  it('are found and believed by gantry, and made once', async () => {
    const reference = `${registry.host}/team/app:1.0`;
    const { secret, publicPath } = newKey();
    const signed = await sign(reference, secret);
    const again = await sign(reference, secret);
    expect(again).toEqual(signed.map((signature) => ({ ...signature, made: false })));
    const found = await signaturesOf(`${registry.host}/team/app`);
    expect(found.map(({ kind }) => kind).sort()).toEqual(['bundle', 'cosign']);
    const rule = { scope: 'prefix', prefix: registry.host } as const;
    await addTrustedKeys(directories(), readFileSync(publicPath), rule);
    for (const signature of found) {
      const { provenance } = await verifyManifest({
        directories: directories(),
        name: `${registry.host}/team/app`,
        tag: '1.0',
        candidates: [candidateOf(image)],
        signatures: [signature],
        identity: 'tag',
      });
      expect(provenance.kind).toBe('sigstore-key');
    }
  });

  it('of an index are for it as a whole, unless a platform is chosen', async () => {
    const arm = imageOf([layerOf([])], { platform: { os: 'linux', architecture: 'arm64' } });
    const index = indexOf([image, arm]);
    await pushImage(registry, 'team/app', 'multi', index);
    const reference = `${registry.host}/team/app:multi`;
    const { secret } = newKey();
    const [whole] = await sign(reference, secret);
    expect(whole?.signed).toEqual({ what: 'index', digest: digestOf(index.root.digest) });
    const parsed = {
      ...parseReference(reference),
      platform: { os: 'linux', architecture: 'arm64' },
    };
    const [chosen] = await sign(parsed as Reference, secret, { formats: ['bundle'] });
    expect(chosen).toMatchObject({
      kind: 'bundle',
      signed: { what: 'manifest', digest: digestOf(arm.root.digest) },
    });
  });

  it('are not made of what is not there, nor by a key for something else', async () => {
    const { secret } = newKey();
    await expect(sign(`${registry.host}/team/app:none`, secret)).rejects.toMatchObject({
      code: 'not-found',
    });
    const reference = `${registry.host}/team/app:1.0`;
    for (const wishes of [{ formats: ['simple-signing'] }, { lookaside: directory }] as const) {
      await expect(sign(reference, secret, wishes)).rejects.toMatchObject({ code: 'usage' });
    }
    const pgp = gpg.secretKey(gpg.generate(`formats ${directory}`));
    await expect(sign(reference, pgp, { formats: ['cosign'] })).rejects.toMatchObject({
      code: 'usage',
    });
    await expect(sign(reference, pgp)).rejects.toThrow(/--lookaside/);
    await expect(sign('example.com/app', secret)).rejects.toMatchObject({ code: 'usage' });
    expect(await signaturesOf(`${registry.host}/team/app`)).toEqual([]);
  });
});

describe('an image in a layout', () => {
  /** A layout as skopeo writes it, holding the image under a tag. */
  function layout(tag: string): string {
    const path = join(directory, 'layout');
    const from = `docker://${registry.host}/team/app:1.0`;
    const options = ['--insecure-policy', 'copy', '--src-cert-dir', registry.certificates];
    execFileSync('skopeo', [...options, from, `oci:${path}:${tag}`], { stdio: 'pipe' });
    return path;
  }

  const newSecret = () =>
    String(
      generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
        format: 'pem',
        type: 'pkcs8',
      }),
    );

  it('is signed there, under the name it is to have', async (context) => {
    needs(context, program('skopeo'));
    const path = layout('1.0');
    const secret = newSecret();
    const request = { identity: 'example.com/team/app:1.0' };
    const made = await sign(`oci:${path}:1.0`, secret, request);
    expect(made.map(({ kind }) => kind)).toEqual(['cosign', 'bundle']);
    expect(await sign(`oci:${path}`, secret, request)).toMatchObject([
      { made: false },
      { made: false },
    ]);
    const source = await LayoutSource.open(new DirectoryFiles(path));
    const { descriptor } = await source.image('1.0');
    expect(descriptor.digest).toEqual(digestOf(image.root.digest));
    const found = await findSignatures(source, 'example.com/team/app', [descriptor]);
    expect(found.map(({ kind }) => kind)).toEqual(['cosign', 'bundle']);
    execFileSync('skopeo', ['inspect', '--raw', `oci:${path}:1.0`], { stdio: 'pipe' });
  });

  it('that nothing names is refused, and its layout is as it was', async (context) => {
    needs(context, program('skopeo'));
    const path = layout('1.0');
    const before = readdirSync(path, { recursive: true });
    await expect(sign(`oci:${path}:1.0`, newSecret())).rejects.toThrow(/--sign-identity/);
    await expect(sign(`oci:${path}:2.0`, newSecret())).rejects.toMatchObject({ code: 'not-found' });
    const wrong = { identity: 'Not A Name' };
    await expect(sign(`oci:${path}`, newSecret(), wrong)).rejects.toMatchObject({
      code: 'invalid-reference',
    });
    expect(readdirSync(path, { recursive: true })).toEqual(before);
  });

  it('is called what its layout calls it, where that is a whole reference', async (context) => {
    needs(context, program('skopeo'));
    const path = layout('example.com/team/app:1.0');
    const fingerprint = gpg.generate(`layout ${directory}`);
    const lookaside = join(directory, 'lookaside');
    const [signature] = await sign(`oci:${path}`, gpg.secretKey(fingerprint), { lookaside });
    const message = gpg.run(['--decrypt', signature?.where ?? '']);
    expect(JSON.parse(message.toString())).toMatchObject({
      critical: { identity: { 'docker-reference': 'example.com/team/app:1.0' } },
    });
  });
});

describe('registries.d', () => {
  function configure(rule: object): void {
    const folder = join(directory, 'etc/registries.d');
    mkdirSync(folder, { recursive: true });
    const head = { rktKind: 'registries', rktVersion: 'v1', prefix: registry.host };
    writeFileSync(join(folder, 'test.json'), JSON.stringify({ ...head, ...rule }));
  }

  it('names the lookaside store, which has to be a directory here', async () => {
    const secret = gpg.secretKey(gpg.generate(`configured ${directory}`));
    const reference = `${registry.host}/team/app:1.0`;
    configure({ lookaside: `file://${join(directory, 'store of ours')}` });
    await sign(reference, secret);
    expect(readdirSync(join(directory, 'store of ours', 'team'))).toHaveLength(1);
    configure({ lookaside: 'https://signatures.example.com/' });
    await expect(sign(reference, secret)).rejects.toMatchObject({ code: 'unsupported' });
  });
});
