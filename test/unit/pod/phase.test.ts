import { describe, expect, it } from 'vitest';
import { type Phase, type PodState, stateOf } from '../../../src/pod/phase.ts';

describe('the state of a pod', () => {
  it.each<[Phase, PodState, PodState]>([
    ['embryo', 'embryo', 'embryo'],
    ['prepare', 'aborted prepare', 'preparing'],
    ['prepared', 'prepared', 'prepared'],
    ['run', 'exited', 'running'],
    ['exited-garbage', 'exited garbage', 'exited deleting'],
    ['garbage', 'garbage', 'deleting'],
  ])('in %s is %s, and while its lock is held %s', (phase, unlocked, locked) => {
    expect(stateOf(phase, false)).toBe(unlocked);
    expect(stateOf(phase, true)).toBe(locked);
  });
});
