import { describe, expect, it } from 'vitest';
import { appWishes } from '../../../src/cli/app-wishes.ts';
import type { AppWords } from '../../../src/cli/apps.ts';
import { parseIsolators } from '../../../src/cli/isolator-options.ts';

/** Refusals name the image, which all options after it have in common. */
function refused(options: Record<string, unknown>) {
  return appWishes({ image: 'web', args: [], options: options as AppWords['options'] });
}

describe('the options after an image that stand for isolators', () => {
  it('are read, each into its isolator', () => {
    expect(parseIsolators({ capsRetain: 'cap_chown,CAP_KILL', name: 'w' })).toEqual([
      { name: 'os/linux/capabilities-retain-set', value: { set: ['CAP_CHOWN', 'CAP_KILL'] } },
    ]);
    expect(parseIsolators({})).toEqual([]);
  });

  it('have limits in the units of manifests', () => {
    const options = { memory: '128M', cpu: '750m', cpuShares: '2048', pids: '9', ioWeight: '200' };
    expect(parseIsolators(options)).toEqual([
      { name: 'resource/memory', value: { request: '128M', limit: '128M' } },
      { name: 'resource/cpu', value: { request: '750m', limit: '750m' } },
      { name: 'os/linux/cpu-shares', value: 2048 },
      { name: 'resource/pids', value: { limit: '9' } },
      { name: 'os/linux/io-weight', value: 200 },
    ]);
  });

  it.each([
    [
      { memory: '16m' },
      'image web: --memory: memory limit of 1 bytes too low. Try a reasonable value, such as --memory=16M',
    ],
    [{ capsRetain: 'CAP_KILL,CAP_FLY' }, 'image web: --caps-retain: unknown capability "CAP_FLY"'],
    [{ capsRemove: '' }, 'image web: --caps-remove: unknown capability ""'],
    [{ memory: '128MB' }, 'image web: --memory: "128MB" is not a quantity such as 128M'],
    [{ memory: '-1' }, 'image web: --memory: "-1" is not a quantity such as 128M'],
    [{ cpu: 'two' }, 'image web: --cpu: "two" is not a quantity such as 500m'],
    [{ cpu: '0' }, 'image web: --cpu: a limit of 0 lets nothing run: try --cpu=500m'],
    [{ cpuShares: '1' }, 'image web: --cpu-shares: "1" is not a whole number from 2 to 262144'],
    [{ cpuShares: '1e3' }, 'image web: --cpu-shares: "1e3" is not a whole number from 2 to 262144'],
    [{ pids: '0' }, 'image web: --pids: "0" is not a whole number from 1 to 4194304'],
    [{ pids: '' }, 'image web: --pids: "" is not a whole number from 1 to 4194304'],
    [
      { ioWeight: '10001' },
      'image web: --io-weight: "10001" is not a whole number from 1 to 10000',
    ],
  ])('refuse %j', (options, message) => {
    expect(() => refused(options)).toThrow(message);
  });

  it('of limits and labels are read', () => {
    const options = {
      newPrivileges: true,
      oomScoreAdj: '-7',
      rlimit: ['nofile=1:2', 'core=unlimited'],
      selinuxContext: 'u:r:t:s0:c1,c2',
      apparmorProfile: 'p',
    };
    expect(parseIsolators(options)).toEqual([
      { name: 'os/linux/no-new-privileges', value: true },
      { name: 'os/linux/oom-score-adj', value: -7 },
      { name: 'os/unix/rlimits', value: { nofile: '1:2', core: 'unlimited' } },
      {
        name: 'os/linux/selinux-context',
        value: { user: 'u', role: 'r', type: 't', level: 's0:c1,c2' },
      },
      { name: 'os/linux/apparmor-profile', value: { profile: 'p' } },
    ]);
    expect(parseIsolators({ oomScoreAdjust: '1000' })).toEqual([
      { name: 'os/linux/oom-score-adj', value: 1000 },
    ]);
  });

  it.each<[Record<string, unknown>, string]>([
    [{ oomScoreAdj: '1001' }, '--oom-score-adj: "1001" is not a whole number from -1000 to 1000'],
    [{ oomScoreAdjust: 'x' }, '--oom-score-adjust: "x" is not'],
    [{ rlimit: ['nofile'] }, '--rlimit: "nofile" is not NAME=SOFT[:HARD]'],
    [{ rlimit: ['files=1'] }, '--rlimit: "files" is no limit: known are as, core'],
    [{ rlimit: ['core=1', 'core=2'] }, '--rlimit: core is given twice'],
    [{ rlimit: ['core=2:1'] }, '--rlimit: "core=2:1": the soft limit is above the hard one'],
    [{ rlimit: ['core=unlimited:1'] }, 'the soft limit is above the hard one'],
    [{ rlimit: ['core=1k'] }, 'must be SOFT:HARD or a number for both'],
    [{ rlimit: ['core=1:2:3'] }, 'must be SOFT:HARD or a number for both'],
    [{ rlimit: ['core=18446744073709551615'] }, 'must be SOFT:HARD'],
    [{ selinuxContext: 'u:r:t' }, '--selinux-context: "u:r:t" is not USER:ROLE:TYPE:LEVEL'],
    [{ apparmorProfile: '' }, '--apparmor-profile: "" is no name of a profile'],
  ])('are refused when malformed, naming option and image: %o', (options, message) => {
    expect(() => refused(options)).toThrow('image web: ');
    expect(() => refused(options)).toThrow(message);
  });

  it('are refused where they exclude each other', () => {
    expect(() => refused({ capsRetain: 'CAP_KILL', capsRemove: 'CAP_KILL' })).toThrow(
      'image web: cannot use both --caps-retain and --caps-remove on the same image',
    );
  });
});
