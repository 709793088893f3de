import { describe, expect, it } from 'vitest';
import type { ManifestSignature } from '../../../src/trust/manifest-signature.ts';
import { decodeSignature, encodeSignature } from '../../../src/trust/signature-encoding.ts';

const common = {
  subject: { algorithm: 'sha256', hex: 'ab'.repeat(32) },
  origin: 'example.com/app:sha256-ab.sig',
} as const;
const bytes = Buffer.from([0, 1, 2, 255]);

const SIGNATURES: ManifestSignature[] = [
  { ...common, kind: 'simple-signing', bytes },
  { ...common, kind: 'bundle', bytes },
  { ...common, kind: 'notation', mediaType: 'application/cose', bytes },
  { ...common, kind: 'cosign', payload: bytes, signature: 'MEUC' },
  {
    ...common,
    kind: 'cosign',
    payload: bytes,
    signature: 'MEUC',
    certificate: 'PEM',
    chain: 'PEMs',
    bundle: '{}',
    timestamp: '{"SignedRFC3161Timestamp":""}',
  },
];

describe('a kept signature', () => {
  it.each(SIGNATURES)('of kind $kind comes back as it was', (signature) => {
    expect(decodeSignature(encodeSignature(signature))).toEqual(signature);
  });

  it('is the same bytes however its members were ordered', () => {
    const [first] = SIGNATURES;
    if (first === undefined) expect.unreachable();
    const turned = Object.fromEntries(Object.entries(first).reverse()) as unknown;
    expect(encodeSignature(turned as ManifestSignature)).toEqual(encodeSignature(first));
  });

  it.each([
    ['kind', 'pgp'],
    ['subject', 'md5:00'],
    ['bytes', '!'],
    ['origin', 1],
  ])('with %s of %j is refused, naming the field', (member, value) => {
    const [first] = SIGNATURES;
    if (first === undefined) expect.unreachable();
    const changed = {
      ...JSON.parse(Buffer.from(encodeSignature(first)).toString()),
      [member]: value,
    };
    expect(() => decodeSignature(Buffer.from(JSON.stringify(changed)))).toThrow(
      expect.objectContaining({
        code: 'bad-signature',
        message: expect.stringContaining(`kept signature: ${member}:`),
      }),
    );
  });
});
