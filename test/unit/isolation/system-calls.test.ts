import { describe, expect, it } from 'vitest';
import { defaultCalls } from '../../../src/isolation/default-system-calls.ts';
import { namedCalls } from '../../../src/isolation/named-system-calls.ts';
import { ORDINARY_CALLS } from '../../../src/isolation/ordinary-system-calls.ts';
import { compileCalls, isSystemCall } from '../../../src/isolation/system-call-program.ts';
import { callsOfSet, SET_NAMES } from '../../../src/isolation/system-call-sets.ts';
import {
  type CallAction,
  type CallPolicy,
  describeCalls,
} from '../../../src/isolation/system-calls.ts';

const name = (set: readonly string[], mode: 'retain' | 'remove' = 'retain', errno?: string) =>
  namedCalls({ mode, set, ...(errno === undefined ? {} : { errno }) }, [], 'app "web"');

/** The calls that a policy has something done about, whatever their arguments. */
function callsWith(policy: CallPolicy | undefined, action: CallAction): Set<string> {
  const rules = policy?.rules.filter((rule) => rule.action === action && rule.when === undefined);
  return new Set(rules?.flatMap(({ calls }) => calls));
}

describe('sets of system calls', () => {
  it.each(SET_NAMES)('%s has names of calls only, each once', (set) => {
    const calls = callsOfSet(set) ?? [];
    expect(calls.filter((call) => !isSystemCall(call))).toEqual([]);
    expect(calls.length).toBeGreaterThan(1);
  });

  it('of ordinary programs names no call twice', () => {
    expect(ORDINARY_CALLS.filter((call, at) => ORDINARY_CALLS.indexOf(call) !== at)).toEqual([]);
  });

  it('of rkt neither allow what their blacklist has, nor the reverse', () => {
    const black = new Set(callsOfSet('@rkt/default-blacklist'));
    expect(callsOfSet('@rkt/default-whitelist')?.filter((call) => black.has(call))).toEqual([]);
  });

  it('of systemd hold each other', () => {
    expect(callsOfSet('@systemd/privileged')).toEqual(expect.arrayContaining(['reboot', 'chown']));
    expect(callsOfSet('@systemd/default-whitelist')).toEqual(callsOfSet('@systemd/default'));
  });
});

describe('a retain set', () => {
  it('keeps what programs live by besides', () => {
    const calls = callsWith(name(['socket']), 'allow');
    expect([...calls]).toEqual(expect.arrayContaining(['socket', 'execve', 'exit_group', 'brk']));
    expect(calls.has('openat')).toBe(false);
  });

  it('ends the app at other calls, unless they are to return an errno', () => {
    expect(name(['socket'])?.otherwise).toBe('kill');
    expect(name(['socket'], 'retain', 'EBUSY')?.otherwise).toBe('EBUSY');
    expect(name(['socket'], 'retain', '')?.otherwise).toBe('kill');
  });

  it('allows whole what is named beside the default', () => {
    const policy = name(['@gantry/default-whitelist', 'clone3', 'clone'], 'retain', 'EPERM');
    expect([...callsWith(policy, 'allow')]).toEqual(expect.arrayContaining(['clone', 'clone3']));
    expect(callsWith(policy, 'ENOSYS').size).toBe(0);
  });
});

describe('the default', () => {
  it('goes by the capabilities of the app', () => {
    const may = (call: string, ...capabilities: string[]) =>
      callsWith(defaultCalls(capabilities), 'allow').has(call);
    expect([may('mount'), may('mount', 'CAP_SYS_ADMIN')]).toEqual([false, true]);
    expect([may('reboot'), may('reboot', 'CAP_SYS_BOOT')]).toEqual([false, true]);
    expect([may('syslog'), may('syslog', 'CAP_SYSLOG')]).toEqual([false, true]);
  });

  it('says in a line what it does', () => {
    expect(describeCalls(defaultCalls([]))).toMatch(
      /^allows \d+ calls; ENOSYS for 1 call; by their arguments personality, socket, clone, unshare; ENOSYS for those unknown to this version; EPERM for all others$/,
    );
    expect(describeCalls({ otherwise: 'allow', rules: [{ action: 'kill', calls: ['a'] }] })).toBe(
      'SIGSYS for 1 call; allows all others',
    );
  });
});

describe('a compiled filter', () => {
  it.each<[string, CallPolicy | undefined]>([
    ['the default', defaultCalls([])],
    ['the default of an app with all capabilities', defaultCalls(['CAP_SYS_ADMIN', 'CAP_BPF'])],
    ['every set at once', name([...SET_NAMES, '@gantry/default-whitelist'])],
    ['every call but', name(SET_NAMES, 'remove', 'EPERM')],
  ])('is small enough for the kernel: %s', (_, policy) => {
    const program = compileCalls(policy ?? { otherwise: 'allow', rules: [] });
    expect(program.length % 8).toBe(0);
    expect(program.length / 8).toBeLessThan(4096);
  });

  it('fits 64 times into a plan', () => {
    expect(compileCalls(defaultCalls([])).toString('base64').length * 64).toBeLessThan(3 << 20);
  });
});
