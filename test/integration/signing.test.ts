import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Directories } from '../../src/config/directories.ts';
import { parseInsecureOptions } from '../../src/config/insecure.ts';
import type { TransportContext } from '../../src/fetch/context.ts';
import { signImage } from '../../src/fetch/image-signing.ts';
import { placeInLookaside } from '../../src/fetch/lookaside-signature.ts';
import { signatureTag } from '../../src/fetch/signature-form.ts';
import {
  type Published,
  publishBundle,
  publishClassic,
} from '../../src/fetch/signature-publishing.ts';
import { type Digest, formatDigest } from '../../src/image/digest.ts';
import type { ImageRecord } from '../../src/image/image-record.ts';
import { MEDIA_TYPES, parseOciManifest } from '../../src/image/oci-manifest.ts';
import type { Provenance } from '../../src/image/provenance.ts';
import { parseReference } from '../../src/image/reference.ts';
import { addTrustedKeys } from '../../src/trust/keystore.ts';
import type { ManifestSignature, SignatureCandidate } from '../../src/trust/manifest-signature.ts';
import { verifyManifest } from '../../src/trust/manifest-verification.ts';
import { reverify } from '../../src/trust/reverification.ts';
import { encodeSignature } from '../../src/trust/signature-encoding.ts';
import { signBundle, signClassic, signSimple } from '../../src/trust/signing.ts';
import { readSigningKey, type SigningKey } from '../../src/trust/signing-key.ts';
import { startVerification } from '../../src/trust/verification.ts';
import { MemoryPlace } from '../support/memory-place.ts';
import { documentOf, imageOf, layerOf } from '../support/oci-image.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { Gnupg } from './trust-gnupg.ts';

const NAME = 'registry.example.com/team/app';

let directories: Pick<Directories, 'system' | 'local'>;
let directory: string;
beforeEach(() => {
  directory = temporaryDirectory();
  directories = { system: join(directory, 'usr'), local: join(directory, 'etc') };
});

const image = imageOf([layerOf([])]).root;
const candidate: SignatureCandidate = {
  what: 'manifest',
  digest: digestOf(image.digest),
  bytes: image.bytes,
  mediaType: image.mediaType,
};
const subject = { mediaType: image.mediaType, digest: candidate.digest, size: image.size };

function digestOf(text: string): Digest {
  return { algorithm: 'sha256', hex: text.slice('sha256:'.length) };
}

const keyPairs: [string, () => { privateKey: KeyObject; publicKey: KeyObject }][] = [
  ['ECDSA P-256', () => generateKeyPairSync('ec', { namedCurve: 'P-256' })],
  ['ECDSA P-384', () => generateKeyPairSync('ec', { namedCurve: 'P-384' })],
  ['ECDSA P-521', () => generateKeyPairSync('ec', { namedCurve: 'P-521' })],
  ['RSA 2048', () => generateKeyPairSync('rsa', { modulusLength: 2048 })],
  ['Ed25519', () => generateKeyPairSync('ed25519')],
];

async function keyOf(content: string | Uint8Array): Promise<SigningKey> {
  const path = join(directory, 'key');
  writeFileSync(path, content, { mode: 0o600 });
  return await readSigningKey(path, {
    askPassphrase: async () => undefined,
    warn: () => undefined,
  });
}

/** A new sigstore key, its public half trusted for the name where a prefix is given. */
async function sigstoreKey(make = keyPairs[0]?.[1], prefix?: string) {
  const { privateKey, publicKey } = make?.() ?? expect.unreachable();
  const key = await keyOf(String(privateKey.export({ format: 'pem', type: 'pkcs8' })));
  if (key.kind !== 'sigstore-key') return expect.unreachable();
  const pem = Buffer.from(publicKey.export({ format: 'pem', type: 'spki' }));
  if (prefix !== undefined) await addTrustedKeys(directories, pem, { scope: 'prefix', prefix });
  return key;
}

function verdict(signature: ManifestSignature, tag = '1.0') {
  const request = {
    directories,
    name: NAME,
    tag,
    candidates: [candidate],
    identity: 'tag',
  } as const;
  return verifyManifest({ ...request, signatures: [signature] });
}

const found = { subject: candidate.digest, origin: 'a test' } as const;

describe('what is signed here is believed here', () => {
  for (const [algorithm, make] of keyPairs) {
    it(`by a key of ${algorithm}, as a classic signature and as a bundle`, async () => {
      const key = await sigstoreKey(make, 'registry.example.com');
      const classic = signClassic(key, NAME, candidate.digest);
      const first = await verdict({ kind: 'cosign', ...classic, ...found });
      expect(first.provenance).toMatchObject({ algorithm, fingerprint: key.fingerprint });
      const bytes = signBundle(key, candidate.digest);
      const second = await verdict({ kind: 'bundle', bytes, ...found });
      expect(second.provenance).toMatchObject({ algorithm, fingerprint: key.fingerprint });
    });
  }

  it('but not by a key that is not trusted for the name', async () => {
    const key = await sigstoreKey(undefined, 'registry.example.com/other');
    const classic = signClassic(key, NAME, candidate.digest);
    await expect(verdict({ kind: 'cosign', ...classic, ...found })).rejects.toMatchObject({
      code: 'untrusted',
    });
  });

  it('but not for another repository, nor another digest', async () => {
    const key = await sigstoreKey(undefined, 'registry.example.com');
    const elsewhere = signClassic(key, 'registry.example.com/other', candidate.digest);
    const another = signBundle(key, { algorithm: 'sha256', hex: 'ab'.repeat(32) });
    for (const signature of [
      { kind: 'cosign', ...elsewhere, ...found },
      { kind: 'bundle', bytes: another, ...found },
    ] as const) {
      await expect(verdict(signature)).rejects.toMatchObject({ code: 'bad-signature' });
    }
  });

  it('by an OpenPGP key, as simple signing, for its tag', async () => {
    using gpg = new Gnupg();
    const fingerprint = gpg.generate('simple <s@example.com>');
    await addTrustedKeys(directories, gpg.publicKey(fingerprint), {
      scope: 'prefix',
      prefix: NAME,
    });
    const key = await keyOf(gpg.secretKey(fingerprint));
    if (key.kind !== 'openpgp') return expect.unreachable();
    const bytes = await signSimple(key, `${NAME}:1.0`, candidate.digest);
    const { provenance } = await verdict({ kind: 'simple-signing', bytes, ...found });
    expect(provenance).toMatchObject({
      kind: 'openpgp',
      fingerprint,
      signedReference: `${NAME}:1.0`,
    });
    await expect(verdict({ kind: 'simple-signing', bytes, ...found }, '2.0')).rejects.toThrow(
      /tag/,
    );
  });
});

describe('a classic signature', () => {
  async function publish(
    place: MemoryPlace,
    key: Awaited<ReturnType<typeof sigstoreKey>>,
    overwrite = false,
  ): Promise<Published> {
    const signature = signClassic(key, NAME, candidate.digest);
    const both = { source: place, destination: place };
    return await publishClassic(both, candidate.digest, key, signature, { overwrite });
  }

  async function layersOf(place: MemoryPlace) {
    const manifest = await place.manifest(signatureTag(candidate.digest));
    const document = parseOciManifest(manifest?.bytes ?? Buffer.alloc(0), manifest?.mediaType);
    return document.kind === 'manifest' ? document.layers : [];
  }

  it('lies under its tag, its configuration listing every layer', async () => {
    const place = new MemoryPlace();
    const published = await publish(place, await sigstoreKey());
    expect(published).toEqual({
      where: `${place.shown}:${signatureTag(candidate.digest)}`,
      made: true,
    });
    expect(await layersOf(place)).toHaveLength(1);
  });

  it("stands beside others', which stay as they were", async () => {
    const place = new MemoryPlace();
    await publish(place, await sigstoreKey());
    const before = await layersOf(place);
    await publish(place, await sigstoreKey());
    const after = await layersOf(place);
    expect(after).toHaveLength(2);
    expect(after[0]).toEqual(before[0]);
  });

  it('is not made twice by the same key, unless it is to be replaced', async () => {
    const place = new MemoryPlace();
    const [key, other] = [await sigstoreKey(), await sigstoreKey()];
    await publish(place, other);
    await publish(place, key);
    const written = place.written;
    expect(await publish(place, key)).toMatchObject({ made: false });
    expect(place.written).toBe(written);
    const before = await layersOf(place);
    expect(await publish(place, key, true)).toMatchObject({ made: true });
    const after = await layersOf(place);
    expect(after).toHaveLength(2);
    expect(after[0]).toEqual(before[0]);
    expect(after[1]?.annotations).not.toEqual(before[1]?.annotations);
  });

  it('is refused where 64 lie already, or something else lies under the tag', async () => {
    const place = new MemoryPlace();
    const key = await sigstoreKey();
    const layers = Array.from({ length: 64 }, () => ({
      mediaType: 'text/plain',
      digest: image.digest,
      size: 1,
    }));
    const config = { mediaType: MEDIA_TYPES.config, digest: image.digest, size: 1 };
    const full = documentOf(MEDIA_TYPES.manifest, { schemaVersion: 2, config, layers });
    const tag = signatureTag(candidate.digest);
    await place.putManifest(full.bytes, full.mediaType, tag);
    await expect(publish(place, key)).rejects.toMatchObject({ code: 'unsupported' });
    const index = documentOf(MEDIA_TYPES.index, { schemaVersion: 2, manifests: [] });
    await place.putManifest(index.bytes, index.mediaType, tag);
    await expect(publish(place, key)).rejects.toMatchObject({ code: 'invalid-manifest' });
    expect(place.blobs.size).toBe(0);
  });
});

describe('a bundle', () => {
  it('refers to its manifest, once for each key', async () => {
    const place = new MemoryPlace();
    const both = { source: place, destination: place };
    const publish = async (key: Awaited<ReturnType<typeof sigstoreKey>>, overwrite = false) =>
      await publishBundle(both, subject, key, signBundle(key, subject.digest), { overwrite });
    const key = await sigstoreKey();
    const first = await publish(key);
    expect(first.made).toBe(true);
    expect(await publish(key)).toEqual({ ...first, made: false });
    expect(await publish(await sigstoreKey())).toMatchObject({ made: true });
    expect(await place.referrers(subject.digest)).toHaveLength(2);
    expect(await publish(key, true)).toMatchObject({ made: true });
  });

  it('is put beside bundles that cannot be read', async () => {
    const place = new MemoryPlace();
    const artifactType = 'application/vnd.dev.sigstore.bundle.v0.3+json';
    const junk = documentOf(artifactType, { dsseEnvelope: { payload: 1 } });
    place.blobs.set(junk.digest, junk.bytes);
    const layer = { mediaType: artifactType, digest: junk.digest, size: junk.size };
    const manifest = documentOf(MEDIA_TYPES.manifest, {
      schemaVersion: 2,
      artifactType,
      config: layer,
      layers: [layer],
      subject: { ...subject, digest: formatDigest(subject.digest) },
    });
    await place.putManifest(manifest.bytes, manifest.mediaType, digestOf(manifest.digest));
    const key = await sigstoreKey();
    const both = { source: place, destination: place };
    const published = await publishBundle(both, subject, key, signBundle(key, subject.digest), {
      overwrite: false,
    });
    expect(published.made).toBe(true);
  });
});

describe('a lookaside store', () => {
  it('gets each signature under the next free number', () => {
    const put = (text: string) =>
      placeInLookaside(join(directory, 'store'), 'team/app', candidate.digest, Buffer.from(text));
    const folder = join(directory, 'store/team', `app@sha256=${candidate.digest.hex}`);
    expect(put('one')).toBe(join(folder, 'signature-1'));
    expect(put('two')).toBe(join(folder, 'signature-2'));
    expect(readFileSync(join(folder, 'signature-1'), 'utf8')).toBe('one');
    expect(readdirSync(folder)).toHaveLength(2);
  });
});

describe('a kept signature', () => {
  let gpg: Gnupg;
  beforeAll(() => {
    gpg = new Gnupg();
  });
  afterAll(() => gpg[Symbol.dispose]());

  const blobs = new Map<string, Uint8Array>();
  async function* openBlob(digest: Digest): AsyncIterable<Uint8Array> {
    yield blobs.get(digest.hex) ?? expect.unreachable();
  }

  function keep(bytes: Uint8Array, hex: string): Digest & { size: number } {
    blobs.set(hex, bytes);
    return { algorithm: 'sha256', hex, size: bytes.length };
  }

  function recordWith(provenance: object, more: object = {}): ImageRecord {
    const blob = keep(image.bytes, candidate.digest.hex);
    return {
      name: NAME,
      labels: { version: '1.0' },
      blob,
      provenance: provenance as Provenance,
      ...more,
    } as unknown as ImageRecord;
  }

  const oci = { manifest: subject, config: subject, layers: [] };

  it('of an OCI image is checked against the manifest that is stored', async () => {
    const key = await sigstoreKey(undefined, NAME);
    const signature = {
      kind: 'cosign',
      ...signClassic(key, NAME, candidate.digest),
      ...found,
    } as const;
    const signatureBlob = keep(encodeSignature(signature), 'aa'.repeat(32));
    const record = recordWith(
      { kind: 'sigstore-key', signature: 'cosign', signatureBlob },
      { oci },
    );
    const request = { record, directories, openBlob, identity: 'tag' } as const;
    const outcome = await reverify(request);
    expect(outcome).toMatchObject({
      kind: 'verified',
      provenance: { fingerprint: key.fingerprint },
    });
    const other = { ...record, name: 'registry.example.com/team/app/other' };
    await expect(reverify({ ...request, record: other })).rejects.toMatchObject({
      code: 'bad-signature',
    });
    const nobody = { system: join(directory, 'nowhere'), local: join(directory, 'nowhere') };
    await expect(reverify({ ...request, directories: nobody })).rejects.toMatchObject({
      code: 'untrusted',
    });
  });

  it('of an ACI is checked against the archive as it was fetched', async () => {
    const fingerprint = gpg.generate('kept <k@example.com>');
    await addTrustedKeys(directories, gpg.publicKey(fingerprint), {
      scope: 'prefix',
      prefix: NAME,
    });
    const signatureBlob = keep(gpg.sign(image.bytes, { by: [fingerprint] }), 'bb'.repeat(32));
    const record = recordWith({ kind: 'openpgp', signature: 'detached', signatureBlob });
    const request = { record, directories, openBlob, identity: 'tag' } as const;
    expect(await reverify(request)).toMatchObject({
      kind: 'verified',
      provenance: { fingerprint },
    });
    const changed = { ...record, blob: keep(Buffer.from('changed'), 'cc'.repeat(32)) };
    await expect(reverify({ ...request, record: changed })).rejects.toMatchObject({
      code: 'bad-signature',
    });
  });

  it('that is not there, or was never made, is said to be so', async () => {
    const ask = async (provenance: object, more: object = {}) =>
      await reverify({
        record: recordWith(provenance, more),
        directories,
        openBlob,
        identity: 'tag',
      });
    expect(await ask({ kind: 'unverified', reason: 'because' })).toEqual({
      kind: 'unverified',
      reason: 'because',
    });
    expect(await ask({ kind: 'openpgp' })).toMatchObject({ kind: 'not-kept' });
    const signatureBlob = keep(Buffer.from('x'), 'dd'.repeat(32));
    const overArchive = { kind: 'openpgp', signature: 'detached', signatureBlob };
    expect(await ask(overArchive, { oci })).toMatchObject({ kind: 'not-kept' });
  });

  it('of another size than the record says is a damaged store', async () => {
    const signatureBlob = { ...keep(Buffer.from('short'), 'ee'.repeat(32)), size: 99 };
    const record = recordWith({ kind: 'openpgp', signature: 'detached', signatureBlob });
    await expect(
      reverify({ record, directories, openBlob, identity: 'tag' }),
    ).rejects.toMatchObject({ code: 'store' });
  });
});

describe('a file', () => {
  let gpg: Gnupg;
  beforeAll(() => {
    gpg = new Gnupg();
  });
  afterAll(() => gpg[Symbol.dispose]());

  const context = (signal?: AbortSignal): TransportContext => ({
    directories,
    insecure: parseInsecureOptions('none'),
    report: {
      info: () => undefined,
      debug: () => undefined,
      warn: () => undefined,
      transfer: () => ({ advance: () => undefined, done: () => undefined }),
    },
    env: {},
    signal,
  });

  async function gpgKey(): Promise<{ key: SigningKey; fingerprint: string }> {
    const fingerprint = gpg.generate(`file ${directory}`);
    const key = await keyOf(gpg.secretKey(fingerprint));
    return { key, fingerprint };
  }

  it('gets a signature beside it that gpg and gantry take, and keeps the one it has', async () => {
    const { key, fingerprint } = await gpgKey();
    const path = join(directory, 'app.aci');
    writeFileSync(path, image.bytes);
    const request = { key, overwrite: false };
    const [signature] = await signImage(parseReference(path), request, context());
    expect(signature).toEqual({
      signed: { what: 'archive', digest: candidate.digest },
      kind: 'detached',
      where: `${path}.asc`,
      made: true,
    });
    gpg.run(['--verify', `${path}.asc`, path]);
    await addTrustedKeys(directories, gpg.publicKey(fingerprint), { scope: 'root' });
    const bytes = readFileSync(`${path}.asc`);
    const verification = await startVerification({ signature: bytes, directories });
    verification.write(image.bytes);
    expect(await verification.conclude(NAME)).toMatchObject({ fingerprint });
    await expect(signImage(parseReference(path), request, context())).rejects.toThrow(
      /--overwrite/,
    );
    expect(readFileSync(`${path}.asc`)).toEqual(bytes);
    await signImage(parseReference(path), { key, overwrite: true }, context());
    gpg.run(['--verify', `${path}.asc`, path]);
  });

  it('may be an archive of an OCI layout or of Docker’s', async () => {
    const { key } = await gpgKey();
    const path = join(directory, 'image.tar');
    writeFileSync(path, 'as far as a signature is concerned');
    for (const format of ['oci-archive', 'docker-archive']) {
      await signImage(
        parseReference(`${format}:${path}:latest`),
        { key, overwrite: true },
        context(),
      );
      gpg.run(['--verify', `${path}.asc`, path]);
    }
  });

  it('is not signed with a sigstore key, when it is none, or once it is broken off', async () => {
    const { key } = await gpgKey();
    const path = join(directory, 'app.aci');
    writeFileSync(path, image.bytes);
    const request = { key, overwrite: false };
    const ended = AbortSignal.abort(new Error('ended'));
    await expect(signImage(parseReference(path), request, context(ended))).rejects.toThrow('ended');
    const sigstore = { key: await sigstoreKey(), overwrite: false };
    await expect(signImage(parseReference(path), sigstore, context())).rejects.toMatchObject({
      code: 'usage',
    });
    const nothing = parseReference(join(directory, 'nothing.aci'));
    await expect(signImage(nothing, request, context())).rejects.toMatchObject({
      code: 'not-found',
    });
    mkdirSync(join(directory, 'folder.aci'));
    const folder = parseReference(join(directory, 'folder.aci'));
    await expect(signImage(folder, request, context())).rejects.toMatchObject({
      code: 'not-found',
    });
    expect(readdirSync(directory).sort()).toEqual(['app.aci', 'folder.aci', 'key']);
  });
});
