import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { FetchContext } from '../../src/fetch/context.ts';
import { fetchImage } from '../../src/fetch/fetch.ts';
import { type CopyRequest, copyBetween } from '../../src/fetch/image-copy.ts';
import { importTo } from '../../src/fetch/image-import.ts';
import { openDestination } from '../../src/fetch/image-place.ts';
import { formatDigest } from '../../src/image/digest.ts';
import {
  type LayoutReference,
  parseReference,
  type RegistryReference,
} from '../../src/image/reference.ts';
import type { Store } from '../../src/store/store.ts';
import { addTrustedKeys } from '../../src/trust/keystore.ts';
import { CosignKey, cosignProgram } from '../support/cosign.ts';
import { imageOf, indexOf, layerOf } from '../support/oci-image.ts';
import { pushImage } from '../support/oci-push.ts';
import { registryProgram, startRegistry, type TestRegistry } from '../support/registry.ts';
import { findProgram, needs, program, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { wideLimits } from '../unit/store/image-archive.ts';
import { RegistryClient } from './registry-client.ts';
import { emptyStore } from './store-fixture.ts';

const silent: FetchContext['report'] = {
  info: () => undefined,
  debug: () => undefined,
  warn: () => undefined,
  transfer: () => ({ advance: () => undefined, done: () => undefined }),
};

let registry: TestRegistry | undefined;
beforeAll(async () => {
  if (findProgram(registryProgram) !== undefined) registry = await startRegistry();
});
afterAll(async () => {
  await registry?.close();
});
beforeEach((context) => needs(context, root, program(registryProgram)));

const files = [
  { name: 'etc/', typeflag: '5', mode: 0o755 },
  { name: 'etc/motd', content: 'hello\n' },
];
const upper = [{ name: 'etc/issue', content: 'x'.repeat(300_000) }];
const image = imageOf([layerOf(files), layerOf(upper)]);
const arm = { os: 'linux', architecture: 'arm64', variant: 'v8' };
const index = indexOf([image, imageOf([layerOf(files)], { platform: arm })]);

function host(): string {
  if (registry === undefined) throw new Error('no registry');
  return registry.host;
}

/** Gantry with a configuration and a store of its own. */
function world(): { context: FetchContext; store: Store; directory: string } {
  const client = new RegistryClient(registry?.ca ?? '');
  const store = emptyStore();
  const context: FetchContext = {
    ...client.context(),
    store,
    pullPolicy: 'update',
    limits: wideLimits,
  };
  return { context, store, directory: temporaryDirectory() };
}

async function copy(
  context: FetchContext,
  from: string,
  to: string,
  wishes: Partial<CopyRequest> = {},
): Promise<string> {
  const request = {
    from: parseReference(from),
    to: parseReference(to) as RegistryReference | LayoutReference,
    platform: undefined,
    signatures: true,
    overwrite: false,
    ...wishes,
  };
  return formatDigest(await copyBetween(request, context));
}

/** Runs a real tool, which has to succeed; answers what it printed. */
function tool(name: string, ...words: readonly string[]): string {
  const env = { ...process.env, SSL_CERT_FILE: registry?.ca };
  return execFileSync(name, words, { env, stdio: ['ignore', 'pipe', 'pipe'] }).toString();
}

describe('copying between places', () => {
  it('brings an index through all of them unchanged', async (context) => {
    needs(context, program('crane'));
    const { context: gantry, directory } = world();
    const start = `docker://${host()}/round/start:1`;
    await pushImage(registry as TestRegistry, 'round/start', '1', index);
    const places = [
      start,
      `oci:${directory}/layout:1`,
      `oci-archive:${directory}/archive.tar:1`,
      `docker://${host()}/round/end:1`,
    ];
    for (const [at, from] of places.entries()) {
      const to = places[at + 1];
      if (to !== undefined) expect(await copy(gantry, from, to)).toBe(index.root.digest);
    }
    expect(tool('crane', 'digest', `${host()}/round/end:1`).trim()).toBe(index.root.digest);
    tool('crane', 'validate', '--remote', `${host()}/round/end:1`);
  });

  it('takes one image of an index where a platform is asked for', async () => {
    const { context: gantry, directory } = world();
    await pushImage(registry as TestRegistry, 'round/one', '1', index);
    const from = `docker://${host()}/round/one:1`;
    const digest = await copy(gantry, from, `oci:${directory}/one:1`, { platform: arm });
    expect(digest).toBe(index.manifests[1]?.digest);
    expect(readdirSync(`${directory}/one/blobs/sha256`)).toHaveLength(3);
  });

  it('speaks of what skopeo and umoci wrote', async (context) => {
    needs(context, program('skopeo'), program('umoci'));
    const { context: gantry, directory } = world();
    await pushImage(registry as TestRegistry, 'round/tools', '1', image);
    const certificates = `--src-cert-dir=${registry?.certificates}`;
    const from = `docker://${host()}/round/tools:1`;
    const flags = ['--insecure-policy', 'copy', certificates, from];
    tool('skopeo', ...flags, `docker-archive:${directory}/docker.tar:example.com/app:1`);
    tool('skopeo', ...flags, `oci:${directory}/layout:1`);
    tool('umoci', 'config', '--image', `${directory}/layout:1`, '--tag', '2', '--config.user', '7');
    for (const [at, place] of ['docker-archive:docker.tar', 'oci:layout:2'].entries()) {
      const [format, ...rest] = place.split(':');
      await copy(gantry, `${format}:${directory}/${rest.join(':')}`, `oci:${directory}/out:${at}`);
      const bundle = join(directory, `bundle-${at}`);
      tool('umoci', 'unpack', '--image', `${directory}/out:${at}`, bundle);
      expect(readFileSync(join(bundle, 'rootfs/etc/motd'), 'utf8')).toBe('hello\n');
      expect(existsSync(join(bundle, 'rootfs/etc/issue'))).toBe(true);
    }
  });

  it('writes what podman loads and pulls', async (context) => {
    needs(context, program('podman'));
    const { context: gantry, directory } = world();
    await pushImage(registry as TestRegistry, 'round/podman', '1', index);
    const from = `docker://${host()}/round/podman:1`;
    const name = 'example.com/app:1';
    await copy(gantry, from, `docker-archive:${directory}/docker.tar:${name}`);
    await copy(gantry, from, `oci-archive:${directory}/oci.tar:1`);
    const podman = ['--root', `${directory}/root`, '--runroot', `${directory}/run`];
    const storage = [...podman, '--storage-driver=vfs'];
    tool('podman', ...storage, 'load', '-i', `${directory}/docker.tar`);
    expect(tool('podman', ...storage, 'images')).toContain('example.com/app');
    const id = tool('podman', ...storage, 'pull', '-q', `oci-archive:${directory}/oci.tar`).trim();
    expect(id).toBe(image.config.digest.replace('sha256:', ''));
    // vfs keeps whole trees, and its directories are nobody's but root's.
    tool('podman', ...storage, 'rmi', '--all', '--force');
  });

  it('is refused where another image has the name', async () => {
    const { context: gantry, directory } = world();
    await pushImage(registry as TestRegistry, 'round/name', '1', index);
    await pushImage(registry as TestRegistry, 'round/name', '2', image);
    const [one, two] = [1, 2].map((tag) => `docker://${host()}/round/name:${tag}`) as [
      string,
      string,
    ];
    const layout = `oci:${directory}/layout:app`;
    await copy(gantry, one, layout);
    await copy(gantry, one, layout);
    const before = readdirSync(`${directory}/layout`, { recursive: true });
    await expect(copy(gantry, two, layout)).rejects.toMatchObject({ code: 'usage' });
    expect(readdirSync(`${directory}/layout`, { recursive: true })).toEqual(before);
    await copy(gantry, two, layout, { overwrite: true });
    expect(tool('skopeo', 'inspect', layout)).toContain(image.root.digest);
  });

  it('leaves nothing where a blob is damaged', async () => {
    const { context: gantry, directory } = world();
    const own = imageOf([layerOf([{ name: 'damaged', content: 'x'.repeat(9000) }])]);
    await pushImage(registry as TestRegistry, 'round/damaged', '1', own);
    const [layer] = own.layers;
    const hex = layer?.digest.slice('sha256:'.length) ?? '';
    const blobs = join(registry?.storage ?? '', 'docker/registry/v2/blobs/sha256');
    writeFileSync(join(blobs, hex.slice(0, 2), hex, 'data'), Buffer.alloc(layer?.size ?? 0));
    const from = `docker://${host()}/round/damaged:1`;
    for (const to of [`oci:${directory}/layout:1`, `oci-archive:${directory}/archive.tar:1`]) {
      await expect(copy(gantry, from, to)).rejects.toMatchObject({ code: 'invalid-archive' });
    }
    expect(readdirSync(directory)).toEqual([]);
  });

  it('says that a name in the store is not there', async () => {
    const { context: gantry, directory } = world();
    await expect(copy(gantry, `${host()}/no/such:1`, `oci:${directory}/x`)).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringContaining('docker://') as string,
    });
  });
});

describe("cosign's signatures", () => {
  it.for(['classic', 'bundle'] as const)(
    'still hold where an image was copied: %s',
    async (format, context) => {
      needs(context, program(cosignProgram));
      const { context: gantry, directory } = world();
      const [from, to] = [`signed/${format}`, `copied/${format}`];
      await pushImage(registry as TestRegistry, from, '1', index);
      const key = await CosignKey.generate(directory);
      const target = (repository: string) => ({
        reference: `${host()}/${repository}@${index.root.digest}`,
        registry: registry as TestRegistry,
      });
      await key.sign(target(from), format);
      await copy(gantry, `docker://${host()}/${from}:1`, `oci:${directory}/layout:1`);
      await copy(gantry, `oci:${directory}/layout:1`, `docker://${host()}/${to}:1`);
      await key.verify(target(to), format);
      await copy(gantry, `docker://${host()}/${from}:1`, `docker://${host()}/bare/${format}:1`, {
        signatures: false,
      });
      await expect(key.verify(target(`bare/${format}`), format)).rejects.toThrow();
    },
  );

  it.for(['classic', 'bundle'] as const)(
    'come along from the store: %s',
    async (format, context) => {
      needs(context, program(cosignProgram));
      const { context: gantry, directory, store } = world();
      const repository = `stored/${format}`;
      await pushImage(registry as TestRegistry, repository, '1', image);
      const key = await CosignKey.generate(directory);
      const reference = `${host()}/${repository}@${image.root.digest}`;
      await key.sign({ reference, registry: registry as TestRegistry }, format);
      await addTrustedKeys(gantry.directories, readFileSync(key.publicKey), { scope: 'root' });
      const record = await fetchImage(parseReference(`docker://${host()}/${repository}:1`), gantry);
      expect(record.provenance.kind).toBe('sigstore-key');
      expect(store.listImages()).toHaveLength(1);
      await copy(gantry, `${host()}/${repository}:1`, `docker://${host()}/again/${format}:1`);
      const again = `${host()}/again/${format}@${image.root.digest}`;
      await key.verify({ reference: again, registry: registry as TestRegistry }, format);
    },
  );
});

describe('a stored image of an index', () => {
  it('goes alone, and says that what was signed stays', async (context) => {
    needs(context, program(cosignProgram));
    const { context: gantry, directory } = world();
    await pushImage(registry as TestRegistry, 'stored/index', '1', index);
    const key = await CosignKey.generate(directory);
    const reference = `${host()}/stored/index@${index.root.digest}`;
    await key.sign({ reference, registry: registry as TestRegistry });
    await addTrustedKeys(gantry.directories, readFileSync(key.publicKey), { scope: 'root' });
    await fetchImage(parseReference(`docker://${host()}/stored/index:1`), gantry);
    const warnings: string[] = [];
    const report = { ...silent, warn: (line: string) => void warnings.push(line) };
    const layout = `oci:${directory}/layout:1`;
    const digest = await copy({ ...gantry, report }, `${host()}/stored/index:1`, layout);
    expect(digest).toBe(image.root.digest);
    expect(warnings).toEqual([expect.stringContaining('what was signed is its index')]);
  });
});

describe('importing to a destination', () => {
  it('makes an image that others read, and Gantry fetches', async (context) => {
    needs(context, program('crane'));
    const { context: gantry, directory, store } = world();
    const rootfs = join(directory, 'rootfs');
    mkdirSync(join(rootfs, 'etc'), { recursive: true });
    writeFileSync(join(rootfs, 'etc/motd'), 'hello\n');
    const place = `docker://${host()}/imported/app:1`;
    const opened = await openDestination(
      parseReference(place) as RegistryReference,
      { overwrite: false },
      gantry,
    );
    const wish = {
      layer: { source: rootfs, limits: wideLimits },
      image: {
        platform: { os: 'linux', architecture: 'amd64' },
        entrypoint: ['/bin/app'],
        environment: [],
        ports: [],
        volumes: [],
        labels: new Map(),
      },
    };
    const id = await importTo(wish, opened, gantry);
    await opened.close();
    expect(tool('crane', 'digest', `${host()}/imported/app:1`).trim()).toBe(id.replace('-', ':'));
    tool('crane', 'validate', '--remote', `${host()}/imported/app:1`);
    const insecure = { ...gantry, insecure: { ...gantry.insecure, image: true } };
    const record = await fetchImage(parseReference(place), insecure);
    expect(record.id).toBe(id);
    const [tree = ''] = await store.layerPaths(record, () => undefined);
    expect(readFileSync(join(tree, 'etc/motd'), 'utf8')).toBe('hello\n');
  });
});
