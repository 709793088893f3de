import { expect, it } from 'vitest';
import { parseMountInfo } from '../../../src/isolation/mount-info.ts';

it('reads which mounts are shared or read-only, where they are and what of', () => {
  const text = [
    '21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw',
    '22 21 0:5 / /with\\040space rw master:1 - tmpfs tmpfs rw',
    '23 21 0:6 / /both rw master:1 shared:7 propagate_from:2 - tmpfs shared:9 rw',
    '24 21 0:7 /part /own ro,nosuid - cgroup2 shared:9 rw,nsdelegate',
    '',
  ].join('\n');
  const plain = { root: '/', shared: false, readOnly: false, type: 'tmpfs', options: ['rw'] };
  expect(parseMountInfo(text)).toEqual([
    { ...plain, id: '21', point: '/', shared: true, type: 'ext4' },
    { ...plain, id: '22', point: '/with space' },
    { ...plain, id: '23', point: '/both', shared: true },
    {
      id: '24',
      root: '/part',
      point: '/own',
      shared: false,
      readOnly: true,
      type: 'cgroup2',
      options: ['rw', 'nsdelegate'],
    },
  ]);
});
