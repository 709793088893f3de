import { describe, expect, it } from 'vitest';
import { type Fault, refusal } from '../../../src/trust/fault.ts';

const stranger: Fault = { code: 'untrusted', reason: 'a stranger made it', remedy: 'trust them' };
const changed: Fault = { code: 'bad-signature', reason: 'it was changed', remedy: 'do not use it' };

describe('the refusal of an image', () => {
  it('names the image, the check that failed and what to do', () => {
    const error = refusal('example.com/app', [stranger]);
    expect(error.code).toBe('untrusted');
    expect(error.message).toBe('example.com/app: a stranger made it; trust them');
  });

  it('goes by the signature of a trusted key where a stranger signed too', () => {
    const error = refusal('example.com/app', [stranger, changed]);
    expect(error.code).toBe('bad-signature');
    expect(error.message).toBe(
      'example.com/app: none of its 2 signatures holds: (1) a stranger made it, (2) it was changed; do not use it',
    );
  });

  it('stays one readable line however many signatures there are', () => {
    const faults = Array.from({ length: 16 }, (_, i) => ({ ...stranger, reason: `${i} made it` }));
    expect(refusal('example.com/app', faults).message).toBe(
      'example.com/app: none of its 16 signatures holds: (1) 0 made it, (2) 1 made it, (3) 2 made it, (4) 3 made it, and 12 more; trust them',
    );
  });

  it('says once what is wrong with several signatures', () => {
    expect(refusal('example.com/app', [stranger, stranger]).message).toBe(
      'example.com/app: a stranger made it; trust them',
    );
    expect(refusal('example.com/app', [stranger, changed, stranger]).message).toContain(
      'none of its 3 signatures holds: (1) a stranger made it, (2) it was changed; do not use it',
    );
  });
});
