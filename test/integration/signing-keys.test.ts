import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { generateKeyPair } from '../../src/trust/key-pair.ts';
import { isSignedBy } from '../../src/trust/key-signature.ts';
import { signDetached } from '../../src/trust/openpgp-signing.ts';
import { sealKey } from '../../src/trust/sealed-key.ts';
import { signClassic } from '../../src/trust/signing.ts';
import { readSigningKey, type SigningKey } from '../../src/trust/signing-key.ts';
import { CosignKey, cosignProgram, publicHalfByCosign } from '../support/cosign.ts';
import { needs, program } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { Gnupg } from './trust-gnupg.ts';

const DIGEST = { algorithm: 'sha256', hex: 'ab'.repeat(32) } as const;

let directory: string;
let warnings: string[];

beforeEach(() => {
  directory = temporaryDirectory();
  warnings = [];
});

function file(name: string, content: string | Uint8Array, mode = 0o600): string {
  const path = join(directory, name);
  writeFileSync(path, content, { mode });
  chmodSync(path, mode);
  return path;
}

async function read(path: string, passphrase?: string): Promise<SigningKey> {
  return await readSigningKey(path, {
    askPassphrase: async () => (passphrase === undefined ? undefined : Buffer.from(passphrase)),
    warn: (line) => warnings.push(line),
  });
}

function openssl(...args: string[]): Buffer {
  return execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Whether what the key signs holds under its own public half. */
function signs(key: SigningKey): boolean {
  if (key.kind !== 'sigstore-key') return false;
  const { payload, signature } = signClassic(key, 'example.com/app', DIGEST);
  return isSignedBy(key.publicKey, payload, Buffer.from(signature, 'base64'));
}

describe('a sigstore key', () => {
  const algorithms: [string, string[]][] = [
    ['ECDSA P-256', ['EC', '-pkeyopt', 'ec_paramgen_curve:P-256']],
    ['ECDSA P-384', ['EC', '-pkeyopt', 'ec_paramgen_curve:P-384']],
    ['ECDSA P-521', ['EC', '-pkeyopt', 'ec_paramgen_curve:P-521']],
    ['RSA 2048', ['RSA', '-pkeyopt', 'rsa_keygen_bits:2048']],
    ['Ed25519', ['ED25519']],
  ];
  for (const [algorithm, args] of algorithms) {
    it(`of ${algorithm} signs, plain and under a passphrase`, async () => {
      const plain = file('plain.pem', openssl('genpkey', '-algorithm', ...args));
      const key = await read(plain);
      expect(key).toMatchObject({ kind: 'sigstore-key', algorithm });
      expect(signs(key)).toBe(true);
      const locked = openssl('pkcs8', '-topk8', '-in', plain, '-passout', 'pass:open sesame');
      const opened = await read(file('locked.pem', locked), 'open sesame');
      expect(opened).toMatchObject({ fingerprint: 'fingerprint' in key ? key.fingerprint : '' });
      expect(signs(opened)).toBe(true);
    });
  }

  it('is read in SEC 1 with the parameters that openssl writes before it', async () => {
    const sec1 = openssl('ecparam', '-name', 'prime256v1', '-genkey');
    expect(sec1.toString()).toContain('EC PARAMETERS');
    expect(signs(await read(file('sec1.pem', sec1)))).toBe(true);
  });

  it("is read in cosign's own format", async (context) => {
    needs(context, program(cosignProgram));
    const { privateKey: secret } = await CosignKey.generate(directory, 'cosign', 'pässwort');
    expect(readFileSync(secret, 'utf8')).toContain('ENCRYPTED SIGSTORE PRIVATE KEY');
    expect(signs(await read(secret, 'pässwort'))).toBe(true);
    const former = readFileSync(secret, 'utf8').replaceAll('SIGSTORE', 'COSIGN');
    expect(signs(await read(file('former.key', former), 'pässwort'))).toBe(true);
    await expect(read(secret, 'wrong')).rejects.toMatchObject({ code: 'bad-key' });
  });

  it('stays closed to a wrong passphrase, and to none', async () => {
    const locked = openssl(
      'genpkey',
      '-algorithm',
      'ED25519',
      '-aes-256-cbc',
      '-pass',
      'pass:right',
    );
    const path = file('locked.pem', locked);
    await expect(read(path, 'wrong')).rejects.toThrow(/passphrase is wrong/);
    await expect(read(path)).rejects.toThrow(/--passphrase-file/);
  });

  it('is asked for its passphrase only when it has one', async () => {
    const path = file('plain.pem', openssl('genpkey', '-algorithm', 'ED25519'));
    const askPassphrase = async () => expect.unreachable();
    await readSigningKey(path, { askPassphrase, warn: () => undefined });
  });

  it('warns where others can read it', async () => {
    await read(file('open.pem', openssl('genpkey', '-algorithm', 'ED25519'), 0o644));
    expect(warnings).toEqual([expect.stringContaining('chmod 600')]);
  });

  const refused: [string, () => string | Buffer, RegExp][] = [
    ['a public key', () => publicPem(), /holds a PUBLIC KEY.*private half/],
    ['a truncated key', () => truncated(), /damaged or truncated/],
    ['RSA of 1024 bits', () => rsa1024(), /1024 bits/],
    [
      'another curve',
      () => openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:secp256k1'),
      /secp256k1/,
    ],
    ['a key for agreement', () => openssl('genpkey', '-algorithm', 'X25519'), /x25519/],
    ['two keys', () => Buffer.concat([ed25519(), ed25519()]), /several secret keys/],
    [
      'an OpenSSH key',
      () => '-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n',
      /PKCS #8/,
    ],
    ['nothing', () => '', /empty/],
    ['text', () => 'hello\n', /holds no key/],
  ];
  for (const [what, content, reason] of refused) {
    it(`refuses ${what}`, async () => {
      const path = file('key', content());
      await expect(read(path, '')).rejects.toMatchObject({
        code: 'bad-key',
        message: expect.stringMatching(reason),
      });
    });
  }

  const bent: [string, (sealed: SealedKey) => void, RegExp][] = [
    ['asks for gigabytes', ({ kdf }) => Object.assign(kdf.params, { N: 1 << 24, r: 64 }), /MiB/],
    ['asks for another function', ({ kdf }) => Object.assign(kdf, { name: 'argon2' }), /scrypt/],
    ['has a short nonce', ({ cipher }) => Object.assign(cipher, { nonce: 'AAAA' }), /24/],
    ['has an odd N', ({ kdf }) => Object.assign(kdf.params, { N: 65535 }), /power of two/],
    ['is changed', (sealed) => Object.assign(sealed, { ciphertext: 'A'.repeat(64) }), /wrong/],
  ];
  for (const [what, bend, reason] of bent) {
    it(`refuses a sealed key that ${what}`, async () => {
      const path = file('key', bentKey(bend));
      await expect(read(path, 'pw')).rejects.toMatchObject({
        code: 'bad-key',
        message: expect.stringMatching(reason),
      });
    });
  }

  it('says nothing of what is in the file', async () => {
    const pem = truncated();
    const secret = pem.split('\n')[1] ?? '';
    const error = await read(file('key', pem)).catch((reason: unknown) => reason);
    expect(String(error)).not.toContain(secret.slice(0, 16));
  });
});

describe('an OpenPGP key', () => {
  let gpg: Gnupg;
  beforeAll(() => {
    gpg = new Gnupg();
  });
  afterAll(() => gpg[Symbol.dispose]());

  async function* content(): AsyncIterable<Uint8Array> {
    for (let piece = 0; piece < 64; piece++) yield Buffer.alloc(1 << 16, piece);
  }

  /** Whether the real gpg holds the signature to be good. */
  async function signsForGpg(key: SigningKey): Promise<boolean> {
    if (key.kind !== 'openpgp') return false;
    const signature = file('content.asc', await signDetached(content(), key));
    const pieces: Uint8Array[] = [];
    for await (const piece of content()) pieces.push(piece);
    const status = gpg.run([
      '--status-fd',
      '1',
      '--verify',
      signature,
      file('content', Buffer.concat(pieces)),
    ]);
    return status.includes('GOODSIG');
  }

  for (const algorithm of ['ed25519', 'rsa2048', 'nistp256', 'nistp384']) {
    it(`of ${algorithm} signs as gpg does`, async () => {
      const fingerprint = gpg.generate(`${algorithm} <${algorithm}@example.com>`, algorithm);
      const key = await read(file('secret.asc', gpg.secretKey(fingerprint)));
      expect(key).toMatchObject({
        kind: 'openpgp',
        fingerprint,
        userId: `${algorithm} <${algorithm}@example.com>`,
      });
      expect(await signsForGpg(key)).toBe(true);
    });
  }

  it('signs with its subkey where it has one', async () => {
    const fingerprint = gpg.generate('subkey <s@example.com>');
    const subkey = gpg.addSubkey(fingerprint);
    const key = await read(file('secret.asc', gpg.secretKey(fingerprint)));
    expect(await signsForGpg(key)).toBe(true);
    const packets = gpg.run(['--list-packets', join(directory, 'content.asc')]).toString();
    expect(packets.toLowerCase()).toContain(subkey.slice(-16));
  });

  it('signs with the subkey of a key whose primary part lies elsewhere', async () => {
    const fingerprint = gpg.generate('offline <o@example.com>');
    gpg.addSubkey(fingerprint);
    const subkeys = gpg.run(['--armor', '--export-secret-subkeys', fingerprint]);
    expect(await signsForGpg(await read(file('subkeys.asc', subkeys)))).toBe(true);
  });

  it('signs under its passphrase, and not under another', async () => {
    using locked = new Gnupg();
    const make = [
      '--passphrase',
      'open sesame',
      '--quick-generate-key',
      'l <l@example.com>',
      'ed25519',
      'sign',
    ];
    locked.run(make);
    const secret = locked.run(['--passphrase', 'open sesame', '--armor', '--export-secret-keys']);
    const path = file('locked.asc', secret);
    gpg.run(['--import', file('public.asc', locked.run(['--armor', '--export']))]);
    expect(await signsForGpg(await read(path, 'open sesame'))).toBe(true);
    await expect(read(path, 'wrong')).rejects.toThrow(/passphrase is wrong/);
    await expect(read(path)).rejects.toThrow(/--passphrase-file/);
  });

  it('refuses a public key, a truncated one, two, and one that may not sign', async () => {
    const fingerprint = gpg.generate('refused <r@example.com>');
    const secret = gpg.secretKey(fingerprint);
    const other = gpg.secretKey(gpg.generate('other <x@example.com>'));
    const expired = gpg.generate(
      'expired <e@example.com>',
      'ed25519',
      'sign',
      '1d',
      '20200102T000000',
    );
    const refused: [Buffer, RegExp][] = [
      [gpg.publicKey(fingerprint), /public key: export the secret one/],
      [gpg.publicKey(fingerprint, false), /public key/],
      [secret.subarray(0, secret.length / 2), /truncated/],
      [gpg.run(['--export-secret-keys', fingerprint, expired]), /several secret keys/],
      [gpg.secretKey(expired), /may sign now/],
      [gpg.sign(Buffer.from('x'), { by: [fingerprint] }), /SIGNATURE/],
    ];
    expect(other.length).toBeGreaterThan(0);
    for (const [content, reason] of refused) {
      await expect(read(file('key', content))).rejects.toMatchObject({
        code: 'bad-key',
        message: expect.stringMatching(reason),
      });
    }
  });
});

describe('a new key', () => {
  it('is a pair that signs and is trusted, the secret half for its owner only', async () => {
    const path = join(directory, 'release.key');
    const { publicPath, fingerprint } = await generateKeyPair(path, undefined);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, 'utf8')).toContain('BEGIN PRIVATE KEY');
    expect(openssl('pkey', '-in', path, '-pubout').equals(readFileSync(publicPath))).toBe(true);
    const key = await read(path);
    expect(key).toMatchObject({ fingerprint, algorithm: 'ECDSA P-256' });
    expect(warnings).toEqual([]);
  });

  it('under a passphrase is one that cosign opens', async (context) => {
    needs(context, program(cosignProgram));
    const path = join(directory, 'release.key');
    const { publicPath } = await generateKeyPair(path, Buffer.from('pw'));
    const shown = await publicHalfByCosign(path, 'pw');
    expect(shown.trim()).toBe(readFileSync(publicPath, 'utf8').trim());
    expect(signs(await read(path, 'pw'))).toBe(true);
  });

  it('takes no other key’s place, and leaves nothing of itself', async () => {
    for (const taken of ['a.key', 'b.key.pub']) {
      file(taken, 'mine');
      const path = join(directory, taken.slice(0, 'a.key'.length));
      await expect(generateKeyPair(path, undefined)).rejects.toMatchObject({ code: 'usage' });
      expect(readFileSync(join(directory, taken), 'utf8')).toBe('mine');
    }
    expect(readdirSync(directory).sort()).toEqual(['a.key', 'b.key.pub']);
    expect(existsSync(join(directory, 'a.key.pub'))).toBe(false);
  });
});

function ed25519(): Buffer {
  return openssl('genpkey', '-algorithm', 'ED25519');
}

function publicPem(): string {
  return execFileSync('openssl', ['pkey', '-pubout'], { input: ed25519() }).toString();
}

function truncated(): string {
  const pem = openssl(
    'genpkey',
    '-algorithm',
    'RSA',
    '-pkeyopt',
    'rsa_keygen_bits:2048',
  ).toString();
  return pem.slice(0, pem.length / 2);
}

function rsa1024(): Buffer {
  return openssl('genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024');
}

interface SealedKey {
  kdf: { name: string; params: { N: number; r: number; p: number } };
  cipher: { nonce: string };
  ciphertext: string;
}

function bentKey(bend: (sealed: SealedKey) => void): string {
  const pem = sealKey(Buffer.from('whatever'), Buffer.from('pw'));
  const [begin, ...lines] = pem.trim().split('\n');
  const sealed = JSON.parse(
    Buffer.from(lines.slice(0, -1).join(''), 'base64').toString(),
  ) as SealedKey;
  bend(sealed);
  const body = Buffer.from(JSON.stringify(sealed)).toString('base64');
  return `${begin}\n${body}\n${lines.at(-1)}\n`;
}
