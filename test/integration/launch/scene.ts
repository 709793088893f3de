import { afterEach, beforeEach, expect } from 'vitest';
import { type HostState, leaksSince, readHost } from '../../support/host.ts';
import { needs, root } from '../../support/requirements.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

/** Where the tests of a file make their pods. */
export interface Scene {
  /** The directory of the test that runs; gone when it is finished. */
  readonly base: string;
  /** What the test has left on the host so far. */
  leaks(): Promise<string[]>;
}

/** Gives each test of the file, which needs root, a directory, and has it leave the host as it was. */
export function setScene(): Scene {
  let base = '';
  let before: HostState;
  beforeEach((context) => {
    needs(context, root);
    base = temporaryDirectory();
    before = readHost(base);
  });
  const leaks = () => leaksSince(before, base);
  afterEach(async () => {
    expect(await leaks()).toEqual([]);
  });
  return {
    get base() {
      return base;
    },
    leaks,
  };
}
