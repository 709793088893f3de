import { describe, expect, it } from 'vitest';
import type { Isolator } from '../../../src/image/isolator.ts';
import { hardLimits, maySysResource } from '../../../src/isolation/process-host.ts';
import {
  type ProcessHost,
  readProcessChoice,
  settleProcess,
} from '../../../src/isolation/process-limits.ts';

const HOST: ProcessHost = {
  now: true,
  raises: false,
  hardLimits: new Map([['nofile', 100n]]),
  oomScore: 10,
  selinux: true,
  apparmor: (profile) => profile === 'known',
};

function settle(isolators: Isolator[], host: Partial<ProcessHost> = {}, asked: string[] = []) {
  const choice = readProcessChoice(isolators);
  return settleProcess(choice, { ...HOST, ...host }, new Set(asked), 'app "web"');
}

const rlimit = (value: Record<string, string>): Isolator => ({ name: 'os/unix/rlimits', value });
const score = (value: number): Isolator => ({ name: 'os/linux/oom-score-adj', value });
const context = { user: 'u', role: 'r', type: 't', level: 's0:c1' };
const selinux: Isolator = { name: 'os/linux/selinux-context', value: context };
const apparmor = (profile: string): Isolator => ({
  name: 'os/linux/apparmor-profile',
  value: { profile },
});

describe('limits of an app', () => {
  it('are as they were asked for, where the host allows it', () => {
    const value = { nofile: '50:100', core: 'unlimited' };
    expect(settle([rlimit(value), score(10)])).toEqual({
      settings: {
        rlimits: [
          ['nofile', '50', '100'],
          ['core', 'unlimited', 'unlimited'],
        ],
        oomScore: 10,
      },
      warnings: [],
    });
  });

  it('are kept to what a host allows that starts the pod now, which is told', () => {
    const { settings, warnings } = settle([rlimit({ nofile: 'unlimited' }), score(9)]);
    expect(settings).toEqual({ rlimits: [['nofile', '100', '100']] });
    expect(warnings).toEqual([
      'app "web": rlimit nofile: a hard limit of unlimited is more than this host allows: it has 100',
      'app "web": an OOM score of 9 is lower than this host allows: it stays at 10',
    ]);
  });

  it('stay what they are in a pod that may be started elsewhere, and are told of', () => {
    const { settings, warnings } = settle([rlimit({ nofile: '5:200' }), score(9)], { now: false });
    expect(settings).toEqual({ rlimits: [['nofile', '5', '200']], oomScore: 9 });
    expect(warnings).toHaveLength(2);
  });

  it('may be raised by who has the capability', () => {
    const { settings, warnings } = settle([rlimit({ nofile: '5:200' }), score(-9)], {
      raises: true,
    });
    expect(settings).toEqual({ rlimits: [['nofile', '5', '200']], oomScore: -9 });
    expect(warnings).toEqual([]);
  });
});

describe('labels of an app', () => {
  it('are the host’s', () => {
    expect(settle([selinux, apparmor('known')]).settings).toEqual({
      labels: [
        ['selinux', 'u:r:t:s0:c1'],
        ['apparmor', 'known'],
      ],
    });
  });

  it('are refused, or left out, where the host has none', () => {
    const { apparmor: _, ...none } = { ...HOST, selinux: false };
    const without = (isolators: Isolator[], asked: string[]) =>
      settleProcess(readProcessChoice(isolators), none, new Set(asked), 'app "web"');
    expect(without([selinux, apparmor('p')], [])).toEqual({
      settings: {},
      warnings: [
        'app "web": isolator os/linux/selinux-context is not enforced: SELinux is not enabled where the pod runs',
        'app "web": isolator os/linux/apparmor-profile is not enforced: AppArmor is not enabled where the pod runs',
      ],
    });
    expect(() => without([selinux], [selinux.name])).toThrow('--selinux-context: SELinux is not');
  });

  it('are refused when the profile is not loaded, whoever asks for it', () => {
    expect(() => settle([apparmor('other')])).toThrow(
      'app "web": AppArmor profile "other" is not loaded: load it with apparmor_parser',
    );
  });
});

describe('what the kernel says of a process', () => {
  it('is which limits it has', () => {
    const text = `Limit                     Soft Limit           Hard Limit           Units
Max cpu time              unlimited            unlimited            seconds
Max open files            20000                30000                files
Max nice priority         0                    7
`;
    expect(hardLimits(text)).toEqual(
      new Map([
        ['nice', 7n],
        ['nofile', 30000n],
      ]),
    );
  });

  it('is whether it may raise them', () => {
    expect(maySysResource('CapPrm:\t0\nCapEff:\t000001ffffffffff\n')).toBe(true);
    expect(maySysResource('CapPrm:\t0\nCapEff:\t000001fffeffffff\n')).toBe(false);
  });
});
