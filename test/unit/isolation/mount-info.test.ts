import { expect, it } from 'vitest';
import { parseMountInfo } from '../../../src/isolation/mount-info.ts';

it('reads which mounts are shared, and where they are', () => {
  const text = [
    '21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw',
    '22 21 0:5 / /with\\040space rw master:1 - tmpfs tmpfs rw',
    '23 21 0:6 / /both rw master:1 shared:7 propagate_from:2 - tmpfs shared:9 rw',
    '24 21 0:7 / /own rw - tmpfs shared:9 rw',
    '',
  ].join('\n');
  expect(parseMountInfo(text)).toEqual([
    { id: '21', point: '/', shared: true },
    { id: '22', point: '/with space', shared: false },
    { id: '23', point: '/both', shared: true },
    { id: '24', point: '/own', shared: false },
  ]);
});
