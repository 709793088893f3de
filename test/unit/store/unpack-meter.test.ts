import { describe, expect, it } from 'vitest';
import { UnpackBudget, UnpackMeter } from '../../../src/store/unpack-meter.ts';

const limits = { maxUnpackedBytes: 100, maxEntries: 10, maxCompressionRatio: 10 };

describe('the archives of one image', () => {
  it('have one budget, whichever thread counts', () => {
    const budget = new UnpackBudget();
    const first = new UnpackMeter(limits, budget);
    const second = new UnpackMeter(limits, new UnpackBudget(budget.memory));
    first.unpacked(60);
    first.made(6);
    expect(() => second.made(5)).toThrow('more than 10 entries');
    expect(() => second.unpacked(41)).toThrow('more than 100 bytes');
  });

  it('count for nothing when they are given up', () => {
    const budget = new UnpackBudget();
    const first = new UnpackMeter(limits, budget);
    first.unpacked(90);
    first.made(9);
    first.giveBack();
    const again = new UnpackMeter(limits, budget);
    expect(() => again.unpacked(90)).not.toThrow();
    expect(() => again.made(9)).not.toThrow();
  });
});
