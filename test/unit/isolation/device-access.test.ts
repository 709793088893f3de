import { statSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  deviceAccessSteps,
  deviceNumber,
  deviceRules,
} from '../../../src/isolation/device-access.ts';

const disk = { kind: 'block', major: 8, minor: 1, access: 'r' } as const;

describe('the devices of a pod', () => {
  it('are those of its /dev and those it was given, and any can be made', () => {
    const words = deviceAccessSteps({ version: 2, directory: '/g', rules: deviceRules([disk]) });
    expect(words).toEqual([
      [
        'device-access',
        '/g',
        ...['c:*:*:m', 'b:*:*:m'],
        ...['c:1:3:rw', 'c:1:5:rw', 'c:1:7:rw', 'c:1:8:rw', 'c:1:9:rw', 'c:5:0:rw'],
        ...['c:5:2:rw', 'c:136:*:rw'],
        'b:8:1:r',
      ],
    ]);
  });

  it('are listed in a group of v1 that init joins, after all others were taken away', () => {
    const rules = [...deviceRules([]).slice(0, 1), disk];
    expect(deviceAccessSteps({ version: 1, directory: '/g', rules })).toEqual([
      ['make-cgroup', '/g'],
      ['set-cgroup', '/g', 'devices.deny', 'a'],
      ['set-cgroup', '/g', 'devices.allow', 'c *:* m'],
      ['set-cgroup', '/g', 'devices.allow', 'b 8:1 r'],
      ['join-cgroup', '/g'],
    ]);
  });
});

describe('the number of a device', () => {
  it('is what the host says', () => {
    const { rdev } = statSync('/dev/null');
    expect(deviceNumber('char', rdev)).toEqual({ kind: 'char', major: 1, minor: 3 });
  });

  it('may have more bits than it once had', () => {
    // As gnu_dev_makedev(259, 70000) has it.
    const rdev = ((70_000 & 0xff) | (259 << 8)) + (70_000 >> 8) * 2 ** 20;
    expect(deviceNumber('block', rdev)).toEqual({ kind: 'block', major: 259, minor: 70_000 });
  });
});
