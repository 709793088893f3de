import { describe, expect, it } from 'vitest';
import { parseQuantity, wholeUnits } from '../../../src/image/quantity.ts';

describe('a quantity', () => {
  it.each([
    ['0', 0n],
    ['1', 1000n],
    ['+1', 1000n],
    ['250m', 250n],
    ['0.3', 300n],
    ['.5', 500n],
    ['5.', 5000n],
    ['1.5Ki', 1_536_000n],
    ['123Mi', 128_974_848_000n],
    ['128974848', 128_974_848_000n],
    ['2G', 2_000_000_000_000n],
    ['1k', 1_000_000n],
    ['1K', 1_000_000n],
    ['12e3', 12_000_000n],
    ['1e-3', 1n],
    ['0.0001', 1n],
  ])('%s is read exactly', (text, milli) => {
    expect(parseQuantity(text)?.milli).toBe(milli);
  });

  it.each(['', '.', '-1', 'm', '1g', '1KB', '1 k', '0x10', 'NaN', '1e', '10E', '9e99', '1e100'])(
    '%j is none, or out of range',
    (text) => {
      expect(parseQuantity(text)).toBeUndefined();
    },
  );

  it('rounds up to whole units', () => {
    expect(wholeUnits({ milli: 1n })).toBe(1n);
    expect(wholeUnits({ milli: 2000n })).toBe(2n);
  });
});
