import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SigstoreKeyProvenance } from '../../../src/image/provenance.ts';
import {
  addTrustedKeys,
  type TrustDirectories,
  trustedKeysFor,
} from '../../../src/trust/keystore.ts';
import { recheckProvenance } from '../../../src/trust/recheck.ts';

const NAME = 'localhost:5000/team/app';
const RULE = { scope: 'prefix', prefix: 'localhost:5000/team' } as const;

let root: string;
let directories: TrustDirectories;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'recheck-'));
  directories = { system: join(root, 'usr'), local: join(root, 'etc') };
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** What the record of an image says that a new key vouched for. */
async function vouched(): Promise<SigstoreKeyProvenance> {
  const { publicKey } = generateKeyPairSync('ed25519');
  const pem = Buffer.from(publicKey.export({ format: 'pem', type: 'spki' }));
  await addTrustedKeys(directories, pem, RULE);
  const [key] = trustedKeysFor(directories, NAME);
  if (key === undefined) throw new Error('no key');
  return {
    kind: 'sigstore-key',
    algorithm: 'Ed25519',
    fingerprint: key.fingerprint,
    verifiedAt: new Date().toISOString(),
    name: NAME,
    rule: RULE,
    keyPath: key.path,
    keyDigest: createHash('sha256').update(key.bytes()).digest('hex'),
    keyStamp: key.stamp(),
  };
}

describe('asking again about an image a sigstore key vouched for', () => {
  it('answers yes while the file is as it was', async () => {
    await recheckProvenance(await vouched(), NAME, directories);
  });

  it('answers yes when the same key is only written otherwise', async () => {
    const provenance = await vouched();
    writeFileSync(provenance.keyPath, `# Team key\n${readFileSync(provenance.keyPath)}`);
    await recheckProvenance(provenance, NAME, directories);
  });

  it('answers no when the key is gone, and says how to trust it again', async () => {
    const provenance = await vouched();
    rmSync(provenance.keyPath);
    await expect(recheckProvenance(provenance, NAME, directories)).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringContaining(`gantry trust --prefix ${NAME} KEY-FILE`),
    });
  });

  it('answers no for a name the key is not trusted for', async () => {
    await expect(
      recheckProvenance(await vouched(), 'localhost:5001/team/app', directories),
    ).rejects.toMatchObject({ code: 'untrusted' });
  });

  it('answers no when another key lies in its place', async () => {
    const provenance = await vouched();
    const { publicKey } = generateKeyPairSync('ed25519');
    writeFileSync(provenance.keyPath, publicKey.export({ format: 'pem', type: 'spki' }));
    await expect(recheckProvenance(provenance, NAME, directories)).rejects.toMatchObject({
      code: 'bad-key',
    });
  });

  it('answers no when the record says another kind of key than is there', async () => {
    const { algorithm: _algorithm, ...provenance } = await vouched();
    writeFileSync(provenance.keyPath, `# Touched\n${readFileSync(provenance.keyPath)}`);
    const other = { ...provenance, kind: 'x509', subject: 'CN=a', authority: 'CN=b' } as const;
    await expect(recheckProvenance(other, NAME, directories)).rejects.toThrow(
      /is of another kind, sigstore-key, now/,
    );
  });
});
