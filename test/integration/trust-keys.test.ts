import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import * as openpgp from 'openpgp';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { GantryError } from '../../src/error.ts';
import { addTrustedKeys, type TrustDirectories } from '../../src/trust/keystore.ts';
import { describeKeys, type OpenPgpDescription } from '../../src/trust/review.ts';
import { startVerification } from '../../src/trust/verification.ts';
import { Gnupg } from './trust-gnupg.ts';

const NAME = 'example.com/app';
const RULE = { scope: 'prefix', prefix: NAME } as const;
const IMAGE = Buffer.from('some image');

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

async function verify(signature: Uint8Array) {
  const verification = await startVerification({ signature, directories });
  verification.write(IMAGE);
  return await verification.conclude(NAME);
}

describe('trusting a key', () => {
  it('writes one armored file a key, readable by all and writable by its owner only', async () => {
    const key = gpg.generate('Ada <ada@example.com>');
    const umask = process.umask(0o077);
    try {
      const [path = ''] = await addTrustedKeys(directories, gpg.publicKey(key, false), RULE);
      expect(path).toBe(join(root, 'etc/trustedkeys/prefix.d', NAME, key));
      expect(statSync(path).mode & 0o7777).toBe(0o644);
      expect(statSync(dirname(path)).mode & 0o7777).toBe(0o755);
      expect(statSync(join(root, 'etc/trustedkeys')).mode & 0o7777).toBe(0o755);
      expect(readFileSync(path, 'latin1')).toMatch(/^-----BEGIN PGP PUBLIC KEY BLOCK-----/);
      expect(readdirSync(dirname(path))).toEqual([key]);
    } finally {
      process.umask(umask);
    }
    await expect(verify(gpg.sign(IMAGE, { by: [key] }))).resolves.toMatchObject({
      fingerprint: key,
    });
  });

  it('takes every key of a file, in one block or several', async () => {
    const keys = [gpg.generate('One <1@example.com>'), gpg.generate('Two <2@example.com>')];
    const oneBlock = gpg.run(['--armor', '--export', ...keys]);
    const blocks = Buffer.concat(keys.map((key) => gpg.publicKey(key)));
    for (const bytes of [oneBlock, blocks]) {
      const paths = await addTrustedKeys(directories, bytes, { scope: 'root' });
      expect(paths).toEqual(keys.map((key) => join(root, 'etc/trustedkeys/root.d', key)));
    }
    for (const key of keys) {
      await expect(verify(gpg.sign(IMAGE, { by: [key] }))).resolves.toMatchObject({
        rule: { scope: 'root' },
      });
    }
  });

  it('refuses a secret key, keeps nothing of it and does not show it', async () => {
    const key = gpg.generate('Secret <secret@example.com>');
    const armored = gpg.secretKey(key);
    const binary = gpg.run(['--export-secret-keys', key]);
    for (const bytes of [armored, binary, Buffer.concat([gpg.publicKey(key, false), binary])]) {
      const refusal = await addTrustedKeys(directories, bytes, RULE).catch((error) => error);
      expect(refusal).toMatchObject({ code: 'bad-key' });
      expect(refusal.message).toMatch(/SECRET key, of which nothing was kept/);
      await expect(describeKeys(bytes)).rejects.toThrow(/SECRET key/);
    }
    expect(readdirSync(root)).toEqual([]);
  });

  it('refuses what is no key, naming what it is', async () => {
    const key = gpg.generate('Garbage <garbage@example.com>');
    const publicKey = gpg.publicKey(key, false);
    for (const [bytes, reason] of [
      [Buffer.alloc(0), /it is empty/],
      [Buffer.from('<html>Not Found</html>'), /neither armored nor binary OpenPGP/],
      [publicKey.subarray(0, -5), /it is truncated/],
      [gpg.sign(IMAGE, { by: [key] }), /it holds a PGP SIGNATURE/],
      [gpg.sign(IMAGE, { by: [key], armor: false }), /does not begin with a public key/],
      [Buffer.concat([publicKey, Buffer.from('rubbish')]), /not a sequence of OpenPGP packets/],
      [Buffer.alloc((1 << 20) + 1, 'x'), /larger than 1048576 bytes/],
      [Buffer.from([0xcb, 1, 0]), /it holds a packet of type 11/],
    ] as const) {
      const adding = addTrustedKeys(directories, bytes, RULE);
      await expect(adding).rejects.toMatchObject({
        code: 'bad-key',
        message: expect.stringMatching(reason),
      });
    }
    expect(readdirSync(root)).toEqual([]);
  });

  it('refuses a prefix that is no image name', async () => {
    const key = gpg.publicKey(gpg.generate('Prefix <prefix@example.com>'));
    for (const prefix of ['../../etc', '', '/x', 'a/../b']) {
      await expect(
        addTrustedKeys(directories, key, { scope: 'prefix', prefix }),
      ).rejects.toMatchObject({ code: 'invalid-reference' });
    }
  });

  it('says where it could not write, and leaves nothing half written', async () => {
    const key = gpg.publicKey(gpg.generate('Unwritable <u@example.com>'));
    writeFileSync(join(root, 'etc'), 'a file where the directory should be');
    await expect(addTrustedKeys(directories, key, RULE)).rejects.toMatchObject({
      code: 'store',
      message: expect.stringMatching(/^cannot write trusted key .*\/etc\/.*: E(NOTDIR|EXIST)$/),
    });
  });
});

describe('a key file in the store', () => {
  let key: string;
  let path: string;
  beforeEach(async () => {
    key = gpg.generate(`File ${root} <file@example.com>`);
    path = (await addTrustedKeys(directories, gpg.publicKey(key), RULE))[0] ?? '';
  });

  it('is refused under another name than its fingerprint, and nothing is believed beside it', async () => {
    const renamed = join(dirname(path), '0'.repeat(40));
    renameSync(path, renamed);
    await expect(verify(gpg.sign(IMAGE, { by: [key] }))).rejects.toMatchObject({
      code: 'bad-key',
      message: expect.stringContaining(`${renamed}: the key inside has the fingerprint ${key}`),
    });
  });

  it('is refused when it is damaged', async () => {
    writeFileSync(path, readFileSync(path).subarray(0, 100));
    await expect(verify(gpg.sign(IMAGE, { by: [key] }))).rejects.toMatchObject({
      code: 'bad-key',
      message: expect.stringContaining(`trusted key ${path}: not a usable public key`),
    });
  });

  it('is refused when others may write it', async () => {
    chmodSync(path, 0o666);
    await expect(verify(gpg.sign(IMAGE, { by: [key] }))).rejects.toMatchObject({
      code: 'permission',
    });
  });

  it('may have been laid there by hand, in binary too', async () => {
    rmSync(path);
    mkdirSync(join(root, 'usr/trustedkeys/root.d'), { recursive: true });
    writeFileSync(join(root, 'usr/trustedkeys/root.d', key), gpg.publicKey(key, false));
    await expect(verify(gpg.sign(IMAGE, { by: [key] }))).resolves.toMatchObject({
      rule: { scope: 'root' },
    });
  });
});

async function describeOpenPgp(bytes: Uint8Array): Promise<OpenPgpDescription[]> {
  return (await describeKeys(bytes)).filter((key) => key.kind === 'openpgp');
}

describe('what is shown of a key for review', () => {
  it('is its fingerprint as gpg prints it, its user ids, subkeys and dates', async () => {
    const key = gpg.generate('Ada L <ada@example.org>', 'rsa2048', 'sign', '2y');
    const subkey = gpg.addSubkey(key, 'rsa2048');
    gpg.run(['--quick-add-uid', key, 'Second <second@example.org>']);
    const [description, ...more] = await describeOpenPgp(gpg.publicKey(key));
    expect(more).toEqual([]);
    const printed = gpg.run(['--fingerprint', key]).toString().toUpperCase();
    expect(printed).toContain(description?.displayFingerprint);
    expect(description).toMatchObject({
      fingerprint: key,
      algorithm: 'RSA 2048',
      subkeys: [{ fingerprint: subkey }],
    });
    expect(description?.userIds.toSorted()).toEqual([
      'Ada L <ada@example.org>',
      'Second <second@example.org>',
    ]);
    expect(description?.expires?.getTime()).toBeGreaterThan(Date.now());
    expect(description?.problem).toBeUndefined();
  });

  it('says what is wrong with an expired, a revoked and a weak key', async () => {
    const expired = gpg.generate(
      'Old <old@example.com>',
      'ed25519',
      'sign',
      '1y',
      '20200101T000000',
    );
    const revoked = gpg.generate('Revoked <revoked@example.com>');
    gpg.revoke(revoked);
    const weak = gpg.generate('Weak <weak@example.com>', 'rsa1024');
    const described = await describeKeys(gpg.run(['--export', expired, revoked, weak]));
    const problems = new Map(described.map((key) => [key.fingerprint, key.problem]));
    expect(problems.get(expired)).toMatch(/^the key expired at 2020-12-31T00:00:00Z/);
    expect(problems.get(revoked)).toMatch(/^the key was revoked by its owner/);
    expect(problems.get(weak)).toMatch(/^the key is RSA with 1024 bits/);
  });

  it('leaves out a user id the owner did not sign', async () => {
    const key = await openpgp.readKey({
      binaryKey: gpg.publicKey(gpg.generate('Honest <honest@example.com>'), false),
    });
    const packets = key.toPacketList();
    packets.push(openpgp.UserIDPacket.fromObject({ name: 'Forged', email: 'forged@example.com' }));
    const [description] = await describeOpenPgp(packets.write());
    expect(description?.userIds).toEqual(['Honest <honest@example.com>']);
  });
});

describe('what gpg would not make', () => {
  async function trustKey(key: openpgp.Key): Promise<void> {
    await addTrustedKeys(directories, key.toPublic().write(), RULE);
  }

  async function generate(options: Partial<openpgp.KeyOptions> = {}): Promise<openpgp.PrivateKey> {
    const { privateKey } = await openpgp.generateKey({
      ...options,
      userIDs: { email: 'made@example.com' },
      date: new Date(Date.now() - 60_000),
      format: 'object',
    });
    return privateKey;
  }

  async function signed(signingKeys: openpgp.PrivateKey): Promise<Uint8Array> {
    const message = await openpgp.createMessage({ binary: new Uint8Array(IMAGE) });
    return (await openpgp.sign({
      message,
      signingKeys,
      detached: true,
      format: 'binary',
      config: { nonDeterministicSignaturesViaNotation: false },
    })) as Uint8Array;
  }

  it("does not let a key adopt another key's signing subkey", async () => {
    const victim = await generate({ subkeys: [{ sign: true }] });
    const thief = await generate();
    const stolen = victim.subkeys[0]?.keyPacket as openpgp.SecretSubkeyPacket;
    const binding = new openpgp.SignaturePacket();
    binding.signatureType = openpgp.enums.signature.subkeyBinding;
    binding.publicKeyAlgorithm = thief.keyPacket.algorithm;
    binding.hashAlgorithm = openpgp.enums.hash.sha512;
    binding.keyFlags = [openpgp.enums.keyFlags.signData] as unknown as Uint8Array;
    const bound = { key: thief.keyPacket, bind: stolen } as unknown as Uint8Array;
    const sign = binding.sign as (...args: unknown[]) => Promise<void>;
    await sign.call(binding, thief.keyPacket, bound, new Date(), false, openpgp.config);
    const packets = thief.toPublic().toPacketList();
    const publicSubkey = victim.toPublic().subkeys[0]?.keyPacket as openpgp.PublicSubkeyPacket;
    packets.push(publicSubkey, binding as unknown as (typeof packets)[number]);
    await addTrustedKeys(directories, packets.write(), RULE);
    await expect(verify(await signed(victim))).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringMatching(/must not sign: .*[Mm]issing embedded signature/),
    });
  });

  it('does not take a certification for a signature over an image', async () => {
    const key = await generate();
    await trustKey(key);
    const certification = key.users[0]?.selfCertifications[0];
    const packets = new openpgp.PacketList<openpgp.SignaturePacket>();
    if (certification !== undefined) packets.push(certification);
    await expect(verify(packets.write())).rejects.toMatchObject({
      code: 'bad-signature',
      message: expect.stringMatching(/is not one over a binary file \(type 1[0-9]\)/),
    });
  });

  it('believes a revocation however weakly it is signed', async () => {
    const fingerprint = gpg.generate('Frail <frail@example.com>', 'rsa2048');
    const signature = gpg.sign(IMAGE, { by: [fingerprint] });
    const dialogue = 'y\n3\n\ny\n';
    const revocation = gpg.run(
      ['--cert-digest-algo', 'ripemd160', '--command-fd', '0', '--gen-revoke', fingerprint],
      undefined,
      dialogue,
    );
    gpg.run(['--import'], undefined, revocation.toString());
    const bytes = gpg.publicKey(fingerprint, false);
    const { revocationSignatures } = await openpgp.readKey({ binaryKey: bytes });
    expect(revocationSignatures[0]?.hashAlgorithm).toBe(openpgp.enums.hash.ripemd);
    await addTrustedKeys(directories, bytes, RULE);
    await expect(verify(signature)).rejects.toThrow(/was revoked by its owner/);
  });

  it('does not believe a key its owner has since forbidden to sign', async () => {
    const made = '20240101T000000';
    const fingerprint = gpg.generate('Was <was@example.com>', 'ed25519', 'sign', 'never', made);
    const signature = gpg.sign(IMAGE, { by: [fingerprint], at: '20240102T000000' });
    const before = await openpgp.readKey({ binaryKey: gpg.publicKey(fingerprint, false) });
    const changeUsage = ['--command-fd', '0', '--edit-key', fingerprint, 'change-usage'];
    gpg.run(changeUsage, undefined, 's\nq\nsave\n');
    const after = await openpgp.readKey({ binaryKey: gpg.publicKey(fingerprint, false) });
    await trustKey(before);
    await expect(verify(signature)).resolves.toBeDefined();
    // gpg replaces the self-signature; a key server would have both.
    await trustKey(await before.update(after as openpgp.PublicKey));
    await expect(verify(signature)).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringContaining('must not sign'),
    });
  });

  it('does not believe a key that an appointed revoker has revoked', async () => {
    const revoker = gpg.generate('Revoker <revoker@example.com>');
    const fingerprint = gpg.generate('Appointing <appointing@example.com>');
    const signature = gpg.sign(IMAGE, { by: [fingerprint] });
    const appoint = ['--command-fd', '0', '--edit-key', fingerprint, 'addrevoker'];
    gpg.run(appoint, undefined, `${revoker}\ny\nsave\n`);
    const revoke = ['--command-fd', '0', '--desig-revoke', fingerprint];
    const revocation = gpg.run(revoke, undefined, 'y\n0\n\ny\n');
    gpg.run(['--import'], undefined, revocation.toString());
    await addTrustedKeys(directories, gpg.publicKey(fingerprint), RULE);
    await expect(verify(signature)).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringContaining(
        `a revocation by another key, ${revoker.slice(-16).toUpperCase()}`,
      ),
    });
  });

  it('accepts version 6 keys and signatures, several with salts of their own', async () => {
    const v6 = { type: 'curve25519', config: { v6Keys: true } } as const;
    const keys = [await generate(v6), await generate(v6)];
    const both = Buffer.concat(await Promise.all(keys.map(signed)));
    for (const key of keys) {
      rmSync(join(root, 'etc'), { recursive: true, force: true });
      await trustKey(key);
      await expect(verify(both)).resolves.toMatchObject({ fingerprint: key.getFingerprint() });
    }
  });

  it('refuses a key with more self-signatures than anyone needs', async () => {
    const packets = (await generate({ subkeys: [] })).toPublic().toPacketList();
    const certification = packets.findPacket(openpgp.enums.packet.signature);
    for (let n = 0; n < 256; n += 1) if (certification !== undefined) packets.push(certification);
    await expect(describeKeys(packets.write())).rejects.toMatchObject({
      code: 'bad-key',
      message: expect.stringContaining('more than 256 self-signatures'),
    });
  });

  it('refuses a file of too many signatures', async () => {
    const key = await generate();
    await trustKey(key);
    const one = await signed(key);
    await expect(verify(Buffer.concat(Array(16).fill(one)))).resolves.toBeDefined();
    await expect(verify(Buffer.concat(Array(17).fill(one)))).rejects.toThrow(/more than 16/);
  });

  it('meets damaged keys and signatures with refusals only', { timeout: 60_000 }, async () => {
    const key = await generate({ subkeys: [{ sign: true }] });
    await trustKey(key);
    const signature = await signed(key);
    const publicKey = key.toPublic().write();
    for (let round = 0; round < 400; round += 1) {
      const damagedSignature = damaged(signature, round);
      const damagedKey = damaged(publicKey, round);
      for (const attempt of [
        () => verify(damagedSignature),
        () => describeKeys(damagedKey),
        () => addTrustedKeys({ ...directories, local: join(root, 'other') }, damagedKey, RULE),
      ]) {
        await attempt().catch((error: unknown) => {
          expect(error).toBeInstanceOf(GantryError);
          expect((error as GantryError).message).not.toMatch(/[\n\r]|TypeError|undefined/);
        });
      }
    }
  });
});

/** A copy with a byte changed, cut out or repeated: which, follows from the round. */
function damaged(bytes: Uint8Array, round: number): Uint8Array {
  const at = (round * 7919) % bytes.length;
  const copy = Buffer.from(bytes);
  if (round % 3 === 0) return Buffer.concat([copy.subarray(0, at), copy.subarray(at + 1)]);
  if (round % 3 === 1) return Buffer.concat([copy.subarray(0, at + 1), copy.subarray(at)]);
  copy.writeUInt8((copy.readUInt8(at) + 1 + round) & 0xff, at);
  return copy;
}
