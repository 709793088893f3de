import { describe, expect, it } from 'vitest';
import { armorBlocks, isBinary } from '../../../src/trust/armor.ts';

function block(...lines: string[]): string {
  return ['-----BEGIN PGP SIGNATURE-----', ...lines, '-----END PGP SIGNATURE-----', ''].join('\n');
}

function decoded(text: string): string[] | string {
  const blocks = armorBlocks(text);
  if (typeof blocks === 'string') return blocks;
  return blocks.map(({ bytes }) => Buffer.from(bytes).toString('hex'));
}

describe('armored blocks', () => {
  it('are decoded with and without headers, checksum and carriage returns', () => {
    expect(decoded(block('', 'AAEC', '=abcd'))).toEqual(['000102']);
    expect(decoded(block('AAEC'))).toEqual(['000102']);
    expect(decoded(block('Version: X', 'Comment: Y', '', 'AA', 'EC'))).toEqual(['000102']);
    expect(decoded(block('', 'AAEC').replaceAll('\n', '\r\n'))).toEqual(['000102']);
  });

  it('are found one after another, whatever stands around them', () => {
    const text = `by the way\n${block('', 'AAEC')}and\n${block('', '/w==')}end`;
    expect(decoded(text)).toEqual(['000102', 'ff']);
  });

  it('are refused when damaged or cut short', () => {
    expect(decoded(block('', 'AA*C'))).toBe('its armored PGP SIGNATURE is not base64');
    expect(decoded(block('', 'AAEC=AAE'))).toBe('its armored PGP SIGNATURE is not base64');
    expect(decoded(block(''))).toBe('its armored PGP SIGNATURE is not base64');
    expect(decoded(block('', 'AAEC').slice(0, -10))).toBe('its armored PGP SIGNATURE is truncated');
  });

  it('take no longer than the text is long, however it is made', () => {
    const hostile = '-----BEGIN PGP SIGNATURE-----\n'.repeat(35_000);
    const start = performance.now();
    expect(decoded(hostile)).toBe('its armored PGP SIGNATURE is truncated');
    expect(performance.now() - start).toBeLessThan(1000);
  });

  it('are told from binary packets by the first octet', () => {
    expect(isBinary(Uint8Array.of(0x88))).toBe(true);
    expect(isBinary(Buffer.from('-----BEGIN'))).toBe(false);
    expect(isBinary(new Uint8Array())).toBe(false);
  });
});
