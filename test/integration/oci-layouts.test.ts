import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { secure } from '../../src/config/insecure.ts';
import type { FetchContext } from '../../src/fetch/context.ts';
import { fetchImage } from '../../src/fetch/fetch.ts';
import { parseReference } from '../../src/image/reference.ts';
import { defaultUnpackLimits } from '../../src/image/unpack-limits.ts';
import { Store } from '../../src/store/store.ts';
import { addTrustedKeys } from '../../src/trust/keystore.ts';
import { imageOf, layerOf, writeLayout } from '../support/oci-image.ts';
import { needs, program } from '../support/requirements.ts';
import { Signer } from './fetch-images.ts';
import { quickPace, RecordedReport } from './fetch-world.ts';
import { KeySigner, keptIn, writeClassicSignature } from './oci-world.ts';

const image = imageOf([
  layerOf([{ name: 'a', content: 'a' }]),
  layerOf([{ name: 'b', content: 'b' }]),
]);
const name = 'example.com/team/app';

let directory: string;
let signer: Signer;
let stores = 0;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'gantry-layouts-'));
  signer = await Signer.create('Layout');
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));
beforeEach(async () => {
  rmSync(join(directory, 'local'), { recursive: true, force: true });
  for (const folder of ['system', 'local']) mkdirSync(join(directory, folder), { recursive: true });
  await addTrustedKeys(directories(), signer.key, { scope: 'prefix', prefix: 'example.com' });
});

function directories() {
  return { system: join(directory, 'system'), local: join(directory, 'local') };
}

function context(changes: Partial<FetchContext> = {}): FetchContext {
  return {
    directories: directories(),
    insecure: secure,
    report: new RecordedReport(),
    env: { HOME: directory },
    pace: quickPace,
    store: Store.open(join(directory, `store-${++stores}`)),
    pullPolicy: 'update',
    limits: defaultUnpackLimits,
    ...changes,
  };
}

/** An OCI layout with the image under a ref; answers its directory. */
function layout(ref: string): string {
  const made = join(directory, `layout-${++stores}`);
  mkdirSync(made);
  writeLayout(made, { [ref]: image });
  return made;
}

async function signedArchive(ref = `${name}:1.2`): Promise<string> {
  const path = join(directory, `archive-${++stores}.tar`);
  execFileSync('tar', ['-C', layout(ref), '-cf', path, '.']);
  writeFileSync(`${path}.asc`, await signer.sign(readFileSync(path)));
  return path;
}

const fetchFrom = (text: string, own: FetchContext = context()) =>
  fetchImage(parseReference(text), own);

describe('an archive of a layout with a detached signature', () => {
  it('is believed as a whole, under the name it has there', async () => {
    const record = await fetchFrom(`oci-archive:${await signedArchive()}`);
    expect(record).toMatchObject({
      id: image.root.digest.replace(':', '-'),
      name,
      labels: { version: '1.2' },
      provenance: { kind: 'openpgp', signature: 'detached', signed: { what: 'archive' } },
    });
  });

  it('may be compressed as a whole', async () => {
    const path = join(directory, 'whole.tar.gz');
    execFileSync('tar', ['-C', layout(`${name}:1`), '-czf', path, '.']);
    writeFileSync(`${path}.asc`, await signer.sign(readFileSync(path)));
    expect((await fetchFrom(`oci-archive:${path}`)).name).toBe(name);
  });

  it('is refused when a byte was changed or added after signing, and nothing is kept', async () => {
    const path = await signedArchive();
    appendFileSync(path, Buffer.alloc(512));
    const own = context();
    await expect(fetchFrom(`oci-archive:${path}`, own)).rejects.toThrow(
      expect.objectContaining({ code: 'bad-signature' }),
    );
    expect(keptIn(own.store)).toEqual([]);
  });

  it('is refused when the key may not speak for the name in it', async () => {
    const path = await signedArchive('other.example.net/app:1');
    await expect(fetchFrom(`oci-archive:${path}`)).rejects.toThrow(
      expect.objectContaining({
        code: 'untrusted',
        message: expect.stringContaining('other.example.net/app'),
      }),
    );
  });

  it('is not believed for the signature beside the image in it when its own does not hold', async () => {
    const path = await signedArchive();
    writeFileSync(`${path}.asc`, 'no signature');
    await expect(fetchFrom(`oci-archive:${path}`)).rejects.toThrow(
      expect.objectContaining({ code: 'bad-signature' }),
    );
  });
});

describe('a layout', () => {
  it('is refused where nobody signed its image', async () => {
    await expect(fetchFrom(`oci:${layout(`${name}:1`)}`)).rejects.toThrow(/no signature/);
  });

  it('is believed by the signature that lies in it beside the image', async () => {
    const key = new KeySigner();
    await addTrustedKeys(directories(), key.publicKey, { scope: 'prefix', prefix: name });
    const made = layout(`${name}:1`);
    writeClassicSignature(made, image, key.sign(image.root.digest, name));
    const record = await fetchFrom(`oci:${made}`);
    expect(record.provenance).toMatchObject({ kind: 'sigstore-key', signature: 'cosign' });
  });

  it('without a name in it is of this machine, and called after its file', async () => {
    const insecure = { ...secure, image: true };
    const record = await fetchFrom(`oci:${layout('1.0')}:1.0`, context({ insecure }));
    expect(record.name).toMatch(/^localhost\/layout-\d+$/);
    expect(record.labels['version']).toBe('1.0');
  });

  it('does not hand on as a version what could not be a tag', async () => {
    const insecure = { ...secure, image: true };
    const made = layout('1.0, id=\u001b]0;x\u0007');
    const record = await fetchFrom(`oci:${made}`, context({ insecure }));
    expect(record.labels).not.toHaveProperty('version');
  });

  it('is refused where a blob is another than its name says', async () => {
    const made = layout(`${name}:1`);
    const [first] = image.layers;
    writeFileSync(join(made, 'blobs', (first?.digest ?? '').replace(':', '/')), 'changed');
    const own = context({ insecure: { ...secure, image: true } });
    await expect(fetchFrom(`oci:${made}`, own)).rejects.toThrow(
      expect.objectContaining({ code: 'invalid-archive' }),
    );
    expect(keptIn(own.store)).toEqual([]);
  });
});

describe("docker's archives", () => {
  const insecure = { ...secure, image: true };

  it('are taken as skopeo writes them, under the name they carry', async (test) => {
    needs(test, program('skopeo'));
    const path = join(directory, 'docker.tar');
    const words = ['--insecure-policy', 'copy', '-q', `oci:${layout('1')}:1`];
    execFileSync('skopeo', [...words, `docker-archive:${path}:example.com/team/app:3`]);
    const record = await fetchFrom(`docker-archive:${path}`, context({ insecure }));
    expect(record).toMatchObject({ name, labels: { version: '3' } });
    const again = await fetchFrom(`docker-archive:${path}`, context({ insecure }));
    expect(again.id).toBe(record.id);
  });

  it('are refused unsigned', async (test) => {
    needs(test, program('skopeo'));
    const path = join(directory, 'docker2.tar');
    const words = ['--insecure-policy', 'copy', '-q', `oci:${layout('1')}:1`];
    execFileSync('skopeo', [...words, `docker-archive:${path}:example.com/team/app:3`]);
    await expect(fetchFrom(`docker-archive:${path}`)).rejects.toThrow(/no signature/);
  });
});
