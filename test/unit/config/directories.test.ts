import { describe, expect, it } from 'vitest';
import { userDirectory } from '../../../src/config/directories.ts';

describe("a directory of an ordinary user's own", () => {
  const find = (environment: NodeJS.ProcessEnv) =>
    userDirectory('XDG_DATA_HOME', '.local/share', environment);

  it('is where the variable says', () => {
    expect(find({ XDG_DATA_HOME: '/data', HOME: '/home/ann' })).toBe('/data/gantry');
  });

  it.each([undefined, '', 'data'])('is in the home where the variable is %j', (value) => {
    expect(find({ XDG_DATA_HOME: value, HOME: '/home/ann' })).toBe('/home/ann/.local/share/gantry');
  });

  it.each([undefined, '', 'ann'])('is nowhere without a home (%j)', (home) => {
    expect(() => find({ HOME: home })).toThrow(
      /neither XDG_DATA_HOME nor HOME is an absolute path/,
    );
  });
});
