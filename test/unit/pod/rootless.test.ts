import { describe, expect, it } from 'vitest';
import type { HostMount } from '../../../src/isolation/mount-info.ts';
import { requirePossible, requireVisible, withoutOverlay } from '../../../src/pod/rootless.ts';

const EXT4 = 0xef53;
const NFS = 0x6969;
const TMPFS = 0x01021994;

describe('overlayfs of an ordinary user', () => {
  it.each([
    ['5.12.0', EXT4],
    ['6.6.0-rc1', TMPFS],
    ['10.0', TMPFS],
  ])('is there with Linux %s on a file system of type %i', (version, type) => {
    expect(withoutOverlay(version, type)).toBeUndefined();
  });

  it.each(['5.15.0-91-generic', '6.5.13'])('is not there on a tmpfs of Linux %s', (version) => {
    expect(withoutOverlay(version, TMPFS)).toMatch(/^tmpfs of Linux .* has no place/);
  });

  it('is not there on a file system it cannot write to', () => {
    expect(withoutOverlay('6.1.0', NFS)).toMatch(/file system of the data directory/);
  });
});

describe('a host for pods of an ordinary user', () => {
  function mountsAt(...points: readonly string[]): Pick<HostMount, 'point' | 'readOnly'>[] {
    return ['/', '/proc', '/sys', ...points].map((point) => ({ point, readOnly: false }));
  }

  it.each(['/proc/sys/fs/binfmt_misc', '/sys/fs/cgroup', '/sys/kernel/security', '/procedures/a'])(
    'may have something mounted at %s',
    (point) => {
      expect(() => requireVisible(mountsAt(point), {})).not.toThrow();
    },
  );

  it.each(['/proc/acpi', '/proc/sys', '/sys/firmware'])('may not at %s', (point) => {
    expect(() => requireVisible(mountsAt(point), {})).toThrow(`${point} is mounted over here`);
  });

  it("may hide what it will of /sys where the pod has the host's network", () => {
    expect(() => requireVisible(mountsAt('/sys/firmware'), { network: 'host' })).not.toThrow();
  });

  it('may not have /proc read-only', () => {
    const mounts = mountsAt().map((mount) => ({ ...mount, readOnly: mount.point === '/proc' }));
    expect(() => requireVisible(mounts, {})).toThrow('/proc is read-only here');
  });
});

describe('what only root can have', () => {
  it.each([
    [{ privateUsers: true }, /^--private-users: /],
    [{ ipc: 'parent' }, /^--ipc=parent: /],
  ] as const)('is refused: %j', (request, why) => {
    expect(() => requirePossible(request, new Set(['private-ipc']))).toThrow(why);
  });

  it('is not what a flavour has anyway', () => {
    expect(() => requirePossible({ ipc: 'parent' }, new Set())).not.toThrow();
  });
});
