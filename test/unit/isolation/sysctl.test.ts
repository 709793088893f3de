import { describe, expect, it } from 'vitest';
import { readSysctl, requireOwn } from '../../../src/isolation/sysctl.ts';

const read = (value: Record<string, string>) => readSysctl([{ name: 'os/unix/sysctl', value }]);

describe('kernel parameters of a pod', () => {
  it('are named with dots or slashes, the first of which counts', () => {
    expect(
      read({
        'net.ipv4.conf.eth0/1.rp_filter': '1',
        'net/ipv4/ip_forward': '0',
        'kernel.sem': '1 2',
      }),
    ).toEqual([
      ['net/ipv4/conf/eth0.1/rp_filter', '1'],
      ['net/ipv4/ip_forward', '0'],
      ['kernel/sem', '1 2'],
    ]);
    expect(readSysctl([])).toEqual([]);
  });

  it.each([
    ['kernel.core_pattern', 'is of the whole host'],
    ['vm.swappiness', 'is of the whole host'],
    ['fs.file-max', 'is of the whole host'],
    ['kernel.hostname', 'use --hostname'],
    ['kernel.domainname', 'use --hostname'],
    ['net', 'is no parameter'],
    ['net.', 'is no parameter'],
    ['net/../kernel/core_pattern', 'is no parameter'],
    ['net..x', 'is no parameter'],
    ['net.a b', 'is no parameter'],
  ])('are refused by name when they are others: %s', (key, why) => {
    expect(() => read({ [key]: '1' })).toThrow(key);
    expect(() => read({ [key]: '1' })).toThrow(why);
  });

  it('have a value of one line', () => {
    for (const value of ['', '1\n2']) {
      expect(() => read({ 'kernel.sem': value })).toThrow('sysctl kernel.sem: ');
    }
  });

  it('need the namespace to be the pod’s', () => {
    const none = { net: false, ipc: false };
    expect(() => requireOwn([['net/a.b/c', '1']], none)).toThrow(
      "sysctl net.a/b.c: is the host's in this pod: leave it out, or do without --net=host",
    );
    expect(() => requireOwn([['kernel/sem', '1']], none)).toThrow('do without --ipc=parent');
    requireOwn([['kernel/sem', '1']], { net: false, ipc: true });
  });
});
