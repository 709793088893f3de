/** Lines of mountinfo and of /proc/self/cgroup: a host with v1, and the mount of one with v2. */
export const V1_MOUNTS = [
  '31 23 0:28 / /sys/fs/cgroup ro,relatime - tmpfs tmpfs rw,mode=755',
  '32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:3 - cgroup cgroup rw,cpu,cpuacct',
  '35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory',
  '38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio',
  '40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd',
];
export const V1_GROUPS = ['9:name=systemd:/s', '7:blkio:/', '4:memory:/m/one', '1:cpu,cpuacct:/'];
export const V2_MOUNT = '41 31 0:38 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate';
