import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { isPrehashSignedBy } from '../../../src/trust/ed25519ph.ts';

/** RFC 8032 section 7.3. */
const VECTOR = {
  key: 'ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf',
  message: '616263',
  signature:
    '98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae4131f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406',
};

function publicKey(hex: string) {
  const x = Buffer.from(hex, 'hex').toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
}

function holds({ key, message, signature }: typeof VECTOR): boolean {
  const bytes = (hex: string) => Buffer.from(hex, 'hex');
  return isPrehashSignedBy(publicKey(key), bytes(message), bytes(signature));
}

describe('an Ed25519ph signature', () => {
  it('holds as in the specification', () => {
    expect(holds(VECTOR)).toBe(true);
  });

  it('does not hold over another message, by another key, or with a bit changed', () => {
    expect(holds({ ...VECTOR, message: '616264' })).toBe(false);
    const { publicKey: other } = generateKeyPairSync('ed25519');
    const hex = Buffer.from(other.export({ format: 'jwk' }).x ?? '', 'base64url').toString('hex');
    expect(holds({ ...VECTOR, key: hex })).toBe(false);
    for (const at of [0, 62, 64, 120]) {
      const digit = VECTOR.signature[at] === '0' ? '1' : '0';
      const signature = VECTOR.signature.slice(0, at) + digit + VECTOR.signature.slice(at + 1);
      expect(holds({ ...VECTOR, signature })).toBe(false);
    }
  });

  it('does not hold with the order added to its scalar', () => {
    const order = 2n ** 252n + 27742317777372353535851937790883648493n;
    const scalar = Buffer.from(VECTOR.signature.slice(64), 'hex').reverse().toString('hex');
    const larger = (BigInt(`0x${scalar}`) + order).toString(16).padStart(64, '0');
    const encoded = Buffer.from(larger, 'hex').reverse().toString('hex');
    expect(holds({ ...VECTOR, signature: VECTOR.signature.slice(0, 64) + encoded })).toBe(false);
  });

  it('is not a plain Ed25519 one', () => {
    const { publicKey: key, privateKey } = generateKeyPairSync('ed25519');
    const message = Buffer.from('abc');
    expect(isPrehashSignedBy(key, message, sign(null, message, privateKey))).toBe(false);
    expect(isPrehashSignedBy(key, message, Buffer.alloc(64))).toBe(false);
    expect(isPrehashSignedBy(key, message, Buffer.alloc(0))).toBe(false);
  });
});
