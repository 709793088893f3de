import { describe, expect, it } from 'vitest';
import { parseIsolators } from '../../../src/cli/isolator-options.ts';

const parse = (seccomp: string) => parseIsolators({ seccomp });

describe('--seccomp', () => {
  it('is read, its words in any order', () => {
    expect(parse('errno=EPERM,mode=remove,socket,@systemd/mount')).toEqual([
      {
        name: 'os/linux/seccomp-remove-set',
        value: { set: ['socket', '@systemd/mount'], errno: 'EPERM' },
      },
    ]);
    expect(parse('mode=retain,@appc.io/all')).toEqual([
      { name: 'os/linux/seccomp-retain-set', value: { set: ['@appc.io/all'] } },
    ]);
  });

  it.each([
    ['', 'mode=retain or mode=remove must be given'],
    ['socket', 'mode=retain or mode=remove must be given'],
    ['mode=keep,socket', 'mode=retain or mode=remove must be given'],
    ['mode=retain', 'no system call is named'],
    ['mode=retain,', '"" is neither a system call nor a set (@scope/name)'],
    ['mode=retain,a b', '"a b" is neither'],
    ['mode=retain,@all', '"@all" is neither'],
    ['mode=retain,mode=remove,socket', 'mode= is given twice'],
    ['mode=retain,errno=perm,socket', '"perm" is not the name of an errno (E…)'],
    ['mode=retain,errno=,socket', '"" is not the name of an errno (E…)'],
    ['mode=retain,action=kill,socket', 'unknown word "action": there are mode= and errno='],
  ])('refuses %j, with what is wrong', (text, why) => {
    expect(() => parse(text)).toThrow(`--seccomp ${JSON.stringify(text)}: ${why}`);
  });
});
