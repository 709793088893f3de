import { describe, expect, it } from 'vitest';
import type { Isolator } from '../../../src/image/isolator.ts';
import {
  controlSettings,
  cpuIsolator,
  cpuSharesIsolator,
  cpuWeight,
  ioWeightIsolator,
  type Limits,
  memoryIsolator,
  pidsIsolator,
  readLimits,
  sumOfShares,
  withShares,
} from '../../../src/isolation/limits.ts';

/** The settings as lines. */
function lines(controller: string, version: 1 | 2, ...isolators: Isolator[]): string[] {
  return controlSettings(controller, version, readLimits(isolators) ?? {}).map(
    ({ file, value, optional }) => `${file} ${value}${optional ? ' optional' : ''}`,
  );
}

describe('limits', () => {
  it('are what the isolators say, in whole units', () => {
    const isolators = [memoryIsolator('1.5Ki'), cpuIsolator('1.5'), pidsIsolator('10')];
    expect(readLimits([...isolators, cpuSharesIsolator(512), ioWeightIsolator(7)])).toEqual({
      memory: { limit: '1536', request: '1536' },
      cpu: { limit: '1500', request: '1500' },
      pids: { limit: '10' },
      cpuShares: 512,
      ioWeight: 7,
    });
  });

  it('are those of the last isolator of a name', () => {
    expect(
      readLimits([memoryIsolator('1M'), { name: 'resource/memory', value: { limit: 5 } }]),
    ).toEqual({ memory: { limit: '5' } });
  });

  it('are none where no isolator is one', () => {
    expect(readLimits([{ name: 'os/linux/no-new-privileges', value: true }])).toBeUndefined();
  });
});

describe('the control files of a group', () => {
  it('bound memory and swap together', () => {
    expect(lines('memory', 2, memoryIsolator('16M'))).toEqual([
      'memory.max 16000000',
      'memory.swap.max 0 optional',
      'memory.low 16000000',
    ]);
    expect(lines('memory', 1, memoryIsolator('16M'))).toEqual([
      'memory.limit_in_bytes 16000000',
      'memory.memsw.limit_in_bytes 16000000 optional',
      'memory.soft_limit_in_bytes 16000000',
    ]);
  });

  it('have a quota of processor time, and a share', () => {
    expect(lines('cpu', 2, cpuIsolator('750m'))).toEqual(['cpu.max 75000 100000', 'cpu.weight 80']);
    expect(lines('cpu', 1, cpuIsolator('750m'))).toEqual([
      'cpu.cfs_period_us 100000',
      'cpu.cfs_quota_us 75000',
      'cpu.shares 768',
    ]);
  });

  it('have a longer period where the quota would be less than the kernel takes', () => {
    const limit = (quantity: string) =>
      lines('cpu', 2, { name: 'resource/cpu', value: { limit: quantity } });
    expect(limit('10m')).toEqual(['cpu.max 1000 100000']);
    expect(limit('9m')).toEqual(['cpu.max 9000 1000000']);
    expect(limit('1m')).toEqual(['cpu.max 1000 1000000']);
    expect(limit('0')).toEqual(['cpu.max 1000 1000000']);
    expect(limit('8E')).toEqual(['cpu.max 10000000000 100000']);
  });

  it('have the shares that were asked for rather than those of a request', () => {
    expect(lines('cpu', 1, cpuIsolator('2'), cpuSharesIsolator(512)).at(-1)).toBe('cpu.shares 512');
  });

  it('have shares the kernel takes', () => {
    const request = (quantity: string) =>
      lines('cpu', 1, { name: 'resource/cpu', value: { request: quantity } });
    expect(request('1m')).toEqual(['cpu.shares 2']);
    expect(request('8E')).toEqual(['cpu.shares 262144']);
  });

  it('have weights by the scale of each scheduler', () => {
    expect(lines('io', 2, ioWeightIsolator(200))).toEqual([
      'io.weight 200 optional',
      'io.bfq.weight 109 optional',
    ]);
    expect(lines('blkio', 1, ioWeightIsolator(10_000))).toEqual(['blkio.bfq.weight 1000 optional']);
    expect(lines('blkio', 1, ioWeightIsolator(1))).toEqual(['blkio.bfq.weight 1 optional']);
  });

  it('are left alone where nothing is asked', () => {
    for (const controller of ['memory', 'cpu', 'pids', 'io', 'blkio']) {
      expect(lines(controller, 2)).toEqual([]);
    }
  });
});

describe('shares as a weight', () => {
  it('meet at both ends and at what a group has that asks for nothing', () => {
    expect([2, 1024, 262_144].map(cpuWeight)).toEqual([1, 100, 10_000]);
  });

  it('are more for more', () => {
    expect(cpuWeight(512)).toBeLessThan(cpuWeight(1024));
    expect(cpuWeight(1024)).toBeLessThan(cpuWeight(2048));
  });
});

describe('a pod of apps that ask for shares', () => {
  const web: Limits = { cpuShares: 2048, memory: { limit: '9', request: '5' }, ioWeight: 200 };
  const cache: Limits = { cpu: { request: '500' }, memory: { request: '3' }, ioWeight: 9900 };

  it('has what they ask for together', () => {
    expect(sumOfShares([web, undefined, cache])).toEqual({
      cpuShares: 2560,
      memory: { request: '8' },
      ioWeight: 10_000,
    });
  });

  it('has what is said of itself instead', () => {
    const own: Limits = { cpu: { request: '500' }, ioWeight: 1, memory: { limit: '7' } };
    expect(withShares(own, sumOfShares([web, cache]))).toEqual({
      cpu: { request: '500' },
      cpuShares: 512,
      ioWeight: 1,
      memory: { limit: '7', request: '8' },
    });
  });

  it('is not bounded by what bounds them', () => {
    expect(sumOfShares([{ memory: { limit: '9' }, pids: { limit: '1' } }])).toBeUndefined();
  });
});
