import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { secure } from '../../src/config/insecure.ts';
import { parseDigest } from '../../src/image/digest.ts';
import { MEDIA_TYPES } from '../../src/image/oci-manifest.ts';
import {
  blobOf,
  documentOf,
  imageOf,
  layerOf,
  type OciContent,
  descriptorOf as pointerTo,
} from '../support/oci-image.ts';
import { registryProgram, startRegistry, type TestRegistry } from '../support/registry.ts';
import { needs, program } from '../support/requirements.ts';
import { Collected, descriptorOf, once, RegistryClient } from './registry-client.ts';

const execute = promisify(execFile);
const image = imageOf([layerOf([{ name: 'hello', content: 'hello '.repeat(50_000) }], 'none')]);
const [layer] = image.layers;

/** Docker's registry with everything it knows of asking who is there. */
const kinds = [
  { auth: 'none', tls: true },
  { auth: 'none', tls: false },
  { auth: 'basic', tls: true },
  { auth: 'basic', tls: false },
  { auth: 'token', tls: true },
  { auth: 'token', tls: false },
] as const;

let client: RegistryClient;
function login(registry: TestRegistry): void {
  const credentials = { user: registry.user, password: registry.password };
  client.configure('dockerAuth', { registries: [registry.host], credentials });
}

async function push(name: string, content: OciContent, changes = {}): Promise<void> {
  await client.write(
    name,
    async (destination) => {
      for (const blob of content.blobs) {
        if (await destination.hasBlob(parseDigest(blob.digest))) continue;
        await destination.putBlob(descriptorOf(blob), once(blob.bytes));
      }
      for (const { bytes, mediaType, digest } of content.manifests) {
        await destination.putManifest(bytes, mediaType, parseDigest(digest));
      }
      await destination.putManifest(content.root.bytes, content.root.mediaType, '1.0');
      await destination.finish();
    },
    changes,
  );
}

describe.each(kinds)('a registry with $auth authentication, TLS $tls', ({ auth, tls }) => {
  let registry: TestRegistry;
  const changes = { insecure: { ...secure, http: !tls } };
  beforeAll(async () => {
    registry = await startRegistry({ auth, tls });
  });
  afterAll(() => registry.close());
  beforeEach((context) => {
    needs(context, program(registryProgram), program('skopeo'));
    client = new RegistryClient(registry.ca);
    if (auth !== 'none') login(registry);
  });

  it('takes an image that skopeo accepts, and gives it back byte for byte', async () => {
    const name = `${registry.host}/team/app`;
    await push(name, image, changes);
    const credentials = auth === 'none' ? [] : ['--creds', `${registry.user}:${registry.password}`];
    const trust = tls ? ['--cert-dir', registry.certificates] : ['--tls-verify=false'];
    const { stdout } = await execute('skopeo', [
      'inspect',
      ...credentials,
      ...trust,
      `docker://${name}:1.0`,
    ]);
    expect(JSON.parse(stdout).Digest).toBe(image.root.digest);
    await client.read(
      name,
      async (source) => {
        const found = await source.manifest('1.0');
        expect(found?.mediaType).toBe(MEDIA_TYPES.manifest);
        expect(Buffer.from(found?.bytes ?? []).equals(image.root.bytes)).toBe(true);
        expect(await source.manifest(parseDigest(image.root.digest))).toEqual(found);
        expect(await source.manifest('no-such-tag')).toBeUndefined();
        const target = new Collected();
        if (layer !== undefined) await source.blob(descriptorOf(layer), target);
        expect(target.digest).toBe(layer?.digest);
        const config = await source.document(descriptorOf(image.config), 4096);
        expect(Buffer.from(config).equals(image.config.bytes)).toBe(true);
      },
      changes,
    );
  });
});

describe('who may read a registry', () => {
  let basic: TestRegistry;
  let token: TestRegistry;
  beforeAll(async () => {
    basic = await startRegistry({ auth: 'basic' });
    token = await startRegistry({ auth: 'token', anonymousPull: true });
  });
  afterAll(async () => {
    await basic.close();
    await token.close();
  });
  beforeEach((context) => {
    needs(context, program(registryProgram));
    client = new RegistryClient(basic.ca);
  });

  const read = (registry: TestRegistry, env: Record<string, string> = {}) =>
    client.read(`${registry.host}/team/app`, (source) => source.manifest('1.0'), {
      env: { SSL_CERT_FILE: registry.ca, ...env },
    });

  it('is told where credentials were looked for, and where to put them', async () => {
    const home = join(client.directory, 'home');
    await expect(read(basic, { HOME: home })).rejects.toThrow(
      `status 401: UNAUTHORIZED: "authentication required": looked in auth.d, then in ${home}/.config/containers/auth.json, ${home}/.docker/config.json; put a dockerAuth for ${basic.host} into auth.d`,
    );
  });

  it('is not told a wrong password back', async () => {
    const credentials = { user: 'tester', password: 'hunter2' };
    client.configure('dockerAuth', { registries: [basic.host, token.host], credentials });
    for (const registry of [basic, token]) {
      const failure = await read(registry).then(
        () => undefined,
        (error: Error) => error.message,
      );
      expect(failure).toMatch(
        /401.*: the credentials for localhost:\d+ were shown, and are not enough/,
      );
      expect(failure).not.toContain('hunter2');
    }
  });

  it('may be anybody where the token server says so', async () => {
    expect(await read(token)).toBeUndefined();
    expect(token.tokenRequests.at(-1)).toMatch(/scope=repository%3Ateam%2Fapp%3Apull$/);
    await expect(
      push(`${token.host}/team/app`, image, { env: { SSL_CERT_FILE: token.ca } }),
    ).rejects.toThrow(/cannot be put there: status 401: UNAUTHORIZED/);
  });

  it.each(['REGISTRY_AUTH_FILE', 'DOCKER_CONFIG', 'XDG_RUNTIME_DIR'] as const)(
    'is known from the file %s leads to',
    async (variable) => {
      const auth = Buffer.from(`${basic.user}:${basic.password}`).toString('base64');
      const folder = join(client.directory, 'containers');
      mkdirSync(folder);
      for (const name of ['containers/auth.json', 'config.json']) {
        writeFileSync(
          join(client.directory, name),
          JSON.stringify({ auths: { [basic.host]: { auth } } }),
        );
      }
      const value =
        variable === 'REGISTRY_AUTH_FILE' ? join(folder, 'auth.json') : client.directory;
      expect(await read(basic, { [variable]: value })).toBeUndefined();
    },
  );

  it('is known from a credential helper', async () => {
    const bin = join(client.directory, 'bin');
    mkdirSync(bin);
    const answer = JSON.stringify({ Username: basic.user, Secret: basic.password });
    writeFileSync(
      join(bin, 'docker-credential-test'),
      `#!/bin/sh\nread -r server\n[ "$1 $server" = 'get ${basic.host}' ] || exit 1\nprintf '%s' '${answer}'\n`,
    );
    chmodSync(join(bin, 'docker-credential-test'), 0o755);
    writeFileSync(join(client.directory, 'config.json'), '{"credsStore":"test"}');
    const env = { PATH: `${bin}:${process.env['PATH']}`, DOCKER_CONFIG: client.directory };
    expect(await read(basic, env)).toBeUndefined();
    writeFileSync(join(client.directory, 'config.json'), '{"credsStore":"missing"}');
    await expect(read(basic, env)).rejects.toThrow(
      'the credential helper docker-credential-missing cannot be run: no such file or directory',
    );
  });
});

describe('a registry over plain HTTP', () => {
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry({ tls: false });
  });
  afterAll(() => registry.close());
  beforeEach((context) => {
    needs(context, program(registryProgram));
    client = new RegistryClient(registry.ca);
  });

  it('is refused, saying how to allow it', async () => {
    await expect(
      client.read(`${registry.host}/team/app`, (source) => source.manifest('1.0')),
    ).rejects.toThrow(
      `docker://${registry.host}/team/app: it does not speak https: allow plain http for ${registry.host} in registries.d ("http": true), or with --insecure-options=http`,
    );
  });

  it('is spoken to where registries.d says so of its host', async () => {
    client.configure('registries', { prefix: registry.host, http: true });
    await push(`${registry.host}/team/app`, image);
    const found = await client.read(`${registry.host}/team/app`, (source) =>
      source.manifest('1.0'),
    );
    expect(found?.digest).toEqual(parseDigest(image.root.digest));
  });
});

describe('mirrors', () => {
  let registry: TestRegistry;
  let mirror: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry();
    mirror = await startRegistry({ tls: false });
  });
  afterAll(async () => {
    await registry.close();
    await mirror.close();
  });
  beforeEach((context) => {
    needs(context, program(registryProgram));
    client = new RegistryClient(registry.ca);
  });

  it('are asked first, and the registry itself for what they lack', async () => {
    const mirrored = { location: `${mirror.host}/cache`, http: true };
    client.configure('registries', { prefix: `${registry.host}/team`, mirrors: [mirrored] });
    client.configure('registries', { prefix: mirror.host, http: true });
    const other = imageOf([layerOf([{ name: 'other', content: 'x' }])]);
    await push(`${mirror.host}/cache/app`, image);
    await push(`${registry.host}/team/other`, other);
    await client.read(`${registry.host}/team/app`, async (source) => {
      expect((await source.manifest('1.0'))?.digest).toEqual(parseDigest(image.root.digest));
      expect(source.shown).toBe(`docker://${registry.host}/team/app`);
    });
    await client.read(`${registry.host}/team/other`, async (source) => {
      expect((await source.manifest('1.0'))?.digest).toEqual(parseDigest(other.root.digest));
    });
  });

  it('that do not answer are passed over with a warning, once', async () => {
    const mirrors = [{ location: 'localhost:1' }];
    client.configure('registries', { prefix: registry.host, mirrors });
    await push(`${registry.host}/team/app`, image);
    await client.read(`${registry.host}/team/app`, async (source) => {
      expect(await source.manifest('1.0')).toBeDefined();
      expect(await source.manifest('1.0')).toBeDefined();
    });
    const warnings = client.report.lines.filter((line) => line.startsWith('warning: '));
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/connection refused: passing over this mirror$/);
  });
});

describe('what refers to a manifest', () => {
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry();
  });
  afterAll(() => registry.close());
  beforeEach((context) => {
    needs(context, program(registryProgram));
    client = new RegistryClient(registry.ca);
  });

  it('is listed under the fallback tag where the registry does not list it', async () => {
    const name = `${registry.host}/team/app`;
    await push(name, image);
    const empty = blobOf(MEDIA_TYPES.empty, '{}');
    const artifact = (text: string) =>
      documentOf(MEDIA_TYPES.manifest, {
        schemaVersion: 2,
        mediaType: MEDIA_TYPES.manifest,
        artifactType: 'application/vnd.example.note',
        config: pointerTo(empty),
        layers: [pointerTo(empty)],
        subject: pointerTo(image.root),
        annotations: { text },
      });
    const notes = [artifact('one'), artifact('two')];
    await client.write(name, async (destination) => {
      await destination.putBlob(descriptorOf(empty), once(empty.bytes));
      for (const { bytes, mediaType, digest } of [...notes, ...notes.slice(0, 1)]) {
        await destination.putManifest(bytes, mediaType, parseDigest(digest));
      }
    });
    const found = await client.read(name, (source) =>
      source.referrers(parseDigest(image.root.digest)),
    );
    expect(found).toEqual(
      notes.map((note, index) => ({
        ...descriptorOf(note),
        artifactType: 'application/vnd.example.note',
        annotations: { text: ['one', 'two'][index] },
      })),
    );
  });
});
