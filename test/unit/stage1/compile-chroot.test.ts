import { describe, expect, it } from 'vitest';
import { compilePlan } from '../../../src/stage1/compile.ts';
import type { AppSettings, HostVolumeSettings, PodSettings } from '../../../src/stage1/settings.ts';

const agent: AppSettings = {
  name: 'agent',
  rootfs: { kind: 'overlay', lowers: ['../../../layers/sha512-1'] },
  readOnlyRootfs: false,
  exec: ['/bin/agent', 'agent'],
  credentials: { uid: 0, gid: 0, gids: [], name: 'root', home: '/', shell: '/bin/sh' },
  capabilities: ['CAP_SYS_ADMIN'],
  noNewPrivileges: false,
  userNamespaces: true,
  environment: [],
  workingDirectory: '/',
  mounts: [],
  missing: [],
};

function settings(changes: Partial<PodSettings> = {}, app: Partial<AppSettings> = {}): PodSettings {
  return {
    uuid: '5bc080ca-7a7a-4d1c-9a2b-0123456789ab',
    plan: 'chroot',
    hostname: 'host',
    network: 'host',
    hostResolver: false,
    interactive: false,
    graceSeconds: 10,
    openPaths: false,
    apps: [{ ...agent, ...app }],
    volumes: [],
    ...changes,
  };
}

function volume(changes: Partial<HostVolumeSettings> = {}): HostVolumeSettings {
  return {
    name: 'data',
    source: '/srv',
    directory: true,
    readOnly: false,
    recursive: false,
    propagation: 'private',
    devices: true,
    ...changes,
  };
}

const lines = (steps: readonly (readonly string[])[]) => steps.map((step) => step.join(' '));
const podLines = (...args: Parameters<typeof settings>) =>
  lines(compilePlan(settings(...args)).pod);

/** The pod section of a plan with this volume at /data. */
function withVolume(changes: Partial<HostVolumeSettings>, readOnly = false, file?: true): string[] {
  const mount = { volume: 'data', path: '/deep/data', readOnly, ...(file ? { file } : {}) };
  return podLines({ hostVolumes: [volume(changes)] }, { mounts: [mount] });
}

/** What is the host's comes when all else has been made: no link of the image leads into it before. */
const HOSTS = ['move-tree 0 /dev', 'move-tree 62 /proc', 'move-tree 63 /sys'];

describe('the plan of the chroot flavour', () => {
  it('has a mount namespace only, and the streams of whoever starts the pod', () => {
    expect(lines(compilePlan(settings({ cgroup: '/c/g' })).supervisor)).toEqual([
      'namespaces mount',
      'grace 10',
      'output raw',
      'make-cgroup /c/g',
      'join-cgroup /c/g',
    ]);
    expect(compilePlan(settings({ cgroup: '/c/g' })).teardown).toEqual([['remove-cgroup', '/c/g']]);
  });

  it('names no target before the image is the root', () => {
    const found = podLines();
    const pivot = found.indexOf('pivot-root root');
    expect(found.slice(0, pivot)).toEqual([
      'private-mounts',
      'open-tree 0 /dev recursive',
      'open-tree 62 /proc recursive',
      'open-tree 63 /sys recursive',
      expect.stringMatching(/^mount overlay root overlay nodev lowerdir=/),
    ]);
    expect(found.slice(pivot + 1)).toEqual([
      'make-directory /dev 0755',
      'make-directory /proc 0555',
      'make-directory /sys 0555',
      'make-directory /tmp 1777',
      'mount tmpfs /tmp tmpfs nosuid,nodev mode=1777',
      ...HOSTS,
    ]);
  });

  it('leaves to the app what an app is: who, with what, and its program', () => {
    expect(lines(compilePlan(settings()).apps[0]?.steps ?? [])).toEqual([
      'umask 0022',
      'user 0 0',
      'chdir /',
      'keep-caps CAP_SYS_ADMIN',
      'exec /bin/agent agent',
    ]);
  });

  it('has a terminal of the host when interactive', () => {
    const plan = compilePlan(settings({ interactive: true }));
    expect(lines(plan.supervisor)).toContain('output terminal');
    expect(lines(plan.pod).at(-1)).toBe('open-terminal /dev/pts/ptmx');
  });

  it('shows the resolver configuration of the host read-only', () => {
    const found = podLines({ hostResolver: true });
    expect(found).toContain('tree-attributes 1 ro,nosuid,nodev,noexec');
    expect(found).toContain('move-tree 1 /etc/resolv.conf');
  });

  it('is of one app', () => {
    expect(() => compilePlan(settings({ apps: [agent, { ...agent, name: 'b' }] }))).toThrow(
      'one app',
    );
  });
});

describe('a volume in the plan of the chroot flavour', () => {
  it('is a copy of what the host has, with its devices', () => {
    const found = withVolume({});
    expect(found).toContain('open-tree 2 /srv');
    expect(found.some((line) => line.startsWith('tree-attributes 2'))).toBe(false);
    expect(found.slice(-5)).toEqual([
      'make-directory /deep/data 0755',
      'move-tree 2 /deep/data',
      ...HOSTS,
    ]);
  });

  it('is read-only with all that is below, where volume or mount is', () => {
    expect(withVolume({ readOnly: true, recursive: true })).toContain(
      'tree-attributes 2 ro recursive',
    );
    expect(withVolume({}, true)).toContain('tree-attributes 2 ro');
  });

  it('through which mounts travel is taken before mounts become private', () => {
    const found = withVolume({ propagation: 'slave', recursive: true });
    expect(found.slice(0, 2)).toEqual(['open-tree 2 /srv recursive', 'private-mounts']);
    expect(found).toContain('tree-attributes 2 slave recursive');
  });

  it('that is a file is mounted over a file', () => {
    expect(withVolume({ directory: false }, false, true).slice(-6)).toEqual([
      'make-directory /deep 0755',
      'make-file /deep/data 0644',
      'move-tree 2 /deep/data',
      ...HOSTS,
    ]);
  });

  it("in a directory of the host's comes after that", () => {
    const mounts = [{ volume: 'own', path: '/dev/own', readOnly: false }];
    const found = podLines({ volumes: ['own'] }, { mounts });
    expect(found.slice(-5)).toEqual([
      ...HOSTS,
      'make-directory /dev/own 0755',
      'move-tree 2 /dev/own',
    ]);
  });

  it("of the pod's own is without devices", () => {
    const mounts = [{ volume: 'own', path: '/own', readOnly: true }];
    const found = podLines({ volumes: ['own'] }, { mounts });
    expect(found).toContain('open-tree 2 volumes/own');
    expect(found).toContain('tree-attributes 2 nodev,ro');
  });
});

describe('a volume of the host in the native plan', () => {
  function native(changes: Partial<HostVolumeSettings>, readOnly = false): PodSettings {
    const mounts = [{ volume: 'data', path: '/data', readOnly }];
    const hostVolumes = [volume({ devices: false, ...changes })];
    return settings({ plan: 'native', hostVolumes }, { mounts });
  }

  it('is bound once for all apps, without devices', () => {
    const plan = compilePlan(native({ recursive: true, readOnly: true }));
    expect(lines(plan.pod)).toContain('make-directory root/volumes/data 0755');
    expect(lines(plan.pod)).toContain('mount /srv root/volumes/data - bind,rec,nodev,ro');
    expect(lines(plan.apps[0]?.steps ?? [])).toContain('open-tree 2 /volumes/data recursive');
  });

  it('is read-only for an app whose mount point is', () => {
    const app = lines(compilePlan(native({}, true)).apps[0]?.steps ?? []);
    expect(app).toContain('tree-attributes 2 ro recursive');
  });

  it('through which mounts travel is taken before mounts become private', () => {
    const found = lines(compilePlan(native({ propagation: 'shared' })).pod);
    expect(found.slice(0, 2)).toEqual(['open-tree 0 /srv', 'private-mounts']);
    const at = found.indexOf('make-directory root/volumes/data 0755');
    expect(found.slice(at + 1, at + 3)).toEqual([
      'tree-attributes 0 shared,nodev',
      'move-tree 0 root/volumes/data',
    ]);
  });

  it('may be a file', () => {
    expect(lines(compilePlan(native({ directory: false })).pod)).toContain(
      'make-file root/volumes/data 0644',
    );
  });
});
