import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { enums, readKey } from 'openpgp';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { OpenPgpProvenance } from '../../src/image/provenance.ts';
import { addTrustedKeys, type TrustDirectories } from '../../src/trust/keystore.ts';
import { recheckProvenance, startVerification } from '../../src/trust/verification.ts';
import { Gnupg } from './trust-gnupg.ts';

const NAME = 'example.com/team/app';
const IMAGE = Buffer.from('an image archive, as far as a signature is concerned\n'.repeat(5000));

let gpg: Gnupg;
let root: string;
let directories: TrustDirectories;

beforeAll(() => {
  gpg = new Gnupg();
});
afterAll(() => gpg[Symbol.dispose]());
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'trust-'));
  directories = { system: join(root, 'usr'), local: join(root, 'etc') };
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

async function trust(fingerprint: string, prefix = 'example.com/team'): Promise<string> {
  const rule = { scope: 'prefix', prefix } as const;
  const [path] = await addTrustedKeys(directories, gpg.publicKey(fingerprint), rule);
  return path ?? '';
}

interface Trial {
  image?: Buffer;
  name?: string;
  now?: Date;
}

async function verify(signature: Uint8Array, trial: Trial = {}): Promise<OpenPgpProvenance> {
  const verification = await startVerification({ signature, directories, now: trial.now });
  const image = trial.image ?? IMAGE;
  for (let offset = 0; offset < image.length; offset += 4096) {
    verification.write(image.subarray(offset, offset + 4096));
  }
  const provenance = await verification.conclude(trial.name ?? NAME);
  if (provenance.kind !== 'openpgp') throw new Error('not verified');
  return provenance;
}

function daysFromNow(days: number): Date {
  return new Date(Date.now() + days * 24 * 3600 * 1000);
}

/**
 * Where a binary version 4 EdDSA signature says nothing that is signed: its unhashed subpackets,
 * and the bit counts before its two numbers (RFC 9580 sections 5.2.3, 3.2).
 */
function unsignedOffsets(signature: Buffer): Set<number> {
  const unhashed = 8 + signature.readUInt16BE(6);
  const check = unhashed + 2 + signature.readUInt16BE(unhashed);
  const r = check + 2;
  const s = r + 2 + Math.ceil(signature.readUInt16BE(r) / 8);
  const area = Array.from({ length: check - unhashed }, (_, index) => unhashed + index);
  return new Set([...area, r, r + 1, s, s + 1]);
}

/** A time as gpg takes it. */
function gpgTime(time: Date): string {
  return time.toISOString().replace(/[-:]|\.\d+Z/g, '');
}

describe('a signature that holds', () => {
  for (const algorithm of ['ed25519', 'rsa2048', 'nistp256']) {
    it(`is accepted from a key of ${algorithm}, armored and binary`, async () => {
      const key = gpg.generate(`${algorithm} <a@example.com>`, algorithm);
      await trust(key);
      for (const armor of [true, false]) {
        const provenance = await verify(gpg.sign(IMAGE, { by: [key], armor }));
        expect(provenance.fingerprint).toBe(key);
      }
    });
  }

  it('leaves a record of who signed, when, and under which rule', async () => {
    const key = gpg.generate('Ada <ada@example.com>');
    const path = await trust(key);
    const provenance = await verify(gpg.sign(IMAGE, { by: [key] }));
    expect(provenance).toMatchObject({
      kind: 'openpgp',
      fingerprint: key,
      signingKeyId: key.slice(-16),
      userId: 'Ada <ada@example.com>',
      name: NAME,
      rule: { scope: 'prefix', prefix: 'example.com/team' },
      keyPath: path,
    });
    expect(provenance.keyDigest).toMatch(/^[0-9a-f]{64}$/);
    expect(Math.abs(Date.parse(provenance.signedAt) - Date.now())).toBeLessThan(60_000);
  });

  it('may be by a signing subkey', async () => {
    const key = gpg.generate('Subkeys <s@example.com>');
    const subkey = gpg.addSubkey(key);
    await trust(key);
    const provenance = await verify(gpg.sign(IMAGE, { by: [`${subkey}!`] }));
    expect(provenance).toMatchObject({ fingerprint: key, signingKeyId: subkey.slice(-16) });
  });

  it('may be by a key trusted for every name', async () => {
    const key = gpg.generate('Root <r@example.com>');
    await addTrustedKeys(directories, gpg.publicKey(key), { scope: 'root' });
    expect((await verify(gpg.sign(IMAGE, { by: [key] }))).rule).toEqual({ scope: 'root' });
  });

  it('is enough beside others that do not', async () => {
    const stranger = gpg.generate('Stranger <x@example.com>');
    const key = gpg.generate('Known <k@example.com>');
    await trust(key);
    const both = gpg.sign(IMAGE, { by: [stranger, key] });
    expect((await verify(both)).fingerprint).toBe(key);
    const wrong = gpg.sign(Buffer.from('another image'), { by: [key] });
    const blocks = Buffer.concat([wrong, gpg.sign(IMAGE, { by: [key] })]);
    expect((await verify(blocks)).fingerprint).toBe(key);
  });

  it('may be by a key of old, whose self-signature has a SHA-1 digest', async () => {
    const options = ['--cert-digest-algo', 'sha1', '--quick-generate-key'];
    gpg.run([...options, 'Sha1 <sha1@example.com>', 'rsa2048', 'sign', 'never']);
    const listing = gpg.run(['--with-colons', '--list-keys', 'sha1@example.com']).toString();
    const key = /^fpr:+([0-9A-F]{40}):/m.exec(listing)?.[1]?.toLowerCase() ?? '';
    const { users } = await readKey({ binaryKey: gpg.publicKey(key, false) });
    expect(users[0]?.selfCertifications[0]?.hashAlgorithm).toBe(enums.hash.sha1);
    await trust(key);
    await expect(verify(gpg.sign(IMAGE, { by: [key] }))).resolves.toBeDefined();
  });

  it('may be older than the self-signature of a key whose expiry was moved', async () => {
    const key = gpg.generate('Renewed <n@example.com>', 'ed25519', 'sign', '1y', '20240101T000000');
    const signature = gpg.sign(IMAGE, { by: [key], at: '20240201T000000' });
    gpg.setExpiry(key, '10y', '20240301T000000');
    await trust(key);
    expect((await verify(signature)).signedAt).toBe('2024-02-01T00:00:00.000Z');
  });
});

describe('a signature that does not hold', () => {
  let key: string;
  beforeAll(() => {
    key = gpg.generate('Signer <signer@example.com>');
  });

  it('is refused over an image with one byte changed', async () => {
    await trust(key);
    const image = Buffer.from(IMAGE);
    image.writeUInt8(image.readUInt8(100_000) ^ 1, 100_000);
    await expect(verify(gpg.sign(IMAGE, { by: [key] }), { image })).rejects.toMatchObject({
      code: 'bad-signature',
      message: expect.stringContaining(
        `${NAME}: the signature by key ${key.slice(-16).toUpperCase()} does not match`,
      ),
    });
  });

  it('is refused whichever of its own bytes is changed', async () => {
    await trust(key);
    const signature = gpg.sign(IMAGE, { by: [key], armor: false });
    const accepted: number[] = [];
    for (let index = 0; index < signature.length; index += 1) {
      const changed = Buffer.from(signature);
      changed.writeUInt8(changed.readUInt8(index) ^ 1, index);
      await verify(changed).then(
        () => accepted.push(index),
        (error) => expect(error.code).toMatch(/^(bad-signature|untrusted)$/),
      );
    }
    const unsigned = unsignedOffsets(signature);
    expect(accepted.filter((index) => !unsigned.has(index))).toEqual([]);
  });

  it('is refused over a truncated image and over an empty one', async () => {
    await trust(key);
    const signature = gpg.sign(IMAGE, { by: [key] });
    for (const image of [IMAGE.subarray(0, -1), Buffer.alloc(0)]) {
      await expect(verify(signature, { image })).rejects.toMatchObject({ code: 'bad-signature' });
    }
  });

  for (const [digest, name] of [
    ['sha1', 'SHA-1'],
    ['ripemd160', 'RIPEMD-160'],
    ['md5', 'MD5'],
  ]) {
    it(`is refused with the digest ${name}`, async () => {
      const rsa = gpg.generate(`${digest} <d@example.com>`, 'rsa2048');
      await trust(rsa);
      const options = ['--allow-weak-digest-algos', '--digest-algo', digest ?? ''];
      const signature = gpg.sign(IMAGE, { by: [rsa], options });
      await expect(verify(signature)).rejects.toMatchObject({
        code: 'bad-signature',
        message: expect.stringContaining(`the digest ${name}, which is broken`),
      });
    });
  }

  it('is refused when it was made over text', async () => {
    await trust(key);
    const signature = gpg.sign(IMAGE, { by: [key], options: ['--textmode'] });
    await expect(verify(signature)).rejects.toMatchObject({
      code: 'bad-signature',
      message: expect.stringContaining('is not one over a binary file (type 1)'),
    });
  });

  it('is refused with a critical notation', async () => {
    await trust(key);
    const options = ['--sig-notation', '!only-for@example.com=somebody'];
    await expect(verify(gpg.sign(IMAGE, { by: [key], options }))).rejects.toMatchObject({
      code: 'bad-signature',
      message: expect.stringContaining('critical notation "only-for@example.com"'),
    });
    const harmless = gpg.sign(IMAGE, { by: [key], options: ['--sig-notation', 'a@b.org=c'] });
    await expect(verify(harmless)).resolves.toMatchObject({ fingerprint: key });
  });

  it('is refused once it has expired', async () => {
    await trust(key);
    const signature = gpg.sign(IMAGE, { by: [key], options: ['--default-sig-expire', '2d'] });
    await expect(verify(signature)).resolves.toBeDefined();
    await expect(verify(signature, { now: daysFromNow(3) })).rejects.toMatchObject({
      code: 'bad-signature',
      message: expect.stringMatching(/the signature by key [0-9A-F]{16} expired at .*Z; ask for/),
    });
  });

  it('is refused from the future', async () => {
    await trust(key);
    const signature = gpg.sign(IMAGE, { by: [key], at: gpgTime(daysFromNow(400)) });
    await expect(verify(signature)).rejects.toMatchObject({
      code: 'bad-signature',
      message: expect.stringMatching(/was made in the future, at .*; check this machine's clock/),
    });
  });
});

describe('a key that must not vouch', () => {
  it('is unknown: named by its id, with the command that would settle it', async () => {
    const key = gpg.generate('Nobody <nobody@example.com>');
    await expect(verify(gpg.sign(IMAGE, { by: [key] }))).rejects.toMatchObject({
      code: 'untrusted',
      message: `${NAME}: openpgp: signature made by unknown entity: no key trusted for ${NAME} has the id ${key.slice(-16).toUpperCase()}; to trust it, with its file or URL added where it cannot be discovered, run: gantry trust --prefix ${NAME}`,
    });
  });

  it('is refused before the image is fetched when its name is known', async () => {
    const key = gpg.generate('Early <early@example.com>');
    const signature = gpg.sign(IMAGE, { by: [key] });
    await expect(startVerification({ signature, directories, name: NAME })).rejects.toMatchObject({
      code: 'untrusted',
    });
  });

  it('is trusted for a neighbouring prefix only', async () => {
    const key = gpg.generate('Neighbour <neighbour@example.com>');
    const path = await trust(key, 'example.com/foo');
    const signature = gpg.sign(IMAGE, { by: [key] });
    await expect(verify(signature, { name: 'example.com/foo/bar' })).resolves.toBeDefined();
    await expect(verify(signature, { name: 'example.com/foobar' })).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringContaining(
        `is trusted for example.com/foo, not for example.com/foobar; to trust it for this name too run: gantry trust --prefix example.com/foobar ${path}`,
      ),
    });
  });

  it('has expired, be the signature older or not', async () => {
    const key = gpg.generate('Expired <e@example.com>', 'ed25519', 'sign', '1y', '20240101T000000');
    const signature = gpg.sign(IMAGE, { by: [key], at: '20240201T000000' });
    await trust(key);
    await expect(verify(signature, { now: new Date('2024-06-01') })).resolves.toBeDefined();
    await expect(verify(signature)).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringMatching(
        /which signed it, expired at 2024-12-31T00:00:00Z; .*gantry trust --prefix example.com\/team$/,
      ),
    });
  });

  it('had expired when the signature was made', async () => {
    const key = gpg.generate('Late <l@example.com>', 'ed25519', 'sign', '5y', '20240101T000000');
    const signature = gpg.sign(IMAGE, { by: [key], at: '20250601T000000' });
    gpg.setExpiry(key, '1y', '20240102T000000');
    await trust(key);
    await expect(verify(signature)).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringContaining(', before the signature was made'),
    });
  });

  it('did not exist when the signature claims to have been made', async () => {
    const key = gpg.generate('Young <y@example.com>');
    const signature = gpg.sign(IMAGE, { by: [key], at: '20200101T000000' });
    await trust(key);
    await expect(verify(signature)).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringContaining('did not exist when the signature claims'),
    });
  });

  it('was revoked, after the signature was made', async () => {
    const key = gpg.generate('Revoked <revoked@example.com>');
    const signature = gpg.sign(IMAGE, { by: [key] });
    await trust(key);
    await expect(verify(signature)).resolves.toBeDefined();
    gpg.revoke(key);
    await trust(key);
    await expect(verify(signature)).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringContaining('was revoked by its owner'),
    });
  });

  it('is a revoked subkey of a good key, even if only retired', async () => {
    const key = gpg.generate('Retired <retired@example.com>', 'ed25519', 'sign', 'never');
    const subkey = gpg.addSubkey(key);
    const signature = gpg.sign(IMAGE, { by: [`${subkey}!`] });
    gpg.revokeSubkey(key, 1);
    await trust(key);
    await expect(verify(signature)).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringContaining('is a subkey its owner has revoked'),
    });
    await expect(verify(gpg.sign(IMAGE, { by: [`${key}!`] }))).resolves.toBeDefined();
  });

  it('is an expired subkey of a good key', async () => {
    const key = gpg.generate('Sub <sub@example.com>');
    const subkey = gpg.addSubkey(key, 'ed25519', '10d');
    const signature = gpg.sign(IMAGE, { by: [`${subkey}!`] });
    await trust(key);
    await expect(verify(signature, { now: daysFromNow(11) })).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringContaining('expired at'),
    });
  });

  it('is too weak', async () => {
    const rsa = gpg.generate('Short <short@example.com>', 'rsa1024');
    const dsa = gpg.generate('Dsa <dsa@example.com>', 'dsa2048');
    await trust(rsa);
    await trust(dsa);
    await expect(verify(gpg.sign(IMAGE, { by: [rsa] }))).rejects.toThrow(
      /is RSA with 1024 bits, and fewer than 2048 are too weak/,
    );
    await expect(verify(gpg.sign(IMAGE, { by: [dsa] }))).rejects.toThrow(/is a DSA key/);
  });

  it('is named for each signature when none holds', async () => {
    const known = gpg.generate('One <one@example.com>');
    const stranger = gpg.generate('Two <two@example.com>');
    await trust(known);
    const signature = gpg.sign(Buffer.from('another image'), { by: [stranger, known] });
    await expect(verify(signature)).rejects.toMatchObject({
      code: 'bad-signature',
      message: expect.stringMatching(
        /none of its 2 signatures holds: \(1\) the signature by key .* does not match.*, \(2\) openpgp: signature made by unknown entity/,
      ),
    });
  });
});

describe('the question asked again before a pod starts', () => {
  let key: string;
  let provenance: OpenPgpProvenance;
  let path: string;
  beforeEach(async () => {
    key = gpg.generate(`Again ${root} <again@example.com>`);
    path = await trust(key);
    provenance = await verify(gpg.sign(IMAGE, { by: [key] }));
  });

  it('is answered by the unchanged key file', async () => {
    await expect(recheckProvenance(provenance, NAME, directories)).resolves.toBeUndefined();
  });

  it('loads no OpenPGP for the unchanged key file', () => {
    const trustModule = new URL('../../src/trust/verification.ts', import.meta.url).href;
    const script = `
      import { registerHooks } from 'node:module';
      const seen = [];
      registerHooks({ resolve(name, context, next) { seen.push(name); return next(name, context); } });
      const { recheckProvenance } = await import(${JSON.stringify(trustModule)});
      await recheckProvenance(${JSON.stringify(provenance)}, '${NAME}', ${JSON.stringify(directories)});
      console.log(seen.some((name) => name.includes('recheck')), seen.includes('openpgp'));`;
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', script]);
    expect(output.toString()).toBe('true false\n');
  });

  it('is refused when the key was removed or masked', async () => {
    const refused = {
      code: 'untrusted',
      message: expect.stringContaining('not trusted for it any more'),
    };
    writeFileSync(path, '');
    await expect(recheckProvenance(provenance, NAME, directories)).rejects.toMatchObject(refused);
    rmSync(path);
    await expect(recheckProvenance(provenance, NAME, directories)).rejects.toMatchObject(refused);
  });

  it('is refused for a name the key is not trusted for', async () => {
    await expect(
      recheckProvenance(provenance, 'example.com/teams/app', directories),
    ).rejects.toMatchObject({ code: 'untrusted' });
  });

  it('is answered by a key file that was renewed', async () => {
    gpg.setExpiry(key, '3y');
    await trust(key);
    await expect(recheckProvenance(provenance, NAME, directories)).resolves.toBeUndefined();
  });

  it('is refused when the key file now says revoked, or is another key', async () => {
    gpg.revoke(key);
    await trust(key);
    await expect(recheckProvenance(provenance, NAME, directories)).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringContaining('was revoked by its owner'),
    });
    const other = gpg.generate(`Other ${root} <other@example.com>`);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, gpg.publicKey(other));
    await expect(recheckProvenance(provenance, NAME, directories)).rejects.toMatchObject({
      code: 'bad-key',
      message: expect.stringContaining(`has the fingerprint ${other}`),
    });
  });

  it('is refused when the subkey that signed was retired since', async () => {
    const subkey = gpg.addSubkey(key);
    await trust(key);
    const bySubkey = await verify(gpg.sign(IMAGE, { by: [`${subkey}!`] }));
    gpg.revokeSubkey(key, 1);
    await trust(key);
    await expect(recheckProvenance(bySubkey, NAME, directories)).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringContaining('is a subkey its owner has revoked'),
    });
  });

  it('is refused for an image nobody vouched for', async () => {
    const unverified = { kind: 'unverified', reason: '--insecure-options=image' } as const;
    await expect(recheckProvenance(unverified, NAME, directories)).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringContaining('without a verified signature'),
    });
  });
});
