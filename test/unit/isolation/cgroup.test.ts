import { describe, expect, it } from 'vitest';
import { cgroup2Mount, groupDirectory, ownPath } from '../../../src/isolation/cgroup.ts';

describe('our control group', () => {
  it('lies below the unified mount of a hybrid hierarchy', () => {
    const mountinfo = [
      '31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755',
      '35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory',
      '41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:5 - cgroup2 cgroup2 rw',
    ].join('\n');
    expect(cgroup2Mount(mountinfo)).toEqual({ root: '/', point: '/sys/fs/cgroup/unified' });
  });

  it('is not looked for below a read-only mount', () => {
    const mountinfo = '41 31 0:38 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup2 rw';
    expect(cgroup2Mount(mountinfo)).toBeUndefined();
  });

  it('is the one of hierarchy 0', () => {
    expect(ownPath('9:name=systemd:/a\n4:memory:/b\n0::/system.slice/web.service\n')).toBe(
      '/system.slice/web.service',
    );
    expect(ownPath('4:memory:/b\n')).toBeUndefined();
  });

  it('is found below a mount of a part of the hierarchy', () => {
    const mount = { root: '/docker/1', point: '/sys/fs/cgroup' };
    expect(groupDirectory(mount, '/docker/1/init')).toBe('/sys/fs/cgroup/init');
    expect(groupDirectory(mount, '/docker/1')).toBe('/sys/fs/cgroup');
  });

  it('is out of reach when it lies outside of what is mounted', () => {
    expect(groupDirectory({ root: '/docker/1', point: '/c' }, '/docker/11')).toBeUndefined();
    expect(groupDirectory({ root: '/', point: '/c' }, '/../outside')).toBeUndefined();
  });

  it('keeps blanks of a mount point, which mountinfo escapes', () => {
    expect(cgroup2Mount('1 2 0:3 / /a\\040b rw - cgroup2 none rw')?.point).toBe('/a b');
  });
});
