import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { addTrustedKeys, type TrustDirectories } from '../../src/trust/keystore.ts';
import type { ManifestSignature, SignatureCandidate } from '../../src/trust/manifest-signature.ts';
import { verifyManifest } from '../../src/trust/manifest-verification.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { needs, program } from '../support/requirements.ts';
import { Gnupg } from './trust-gnupg.ts';

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'signatures-'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const CONFIG = Buffer.from(
  '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}',
);
const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** An image without layers: what is signed is its manifest. */
function manifest(): SignatureCandidate {
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        size: CONFIG.length,
        digest: `sha256:${sha256(CONFIG)}`,
      },
      layers: [],
    }),
  );
  const digest = { algorithm: 'sha256', hex: sha256(bytes) } as const;
  return { what: 'manifest', bytes, digest, mediaType: MANIFEST_TYPE };
}

function newDirectories(): TrustDirectories {
  return { system: join(root, 'none'), local: mkdtempSync(join(root, 'etc-')) };
}

async function trust(bytes: Uint8Array, prefix: string): Promise<TrustDirectories> {
  const directories = newDirectories();
  await addTrustedKeys(directories, bytes, { scope: 'prefix', prefix });
  return directories;
}

async function verify(
  directories: TrustDirectories,
  name: string,
  signature: ManifestSignature,
  tag = '1.0',
) {
  return await verifyManifest({
    directories,
    name,
    tag,
    candidates: [manifest()],
    signatures: [signature],
    identity: 'tag',
  });
}

describe('what cosign signs with a key', () => {
  let registry: TestRegistry | undefined;
  beforeAll(async () => {
    if (program('docker-registry').met) registry = await startRegistry({ tls: false });
  });
  afterAll(async () => await registry?.close());
  beforeEach((context) => needs(context, program('cosign'), program('docker-registry')));

  function host(): string {
    if (registry === undefined) throw new Error('there is no registry');
    return registry.host;
  }

  async function send(path: string, init: RequestInit): Promise<Response> {
    const response = await fetch(new URL(path, `http://${host()}`), init);
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
    return response;
  }

  async function push(repository: string): Promise<string> {
    const start = await send(`/v2/${repository}/blobs/uploads/`, { method: 'POST' });
    const upload = new URL(start.headers.get('location') ?? '', `http://${host()}`);
    upload.searchParams.set('digest', `sha256:${sha256(CONFIG)}`);
    await send(upload.href, {
      method: 'PUT',
      body: CONFIG,
      headers: { 'content-type': 'application/octet-stream' },
    });
    const { bytes, digest } = manifest();
    await send(`/v2/${repository}/manifests/1.0`, {
      method: 'PUT',
      body: Buffer.from(bytes),
      headers: { 'content-type': MANIFEST_TYPE },
    });
    return `${host()}/${repository}@sha256:${digest.hex}`;
  }

  async function pull(path: string): Promise<Buffer> {
    const accept = `${MANIFEST_TYPE}, application/vnd.oci.image.index.v1+json`;
    return Buffer.from(await (await send(path, { headers: { accept } })).arrayBuffer());
  }

  async function pullJson(path: string) {
    return JSON.parse((await pull(path)).toString());
  }

  async function pullClassic(repository: string): Promise<ManifestSignature> {
    const { digest } = manifest();
    const { layers } = await pullJson(`/v2/${repository}/manifests/sha256-${digest.hex}.sig`);
    return {
      kind: 'cosign',
      payload: await pull(`/v2/${repository}/blobs/${layers[0].digest}`),
      signature: layers[0].annotations['dev.cosignproject.cosign/signature'],
      subject: digest,
      origin: 'cosign',
    };
  }

  async function pullBundle(repository: string): Promise<ManifestSignature> {
    const { digest } = manifest();
    const index = await pullJson(`/v2/${repository}/manifests/sha256-${digest.hex}`);
    const artifact = await pullJson(`/v2/${repository}/manifests/${index.manifests[0].digest}`);
    const bytes = await pull(`/v2/${repository}/blobs/${artifact.layers[0].digest}`);
    return { kind: 'bundle', bytes, subject: digest, origin: 'cosign' };
  }

  function cosign(...args: string[]): void {
    const env = { ...process.env, COSIGN_PASSWORD: '', COSIGN_YES: 'true' };
    execFileSync('cosign', args, { cwd: root, env, stdio: 'pipe' });
  }

  /** A key by openssl, as cosign takes it in; answers its public half. */
  function makeKey(prefix: string, algorithm: readonly string[]): Buffer {
    execFileSync('openssl', ['genpkey', ...algorithm, '-out', `${prefix}.pem`], { cwd: root });
    cosign('import-key-pair', '--key', `${prefix}.pem`, '--output-key-prefix', prefix);
    return readFileSync(join(root, `${prefix}.pub`));
  }

  const offline = ['--tlog-upload=false', '--use-signing-config=false', '--allow-http-registry'];

  it.each([
    ['p256', 'ECDSA P-256', ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256']],
    ['p384', 'ECDSA P-384', ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384']],
    ['rsa', 'RSA 2048', ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048']],
    ['ed25519', 'Ed25519', ['-algorithm', 'ED25519']],
  ])(
    '%s is accepted, as a tag and as a bundle',
    async (prefix, algorithm, how) => {
      const reference = await push(`team/${prefix}`);
      const name = `${host()}/team/${prefix}`;
      const directories = await trust(makeKey(prefix, how), name);
      const key = ['--key', `${prefix}.key`];
      cosign('sign', ...key, ...offline, '--new-bundle-format=false', reference);
      cosign('sign', ...key, ...offline, reference);
      const found = [await pullClassic(`team/${prefix}`), await pullBundle(`team/${prefix}`)];
      for (const signature of found) {
        const { provenance } = await verify(directories, name, signature);
        expect(provenance).toMatchObject({ kind: 'sigstore-key', algorithm, name });
      }
    },
    60_000,
  );
});

describe('what gpg and skopeo sign as simple signing', () => {
  let gpg: Gnupg;
  let key: string;
  let directories: TrustDirectories;
  const NAME = 'registry.example.com/team/app';
  beforeAll(async () => {
    gpg = new Gnupg();
    key = gpg.generate('Ada <ada@example.com>');
    directories = await trust(gpg.publicKey(key), NAME);
  });
  afterAll(() => gpg[Symbol.dispose]());

  function payload(reference = NAME, { digest } = manifest()): Buffer {
    const critical = {
      identity: { 'docker-reference': reference },
      image: { 'docker-manifest-digest': `sha256:${digest.hex}` },
      type: 'atomic container signature',
    };
    return Buffer.from(JSON.stringify({ critical, optional: { timestamp: 1 } }));
  }

  function sign(content: Buffer, by = key, ...options: string[]): ManifestSignature {
    const bytes = gpg.run(
      ['--local-user', by, ...options, '-o', '-', '--sign'],
      undefined,
      content.toString(),
    );
    return found(bytes);
  }

  function found(bytes: Uint8Array): ManifestSignature {
    return { kind: 'simple-signing', bytes, subject: manifest().digest, origin: 'lookaside' };
  }

  it('is accepted from skopeo', async (context) => {
    needs(context, program('skopeo'));
    const file = join(root, 'manifest.json');
    writeFileSync(file, manifest().bytes);
    const args = ['standalone-sign', file, `${NAME}:1.0`, key.toUpperCase(), '-o', `${file}.sig`];
    execFileSync('skopeo', args, { env: { ...process.env, GNUPGHOME: gpg.home }, stdio: 'pipe' });
    const signature = found(readFileSync(`${file}.sig`));
    const { provenance } = await verify(directories, NAME, signature);
    expect(provenance).toMatchObject({
      kind: 'openpgp',
      fingerprint: key,
      userId: 'Ada <ada@example.com>',
      signature: 'simple-signing',
      signedReference: `${NAME}:1.0`,
      signed: { what: 'manifest', digest: manifest().digest },
    });
    await expect(verify(directories, NAME, signature, '1.1')).rejects.toThrow(
      /not for the tag "1.1"/,
    );
  });

  it.each([[[]], [['--compress-algo', 'none']], [['--compress-algo', 'zlib']], [['--armor']]])(
    'is accepted however gpg writes the message: %j',
    async (options) => {
      const { provenance } = await verify(directories, NAME, sign(payload(), key, ...options));
      expect(provenance).toMatchObject({ kind: 'openpgp', fingerprint: key });
    },
  );

  it('is refused for another image or repository', async () => {
    const other = { ...manifest(), digest: { algorithm: 'sha256', hex: '0'.repeat(64) } as const };
    await expect(verify(directories, NAME, sign(payload(NAME, other)))).rejects.toMatchObject({
      code: 'bad-signature',
      message: expect.stringContaining('for another image'),
    });
    const elsewhere = sign(payload('registry.example.com/team/other'));
    await expect(verify(directories, NAME, elsewhere)).rejects.toThrow(/another repository/);
  });

  it('is refused by a key that is not trusted', async () => {
    const stranger = gpg.generate('Eve <eve@example.com>');
    await expect(verify(directories, NAME, sign(payload(), stranger))).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringContaining('signature made by unknown entity'),
    });
  });

  it('is refused with a digest that is broken', async () => {
    const options = ['--digest-algo', 'SHA1', '--allow-weak-digest-algos'];
    const rsa = gpg.generate('Old <old@example.com>', 'rsa2048');
    const trusting = await trust(gpg.publicKey(rsa), NAME);
    await expect(verify(trusting, NAME, sign(payload(), rsa, ...options))).rejects.toThrow(/SHA-1/);
  });

  it('is refused where its content was changed', async () => {
    const signature = sign(payload(), key, '--compress-algo', 'none');
    if (signature.kind !== 'simple-signing') expect.unreachable();
    const bytes = Buffer.from(signature.bytes);
    bytes[bytes.indexOf('timestamp')] = 'T'.charCodeAt(0);
    await expect(verify(directories, NAME, found(bytes))).rejects.toMatchObject({
      code: 'bad-signature',
      message: expect.stringContaining('does not match'),
    });
  });

  it.each<[string, () => Uint8Array, RegExp]>([
    [
      'a detached signature',
      () => gpg.sign(payload(), { by: [key], armor: false }),
      /one signed content/,
    ],
    [
      'an unsigned message',
      () => gpg.run(['--store', '-o', '-'], undefined, 'x'),
      /it is not signed/,
    ],
    ['a payload alone', () => payload(), /neither binary OpenPGP nor an armored message/],
    ['a bomb', () => bomb(), /damaged or too large/],
    [
      'half a message',
      () => gpg.run(['--local-user', key, '-o', '-', '--sign'], undefined, 'x').subarray(0, 20),
      /signed message/,
    ],
  ])('is refused where it is %s', async (_what, make, reason) => {
    await expect(verify(directories, NAME, found(make()))).rejects.toMatchObject({
      code: 'bad-signature',
      message: expect.stringMatching(reason),
    });
  });

  /** A few kilobytes that become several megabytes. */
  function bomb(): Uint8Array {
    return gpg.run(['--local-user', key, '-o', '-', '--sign'], undefined, 'a'.repeat(8 << 20));
  }
});
