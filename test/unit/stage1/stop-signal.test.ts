import { describe, expect, it } from 'vitest';
import { stopSignalNumber } from '../../../src/stage1/stop-signal.ts';

describe('a stop signal', () => {
  it.each([
    ['SIGTERM', 15],
    ['QUIT', 3],
    ['sigwinch', 28],
    ['SIGKILL', 9],
    ['9', 9],
    ['64', 64],
    ['SIGRTMIN', 34],
    ['SIGRTMIN+3', 37],
    ['RTMIN+30', 64],
    ['SIGRTMAX', 64],
    ['SIGRTMAX-14', 50],
  ])('is %s, which is %i', (text, number) => {
    expect(stopSignalNumber(text, 'app "a"')).toBe(number);
  });

  it.each([
    '0',
    '65',
    '-1',
    '1.5',
    '',
    ' 15',
    'SIG',
    'SIGSIGTERM',
    'SIGRTMIN-1',
    'SIGRTMIN+31',
    'SIGRTMAX+1',
    'constructor',
    'TERM\n',
  ])('is refused as %j', (text) => {
    expect(() => stopSignalNumber(text, 'app "a"')).toThrow(
      /^app "a": the image's stop signal ".*" is no signal of Linux/,
    );
  });
});
