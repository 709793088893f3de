import { describe, expect, it } from 'vitest';
import { frameMessage, framePackets } from '../../../src/trust/packets.ts';

function frame(...octets: number[]) {
  const packets = framePackets(Uint8Array.from(octets), 10);
  if (typeof packets === 'string') return packets;
  return packets.map(({ tag, bytes }) => [tag, bytes.length]);
}

describe('framing packets', () => {
  it('reads both header formats and every definite length', () => {
    expect(frame(0xc2, 1, 0)).toEqual([[2, 3]]);
    expect(frame(0x88, 1, 0)).toEqual([[2, 3]]);
    expect(frame(0x89, 0, 1, 0)).toEqual([[2, 4]]);
    expect(frame(0x8a, 0, 0, 0, 1, 0)).toEqual([[2, 6]]);
    expect(frame(0xc6, 192, 0, ...new Array(192).fill(7))).toEqual([[6, 195]]);
    expect(frame(0xc6, 255, 0, 0, 0, 1, 0)).toEqual([[6, 7]]);
  });

  it('cuts one packet after another', () => {
    expect(frame(0xc2, 1, 0, 0xce, 0, 0x88, 2, 1, 1)).toEqual([
      [2, 3],
      [14, 2],
      [2, 4],
    ]);
  });

  it('refuses what is not packets, is cut short, or is too much', () => {
    expect(frame(0x2d, 0x2d)).toBe('it is not a sequence of OpenPGP packets');
    expect(frame(0xc2, 1, 0, 0x0a)).toBe('it is not a sequence of OpenPGP packets');
    expect(frame(0xc2, 5, 0)).toBe('it is truncated');
    expect(frame(0xc2)).toBe('it is not a sequence of OpenPGP packets');
    expect(frame(0x8a, 0xff, 0xff, 0xff, 0xff)).toBe('it is truncated');
    expect(frame(...new Array(11).fill([0xc2, 0]).flat())).toBe('it holds more than 10 packets');
  });

  it('refuses partial and indeterminate lengths', () => {
    expect(frame(0xc2, 224, 0)).toBe('it is not a sequence of OpenPGP packets');
    expect(frame(0x8b, 0, 0)).toBe('it is not a sequence of OpenPGP packets');
  });
});

describe('framing a message', () => {
  function bodies(...octets: number[]) {
    const packets = frameMessage(Uint8Array.from(octets), 10);
    if (typeof packets === 'string') return packets;
    return packets.map(({ tag, body }) => [tag, ...body]);
  }

  it('puts the pieces of a body together', () => {
    expect(bodies(0xcb, 225, 1, 2, 224, 3, 1, 4, 0xc2, 1, 9)).toEqual([
      [11, 1, 2, 3, 4],
      [2, 9],
    ]);
    expect(bodies(0xcb, 225, 1, 2, 0)).toEqual([[11, 1, 2]]);
  });

  it('lets a body of indeterminate length reach to the end', () => {
    expect(bodies(0xa3, 1, 2, 3)).toEqual([[8, 1, 2, 3]]);
    expect(bodies(0xa3)).toEqual([[8]]);
  });

  it('refuses pieces that are cut short or never end', () => {
    const broken = 'it is not a sequence of OpenPGP packets';
    expect(bodies(0xcb, 225, 1)).toBe(broken);
    expect(bodies(0xcb, 225, 1, 2)).toBe(broken);
    expect(bodies(0xcb, 225, 1, 2, 5, 1)).toBe(broken);
    expect(bodies(0xcb, 254, 1)).toBe(broken);
    expect(bodies(0xcb, 5, 1)).toBe('it is truncated');
  });
});
