import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { HostVolume } from '../../../src/image/volume.ts';
import { settleHostVolumes } from '../../../src/pod/host-volumes.ts';
import type { PlanKind } from '../../../src/stage1/settings.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

function settle(source: string, changes: Partial<HostVolume> = {}, plan: PlanKind = 'native') {
  const volume: HostVolume = { name: 'v', kind: 'host', source, readOnly: false, ...changes };
  return settleHostVolumes([volume], { plan })[0];
}

describe('a volume of the host', () => {
  it('is a directory with all that is mounted below, and no devices', () => {
    const source = temporaryDirectory();
    expect(settle(source, { readOnly: true })).toEqual({
      name: 'v',
      source,
      directory: true,
      readOnly: true,
      recursive: true,
      propagation: 'private',
      devices: false,
    });
  });

  it('comes to an agent of the host with devices, and without what is mounted below', () => {
    const source = temporaryDirectory();
    expect(settle(source, {}, 'chroot')).toMatchObject({ recursive: false, devices: true });
    expect(settle(source, { recursive: true }, 'chroot')).toMatchObject({ recursive: true });
  });

  it('may be a file, or a device, which can be opened', () => {
    const file = join(temporaryDirectory(), 'file');
    writeFileSync(file, '');
    expect(settle(file)).toMatchObject({ directory: false, devices: false });
    expect(settle('/dev/null')).toMatchObject({ directory: false, devices: true });
  });

  it('must be there', () => {
    expect(() => settle('/none/such')).toThrow(
      '--volume v: source "/none/such": there is no such file',
    );
  });

  it('lets mounts travel in as many volumes as the launcher keeps at once', () => {
    const source = temporaryDirectory();
    const many = Array.from(
      { length: 65 },
      (_, index): HostVolume => ({
        ...{ name: `v${index}`, kind: 'host', source, readOnly: false },
        propagation: 'slave',
      }),
    );
    expect(() => settleHostVolumes(many, { plan: 'native' })).toThrow(
      '--volume: mounts travel through 65 volumes, and at most 64 may let them',
    );
  });
});
