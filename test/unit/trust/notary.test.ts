import { describe, expect, it } from 'vitest';
import { verifyNotation } from '../../../src/trust/notary.ts';
import type { CheckContext } from '../../../src/trust/signature-check.ts';
import {
  AUTHENTIC_TIME,
  AUTHORITY,
  type Certified,
  certify,
  cose,
  defaultAttributes,
  EXPIRY,
  ecKey,
  envelope,
  jws,
  notaryPayload,
  rsaKey,
  SCHEME,
  SIGNER,
  SIGNING_TIME,
} from './notary-world.ts';
import {
  checkContext,
  imageCandidate,
  provenanceOf,
  refusalOf,
  trustedFor,
} from './signed-manifest.ts';

const root = certify({ name: 'root', extensions: AUTHORITY });
const signer = certify({ name: 'signer', issuer: root, extensions: SIGNER });
const good = { signer, chain: [signer, root] };

function trusting(authority: Certified = root): CheckContext {
  const { certificate } = authority;
  return checkContext({ keys: [trustedFor({ kind: 'x509', certificate })] });
}

const refused = (signature: Parameters<typeof verifyNotation>[0], context = trusting()) =>
  refusalOf(verifyNotation(signature, context));
const accepted = (signature: Parameters<typeof verifyNotation>[0], context = trusting()) =>
  provenanceOf(verifyNotation(signature, context));

const hours = (count: number) => new Date(Date.now() + count * 3_600_000);
const formats = [
  ['JWS', jws],
  ['COSE', cose],
] as const;

describe.each(formats)('a Notary Project signature in %s', (_, make) => {
  it('is accepted under a trusted authority', async () => {
    expect(await accepted(make(good))).toMatchObject({
      kind: 'x509',
      subject: 'CN=signer, O=Test, C=DE',
      authority: 'CN=root, O=Test, C=DE',
      signature: 'notation',
      signed: { what: 'manifest', digest: imageCandidate.digest },
      signedAt: expect.stringMatching(/^20.*Z$/),
    });
  });

  it.each([
    ['ES384', ecKey('P-384')],
    ['ES512', ecKey('P-521')],
    ['PS256', rsaKey(2048)],
    ['PS384', rsaKey(3072)],
  ])('is accepted made with %s', async (algorithm, key) => {
    const other = certify({ name: 'other', issuer: root, extensions: SIGNER, key });
    await accepted(make({ signer: other, chain: [other, root], algorithm }));
  });

  it('is refused with an algorithm its key should not use', async () => {
    const other = certify({ name: 'other', issuer: root, extensions: SIGNER, key: rsaKey(2048) });
    const signature = make({ signer: other, chain: [other, root], algorithm: 'PS512' });
    expect(await refused(signature)).toContain(
      'it is made with "PS512", and its key signs with PS256',
    );
  });

  it.each([
    ['digest', { digest: `sha256:${'cd'.repeat(32)}` }, 'another image'],
    ['size', { size: 3 }, 'size'],
    ['media type', { mediaType: 'application/json' }, 'mediaType'],
  ])('is refused for another %s', async (_what, change, expected) => {
    expect(await refused(make({ ...good, payload: notaryPayload(change) }))).toContain(expected);
  });

  it('is refused by another key than its certificate has', async () => {
    const thief = { certificate: signer.certificate, key: ecKey() };
    expect(await refused(make({ ...good, signer: thief }))).toContain('does not match');
  });

  it('is refused under an authority that is not trusted', async () => {
    const stranger = certify({ name: 'stranger', extensions: AUTHORITY });
    const reason = await refused(make(good), trusting(stranger));
    expect(reason).toContain('CN=signer, O=Test, C=DE, whose authority is CN=root, O=Test, C=DE');
    expect(reason).toContain('is only CN=stranger');
  });

  it('is refused under an authority that only has the name of the trusted one', async () => {
    const impostor = certify({ name: 'root', extensions: AUTHORITY });
    const theirs = certify({ name: 'signer', issuer: impostor, extensions: SIGNER });
    expect(await refused(make({ signer: theirs, chain: [theirs, impostor] }))).toContain(
      'whose authority',
    );
    expect(await refused(make({ signer: theirs, chain: [theirs, root] }))).toContain(
      'was not issued by',
    );
    expect(await refused(make({ signer: theirs, chain: [theirs] }))).toContain('whose authority');
  });

  it('is accepted without the certificate of the authority', async () => {
    expect(await accepted(make({ signer, chain: [signer] }))).toMatchObject({
      authority: 'CN=root, O=Test, C=DE',
    });
  });

  it('is refused once a certificate has expired, whatever time it says it was made', async () => {
    const context = { ...trusting(), now: hours(24 * 31) };
    expect(await refused(make(good), context)).toMatch(/certificate of CN=\w+, .* expired at/);
  });

  it('is refused before its certificates are valid', async () => {
    expect(await refused(make(good), { ...trusting(), now: hours(-1) })).toContain(
      'is not valid before',
    );
  });

  it('is refused from its expiry on', async () => {
    const signature = make({
      ...good,
      attributes: { ...defaultAttributes(), [EXPIRY]: hours(1) },
      critical: [SCHEME, EXPIRY],
    });
    await accepted(signature);
    expect(await refused(signature, { ...trusting(), now: hours(2) })).toContain('it expired at');
  });

  it.each([
    [
      'with an unknown critical attribute',
      { 'com.example.policy': 'x' },
      [SCHEME, 'com.example.policy'],
      'com.example.policy',
    ],
    [
      'with an unknown critical attribute that is not there',
      {},
      [SCHEME, 'com.example.policy'],
      'com.example.policy',
    ],
    [
      'that demands a plugin',
      { 'io.cncf.notary.verificationPlugin': 'evil' },
      [SCHEME],
      'the notation plugin "evil"',
    ],
    ['with an expiry that is not critical', { [EXPIRY]: hours(1) }, [SCHEME], EXPIRY],
    ['whose scheme is not critical', {}, [], SCHEME],
    ['of another scheme', { [SCHEME]: 'notary.pgp' }, [SCHEME], 'notary.pgp'],
    ['without a time', { [SIGNING_TIME]: undefined }, [SCHEME], 'must have'],
    ['with a time that is none', { [SIGNING_TIME]: 'yesterday' }, [SCHEME], 'is not a time'],
    [
      'with the time of another scheme',
      { [AUTHENTIC_TIME]: hours(0) },
      [SCHEME, AUTHENTIC_TIME],
      'and not',
    ],
  ])('is refused %s', async (_what, changes, critical, expected) => {
    const merged = Object.entries({ ...defaultAttributes(), ...changes });
    const attributes = Object.fromEntries(merged.filter(([, value]) => value !== undefined));
    expect(await refused(make({ ...good, attributes, critical }))).toContain(expected);
  });

  it('is refused with another content type', async () => {
    expect(await refused(make({ ...good, contentType: 'application/json' }))).toContain(
      '"application/json"',
    );
  });
});

describe('a signing authority', () => {
  const attributes = { [SCHEME]: 'notary.x509.signingAuthority', [AUTHENTIC_TIME]: hours(0) };
  const signing = { ...good, attributes, critical: [SCHEME, AUTHENTIC_TIME] };

  it('may say when it signed', async () => {
    await accepted(jws(signing));
    await accepted(cose(signing));
  });

  it('may not say a time its certificate was not valid at', async () => {
    const early = { ...signing, attributes: { ...attributes, [AUTHENTIC_TIME]: hours(-24) } };
    expect(await refused(jws(early))).toContain('is not valid before');
  });

  it('cannot make an expired certificate good by the time it says', async () => {
    expect(await refused(jws(signing), { ...trusting(), now: hours(24 * 31) })).toContain(
      'expired at',
    );
  });
});

describe('a certificate', () => {
  const withSigner = (extensions: readonly string[], rest: object = {}) => {
    const other = certify({ name: 'other', issuer: root, extensions, ...rest });
    return jws({ signer: other, chain: [other, root] });
  };

  it.each([
    ['of an authority', ['basicConstraints=critical,CA:TRUE', ...SIGNER], 'signs no images'],
    ['without a key usage', ['extendedKeyUsage=codeSigning'], 'no critical key usage'],
    ['whose key usage is not critical', ['keyUsage=digitalSignature'], 'no critical key usage'],
    [
      'for encryption too',
      ['keyUsage=critical,digitalSignature,keyEncipherment'],
      'for signatures alone',
    ],
    ['not for signatures', ['keyUsage=critical,nonRepudiation'], 'for signatures alone'],
    [
      'for TLS too',
      ['keyUsage=critical,digitalSignature', 'extendedKeyUsage=codeSigning,serverAuth'],
      'for TLS servers',
    ],
    [
      'for something else',
      ['keyUsage=critical,digitalSignature', 'extendedKeyUsage=1.2.3.4'],
      'not for signing code',
    ],
  ])('%s signs no image', async (_what, extensions, expected) => {
    expect(await refused(withSigner(extensions))).toContain(expected);
  });

  it('without extended key usage may sign', async () => {
    await accepted(withSigner(['keyUsage=critical,digitalSignature']));
  });

  it('signed with SHA-1 is refused', async () => {
    expect(await refused(withSigner(SIGNER, { digest: 'sha1' }))).toContain('too weak or unknown');
  });

  it.each([
    ['a signer', SIGNER, 'was not issued by'],
    [
      'an authority that is none',
      ['basicConstraints=critical,CA:FALSE', AUTHORITY[1] ?? ''],
      'without being an authority',
    ],
    [
      'an authority that may not issue',
      ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,cRLSign'],
      'may not issue|was not issued',
    ],
    [
      'an authority whose constraints are not critical',
      ['basicConstraints=CA:TRUE', AUTHORITY[1] ?? ''],
      'without being an authority',
    ],
  ])('issued by %s is refused', async (_what, extensions, expected) => {
    const middle = certify({ name: 'middle', issuer: root, extensions });
    const other = certify({ name: 'other', issuer: middle, extensions: SIGNER });
    expect(await refused(jws({ signer: other, chain: [other, middle, root] }))).toMatch(
      new RegExp(expected),
    );
  });

  it('below more authorities than one of them allows is refused', async () => {
    const top = certify({
      name: 'top',
      extensions: ['basicConstraints=critical,CA:TRUE,pathlen:0', AUTHORITY[1] ?? ''],
    });
    const direct = certify({ name: 'direct', issuer: top, extensions: SIGNER });
    await accepted(jws({ signer: direct, chain: [direct, top] }), trusting(top));
    const middle = certify({ name: 'middle', issuer: top, extensions: AUTHORITY });
    const other = certify({ name: 'other', issuer: middle, extensions: SIGNER });
    const signature = jws({ signer: other, chain: [other, middle, top] });
    expect(await refused(signature, trusting(top))).toContain(
      'allows 0 authorities below it, and there are 1',
    );
  });

  it('with a critical extension that is not understood is refused, wherever it stands', async () => {
    const narrow = 'nameConstraints=critical,permitted;DNS:example.com';
    const middle = certify({ name: 'middle', issuer: root, extensions: [...AUTHORITY, narrow] });
    const other = certify({ name: 'other', issuer: middle, extensions: SIGNER });
    expect(await refused(jws({ signer: other, chain: [other, middle, root] }))).toContain(
      'the certificate of CN=middle, O=Test, C=DE has the critical extension 2.5.29.30',
    );
    expect(await refused(withSigner([...SIGNER, '1.2.3.4=critical,DER:0500']))).toContain(
      'critical extension 1.2.3.4',
    );
    await accepted(withSigner([...SIGNER, '1.2.3.4=DER:0500']));
  });

  it('may be vouched for by a trusted authority in the middle', async () => {
    const middle = certify({ name: 'middle', issuer: root, extensions: AUTHORITY });
    const other = certify({ name: 'other', issuer: middle, extensions: SIGNER });
    expect(
      await accepted(jws({ signer: other, chain: [other, middle, root] }), trusting(middle)),
    ).toMatchObject({
      authority: 'CN=middle, O=Test, C=DE',
    });
  });

  it('in the wrong order is refused', async () => {
    expect(await refused(jws({ signer, chain: [root, signer] }))).toContain(
      'was not issued by the next',
    );
  });

  it('of somebody else in the chain is refused', async () => {
    const stranger = certify({ name: 'stranger', extensions: AUTHORITY });
    expect(await refused(jws({ signer, chain: [signer, root, stranger] }))).toContain(
      'was not issued by',
    );
  });

  it('may stand for itself where it is the trusted one', async () => {
    const alone = certify({ name: 'alone', extensions: SIGNER });
    await accepted(jws({ signer: alone, chain: [alone] }), trusting(alone));
  });
});

describe('a hostile envelope', () => {
  it.each([
    [
      'changed payload',
      (members: object) => ({ ...members, payload: Buffer.from('{}').toString('base64url') }),
      'does not match',
    ],
    ['unsigned members', (members: object) => ({ ...members, signatures: [] }), 'does not belong'],
    ['broken base64', (members: object) => ({ ...members, signature: '!' }), 'base64url'],
    [
      'no certificate',
      (members: object) => ({ ...members, header: { x5c: [] } }),
      'no certificate',
    ],
    [
      'a certificate that is none',
      (members: object) => ({ ...members, header: { x5c: ['aGVsbG8='] } }),
      'cannot be read',
    ],
    [
      'too many certificates',
      (members: object) => ({ ...members, header: { x5c: Array(9).fill('aGVsbG8=') } }),
      'more than 8',
    ],
  ])('in JWS with %s is refused', async (_what, spoil, expected) => {
    expect(await refused(jws(good, spoil))).toContain(expected);
  });

  it.each(['none', 'HS256', 'RS256', 'EdDSA'])(
    'in JWS by the algorithm %s is refused',
    async (algorithm) => {
      const header = Buffer.from(
        JSON.stringify({
          alg: algorithm,
          cty: 'application/vnd.cncf.notary.payload.v1+json',
          crit: [SCHEME],
          [SCHEME]: 'notary.x509',
          [SIGNING_TIME]: '2026-01-01T00:00:00Z',
        }),
      ).toString('base64url');
      const signature = jws(good, (members) => ({ ...members, protected: header }));
      expect(await refused(signature)).toContain(`it is made with "${algorithm}"`);
    },
  );

  const fieldsWith = (index: number, value: unknown) => (fields: unknown[]) =>
    fields.with(index, value);
  it.each([
    ['changed payload', fieldsWith(2, new Uint8Array([123, 125])), 'does not match'],
    ['three fields', (fields: unknown[]) => fields.slice(1), 'four fields'],
    ['a payload that is elsewhere', fieldsWith(2, null), 'not a byte string'],
    ['an empty protected header', fieldsWith(0, new Uint8Array()), 'deterministic CBOR'],
    ['no certificate', fieldsWith(1, new Map()), 'not a byte string'],
    ['a signature that is none', fieldsWith(3, new Uint8Array([1, 2, 3])), 'does not match'],
  ])('in COSE with %s is refused', async (_what, spoil, expected) => {
    expect(await refused(cose(good, spoil))).toContain(expected);
  });

  it.each([
    ['duplicate keys', 'd28445a201260126a04040'],
    ['indefinite lengths', 'd29f40a04040ff'],
    ['deep nesting', `${'81'.repeat(1000)}00`],
    ['another tag', 'd18440a04040'],
    ['bytes behind it', 'd28440a0404000'],
    ['nothing', ''],
  ])('in COSE with %s is refused', async (_what, hex) => {
    const signature = envelope(Buffer.from(hex, 'hex'), 'application/cose');
    expect(await refused(signature)).toMatch(/deterministic CBOR|no COSE_Sign1/);
  });

  it('that is too large is refused', async () => {
    const huge = Buffer.alloc((1 << 20) + 1, ' ');
    expect(await refused(envelope(huge))).toContain('larger than');
    expect(await refused(envelope(huge, 'application/cose'))).toContain('larger than');
  });

  it('in one encoding is not read as the other', async () => {
    const signature = cose(good);
    expect(await refused({ ...signature, mediaType: 'application/jose+json' })).toContain('JSON');
  });
});
