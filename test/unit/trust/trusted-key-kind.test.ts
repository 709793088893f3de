import { execFileSync } from 'node:child_process';
import { createHash, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createAuthority } from '../../../examples/quickstart/certificates.ts';
import { addTrustedKeys, trustedKeysFor } from '../../../src/trust/keystore.ts';
import { describeKeys } from '../../../src/trust/review.ts';
import { loadTrustedKey, readKeys } from '../../../src/trust/trusted-key-kind.ts';

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'key-kinds-'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

function openssl(...args: string[]): Buffer {
  return execFileSync('openssl', args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
}

/** The public half of a key that openssl makes. */
function publicKey(...algorithm: string[]): Buffer {
  openssl('genpkey', ...algorithm, '-out', 'key.pem');
  return openssl('pkey', '-in', 'key.pem', '-pubout');
}

function certificate(...extensions: string[]): Buffer {
  const subject = ['-subj', '/C=DE/O=Acme/CN=Acme Root', '-days', '30'];
  const key = [
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-noenc',
    '-keyout',
    'ca.key',
  ];
  return openssl('req', '-x509', ...key, ...subject, ...extensions.flatMap((e) => ['-addext', e]));
}

const ec = (curve: string) => ['-algorithm', 'EC', '-pkeyopt', `ec_paramgen_curve:${curve}`];
const rsa = (bits: number) => ['-algorithm', 'RSA', '-pkeyopt', `rsa_keygen_bits:${bits}`];

describe('a sigstore public key', () => {
  it.each([
    ['ECDSA P-256', ec('P-256')],
    ['ECDSA P-384', ec('P-384')],
    ['ECDSA P-521', ec('P-521')],
    ['RSA 2048', rsa(2048)],
    ['Ed25519', ['-algorithm', 'ED25519']],
  ])('made by openssl, %s, is told by its content and named by its digest', async (name, how) => {
    const pem = publicKey(...how);
    const der = openssl('pkey', '-in', 'key.pem', '-pubout', '-outform', 'DER');
    const fingerprint = createHash('sha256').update(der).digest('hex');
    expect(await describeKeys(pem)).toMatchObject([
      { kind: 'sigstore-key', algorithm: name, fingerprint },
    ]);
  });

  it.each([
    [/RSA with 1024 bits, and fewer than 2048/, rsa(1024)],
    [/curve is secp256k1/, ec('secp256k1')],
    [/key for ed448/, ['-algorithm', 'ED448']],
    [/key for x25519/, ['-algorithm', 'X25519']],
  ])('that is unfit is refused: %s', async (reason, how) => {
    await expect(readKeys(publicKey(...how))).rejects.toThrow(reason);
  });

  it('is refused with an exponent of which every number is a signature', async () => {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const jwk = publicKey.export({ format: 'jwk' });
    const one = createPublicKey({ key: { ...jwk, e: 'AQ' }, format: 'jwk' });
    const pem = one.export({ format: 'pem', type: 'spki' });
    await expect(readKeys(Buffer.from(pem))).rejects.toThrow(/exponent 1/);
  });

  it('is one of several in a file, each a key of its own', async () => {
    const both = Buffer.concat([publicKey(...ec('P-256')), publicKey('-algorithm', 'ED25519')]);
    const kinds = (await readKeys(both)).map(({ material }) => material.kind);
    expect(kinds).toEqual(['sigstore-key', 'sigstore-key']);
  });
});

describe("an authority's certificate", () => {
  it('is told by its content and named by its digest', async () => {
    const [described] = await describeKeys(certificate());
    expect(described).toMatchObject({ kind: 'x509', subject: 'CN=Acme Root, O=Acme, C=DE' });
    expect(described?.fingerprint).toMatch(/^[0-9a-f]{64}$/);
  });

  it('may be one that signed itself, which then vouches for its own key alone', async () => {
    const [key] = await readKeys(certificate('basicConstraints=CA:FALSE'));
    expect(key?.material.kind).toBe('x509');
  });

  it('may be the one that notation makes for tests, with the key usage of a signer', async () => {
    const [key] = await readKeys(
      certificate('basicConstraints=CA:FALSE', 'keyUsage=critical,digitalSignature'),
    );
    expect(key?.material.kind).toBe('x509');
  });

  it('is refused where it is a leaf that another issued', async () => {
    const leaf = createAuthority('Issuer').issue(['localhost']).certificate;
    await expect(readKeys(Buffer.from(leaf))).rejects.toThrow(
      /neither an authority's \(basicConstraints has no CA:TRUE\) nor signed by itself/,
    );
  });
});

describe('what is no public key', () => {
  it.each([
    ['a PKCS #8 key', () => openssl('genpkey', '-algorithm', 'ED25519')],
    ['a traditional EC key', () => openssl('ecparam', '-genkey', '-name', 'prime256v1')],
    [
      'a cosign key',
      () =>
        Buffer.from(
          '-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nZm9v\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n',
        ),
    ],
    [
      'a secret key after a public one',
      () => Buffer.concat([publicKey(...ec('P-256')), readFileSync(join(root, 'key.pem'))]),
    ],
    ['a secret key that is cut off', () => Buffer.from('junk -----BEGIN PRIVATE KEY-----\nMC4CAQ')],
  ])('is refused unprinted: %s', async (_what, make) => {
    const bytes = make();
    const failure: Error = await readKeys(bytes).then(
      () => expect.unreachable(),
      (error) => error,
    );
    expect(failure.message).toMatch(/it holds a SECRET key, of which nothing was kept/);
    const line = bytes.toString().split('\n').at(1) ?? '';
    expect(failure.message).not.toContain(line);
  });

  it.each([
    ['-----BEGIN PUBLIC KEY-----\nZm9v\n-----END PUBLIC KEY-----\n', /PUBLIC KEY cannot be read/],
    ['-----BEGIN PUBLIC KEY-----\nZm9v\n', /truncated/],
    ['-----BEGIN PUBLIC KEY-----\n!!\n-----END PUBLIC KEY-----\n', /not base64/],
    ['-----BEGIN CERTIFICATE-----\nZm9v\n-----END CERTIFICATE-----\n', /not a usable certificate/],
    [
      '-----BEGIN CERTIFICATE REQUEST-----\nZm9v\n-----END CERTIFICATE REQUEST-----\n',
      /holds a CERT/,
    ],
    ['{"kty":"EC"}', /not a usable identity/],
    ['', /it is empty/],
  ])('is refused, saying what it is: %j', async (text, reason) => {
    await expect(readKeys(Buffer.from(text))).rejects.toThrow(reason);
  });
});

describe('a trusted key file', () => {
  it('is read back as what was trusted', async () => {
    const directories = { system: join(root, 'usr'), local: join(root, 'etc') };
    const rule = { scope: 'prefix', prefix: 'localhost:5000/team' } as const;
    const identity =
      '{"gantryKind":"identity","version":"v1","issuer":"https://a.example","subject":"ada@a.example"}';
    for (const bytes of [publicKey(...ec('P-256')), certificate(), Buffer.from(identity)]) {
      await addTrustedKeys(directories, bytes, rule);
    }
    const keys = trustedKeysFor(directories, 'localhost:5000/team/app');
    const loaded = await Promise.all(keys.map(loadTrustedKey));
    expect(loaded.map(({ kind }) => kind).sort()).toEqual([
      'sigstore-identity',
      'sigstore-key',
      'x509',
    ]);
    expect(trustedKeysFor(directories, 'localhost:5001/team/app')).toEqual([]);
  });

  it('must bear the fingerprint of what is in it', async () => {
    const directories = { system: join(root, 'usr'), local: join(root, 'renamed') };
    const rule = { scope: 'root' } as const;
    const [path = ''] = await addTrustedKeys(directories, publicKey(...ec('P-256')), rule);
    renameSync(path, join(dirname(path), 'a'.repeat(64)));
    const [key] = trustedKeysFor(directories, 'example.com/app');
    if (key === undefined) expect.unreachable();
    await expect(loadTrustedKey(key)).rejects.toThrow(/the key inside has the fingerprint/);
  });
});
