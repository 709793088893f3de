import { describe, expect, it } from 'vitest';
import { printable } from '../../../src/trust/printable.ts';

describe('text from a stranger', () => {
  it('cannot steer the terminal, start a line or reorder what is read', () => {
    const hostile = 'Ada\u001b[2J\r\nTrusted\u202e\u2028by you\u0000';
    expect(printable(hostile)).toBe('Ada\ufffd[2J\ufffd\ufffdTrusted\ufffd\ufffdby you\ufffd');
  });

  it('keeps names of every script, and is cut when endless', () => {
    expect(printable('Ådå 李明 <ada@example.com>')).toBe('Ådå 李明 <ada@example.com>');
    expect(printable('x'.repeat(10_000))).toHaveLength(201);
  });
});
