import { describe, expect, it } from 'vitest';
import { settleDevices } from '../../../src/pod/devices.ts';
import type { Feature } from '../../../src/stage1/features.ts';
import type { AppSettings, PodSettings } from '../../../src/stage1/settings.ts';

const app: AppSettings = {
  name: 'web',
  rootfs: { kind: 'copy' },
  readOnlyRootfs: false,
  exec: ['/bin/web', 'web'],
  credentials: { uid: 0, gid: 0, gids: [], name: 'root', home: '/', shell: '/bin/sh' },
  capabilities: ['CAP_MKNOD'],
  noNewPrivileges: false,
  userNamespaces: false,
  environment: [],
  workingDirectory: '/',
  mounts: [],
  missing: [],
};

const plain: PodSettings = {
  uuid: '5bc080ca-7a7a-4d1c-9a2b-0123456789ab',
  hostname: 'host',
  network: 'none',
  hostResolver: false,
  interactive: false,
  graceSeconds: 10,
  openPaths: false,
  apps: [app],
  volumes: [],
};

/** A pod with a device as a volume. */
function withDisk(readOnly: boolean): PodSettings {
  const device = { kind: 'block', major: 8, minor: 1 } as const;
  const disk = { name: 'disk', source: '/dev/sda1', directory: false, readOnly, device } as const;
  const mounts = [{ volume: 'disk', path: '/disk', readOnly: false, file: true }] as const;
  return {
    ...plain,
    apps: [{ ...app, mounts }],
    hostVolumes: [{ ...disk, recursive: true, propagation: 'private', devices: true }],
  };
}

function settle(
  settings: PodSettings,
  filters = true,
  features: readonly Feature[] = ['device-access'],
) {
  const warnings: string[] = [];
  const flavour = { name: 'gantry/x', plan: 'native', features: new Set(features) } as const;
  const report = { warn: (line: string) => warnings.push(line) };
  const settled = settleDevices(settings, { flavour, runsNow: false, report, filters });
  return settled.then((result) => ({ result, warnings }));
}

describe('devices of a pod with a v2 group', () => {
  const settings = { ...plain, cgroup: '/sys/fs/cgroup/gantry-x' };

  it('are allowed there one by one', async () => {
    const { result } = await settle(settings);
    expect(result.deviceAccess).toMatchObject({ version: 2, directory: settings.cgroup });
  });

  it('are left to its mounts where the kernel has no programs for groups', async () => {
    const { result, warnings } = await settle(settings, false);
    expect(result.deviceAccess).toBeUndefined();
    expect(warnings).toEqual([]);
  });
});

it('a pod without a group of its own gets none where its mounts keep all devices away', async () => {
  expect((await settle(plain)).result).toEqual(plain);
});

describe('a flavour without groups for devices', () => {
  it('has none that are read-only', async () => {
    await expect(settle(withDisk(true), true, [])).rejects.toThrow(
      '--volume disk: the device cannot be read-only: stage1 gantry/x lacks device-access',
    );
    expect((await settle(withDisk(false), true, [])).result.deviceAccess).toBeUndefined();
  });

  it('has none of the host at all where it brings a kernel', async () => {
    await expect(settle(withDisk(false), true, ['own-kernel'])).rejects.toThrow(
      "--volume disk: a device of the host is none of the kernel's that stage1 gantry/x brings",
    );
  });
});

it('machined is told of devices by systemd-nspawn, and has the group', async () => {
  const provision = { kind: 'nspawn', program: '/n', cgroups: '/c', machined: 'scope' } as const;
  const settings = { ...withDisk(true), provision };
  expect((await settle(settings)).result).toEqual(settings);
});
