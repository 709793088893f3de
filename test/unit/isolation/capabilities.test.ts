import { describe, expect, it } from 'vitest';
import { allCapabilities, keptCapabilities } from '../../../src/isolation/capabilities.ts';
import { readIsolators, removeIsolator, retainIsolator } from '../../../src/isolation/isolators.ts';

describe('the capabilities an app keeps', () => {
  it('are the fourteen of the specification when nothing is said', () => {
    const kept = keptCapabilities({}, 'app "a"');
    expect(kept).toHaveLength(14);
    expect(kept).toContain('CAP_NET_BIND_SERVICE');
    expect(kept).not.toContain('CAP_SYS_ADMIN');
  });

  it('are exactly a retain set, in the order of their numbers', () => {
    const kept = keptCapabilities({ retain: ['CAP_SYS_ADMIN', 'CAP_CHOWN'] }, 'app "a"');
    expect(kept).toEqual(['CAP_CHOWN', 'CAP_SYS_ADMIN']);
  });

  it('are the default without a remove set, which may name others', () => {
    const kept = keptCapabilities({ remove: ['CAP_MKNOD', 'CAP_SYS_ADMIN'] }, 'app "a"');
    expect(kept).toHaveLength(13);
    expect(kept).not.toContain('CAP_MKNOD');
  });

  it('are none for an empty retain set', () => {
    expect(keptCapabilities({ retain: [] }, 'app "a"')).toEqual([]);
  });

  it('refuses an unknown name, saying where', () => {
    expect(() => keptCapabilities({ retain: ['CAP_FLY'] }, 'app "web"')).toThrow(
      'app "web": unknown capability "CAP_FLY"',
    );
  });

  it('refuses both sets at once', () => {
    expect(() => keptCapabilities({ retain: [], remove: [] }, 'app "a"')).toThrow(
      'exclude each other',
    );
  });

  it('are all forty-one without isolation', () => {
    expect(allCapabilities()).toHaveLength(41);
  });
});

describe('isolators', () => {
  it('choose capabilities, the last of a name counting', () => {
    const settings = readIsolators([retainIsolator(['CAP_KILL']), retainIsolator(['CAP_CHOWN'])]);
    expect(settings.capabilities).toEqual({ retain: ['CAP_CHOWN'] });
    expect(settings.ignored).toEqual([]);
  });

  it('know the remove set by its old name', () => {
    const settings = readIsolators([
      { name: 'os/linux/capabilities-revoke-set', value: { set: ['CAP_KILL'] } },
    ]);
    expect(settings.capabilities).toEqual({ remove: ['CAP_KILL'] });
    expect(readIsolators([removeIsolator(['CAP_KILL'])]).capabilities).toEqual(
      settings.capabilities,
    );
  });

  it('can forbid new privileges', () => {
    const name = 'os/linux/no-new-privileges';
    expect(readIsolators([{ name, value: true }]).noNewPrivileges).toBe(true);
    expect(readIsolators([{ name, value: false }]).noNewPrivileges).toBe(false);
  });

  it('are named once each when they are not enforced', () => {
    const disk = { name: 'resource/block-iops', value: { default: true, limit: '1' } };
    const other = { name: 'example.com/other', value: {} };
    expect(readIsolators([disk, other, disk]).ignored).toEqual([
      'resource/block-iops',
      'example.com/other',
    ]);
  });
});
