import { describe, expect, it } from 'vitest';
import { compilePlan } from '../../../src/stage1/compile.ts';
import type { NspawnProvision, PodSettings } from '../../../src/stage1/settings.ts';

const UUID = '5bc080ca-7a7a-4d1c-9a2b-0123456789ab';
const nspawn: NspawnProvision = {
  kind: 'nspawn',
  program: '/usr/bin/systemd-nspawn',
  cgroups: '/sys/fs/cgroup',
};

function settings(changes: Partial<PodSettings> = {}): PodSettings {
  return {
    uuid: UUID,
    plan: 'nspawn',
    provision: nspawn,
    hostname: 'pod',
    network: 'none',
    hostResolver: false,
    interactive: false,
    graceSeconds: 10,
    openPaths: false,
    apps: [
      {
        name: 'web',
        rootfs: { kind: 'overlay', lowers: ['../../../layers/sha512-1'] },
        readOnlyRootfs: true,
        exec: ['/bin/web', 'web'],
        credentials: { uid: 33, gid: 44, gids: [5], name: 'web', home: '/', shell: '/bin/sh' },
        capabilities: ['CAP_CHOWN'],
        noNewPrivileges: true,
        userNamespaces: false,
        environment: [['PATH', '/bin']],
        workingDirectory: '/srv',
        mounts: [{ volume: 'work', path: '/work', readOnly: false }],
        missing: ['hosts'],
      },
    ],
    volumes: ['work'],
    ...changes,
  };
}

/** The lines of section outside; the last is how systemd-nspawn is started. */
function outside(changes: Partial<PodSettings> = {}): string[] {
  return (compilePlan(settings(changes)).outside ?? []).map((step) => step.join(' '));
}

const started = (changes: Partial<PodSettings> = {}) => outside(changes).at(-1)?.split(' ') ?? [];

describe('the plan of a pod under systemd-nspawn', () => {
  it('has the same app sections as the native flavour, and makes the same pod root', () => {
    const { plan: _plan, provision: _provision, ...native } = settings();
    const here = compilePlan(settings());
    const there = compilePlan(native);
    expect(here.apps).toEqual(there.apps);
    const roots = there.pod.map((step) => step.join(' ')).filter((line) => line.includes('root/'));
    // What init itself mounts: /proc and /sys are those of namespaces that are there by then.
    const made = roots.filter((line) => !/ root\/(proc|sys) /.test(line));
    const moved = made.map((line) => line.replaceAll(/\broot\//g, 'root/pod/'));
    expect(outside()).toEqual(expect.arrayContaining(moved));
    expect(roots.length).toBeGreaterThan(10);
  });

  it('leaves the host before it mounts, and the container before the apps start', () => {
    expect(outside()[0]).toBe('private-mounts');
    const pod = compilePlan(settings()).pod.map((step) => step.join(' '));
    expect(pod).toEqual([
      'private-mounts',
      'hostname pod',
      'loopback',
      'make-directory /pod/proc 0555',
      'mount proc /pod/proc proc nosuid,nodev,noexec',
      'make-directory /pod/sys 0555',
      'mount sysfs /pod/sys sysfs nosuid,nodev,noexec',
      'pivot-root /pod',
    ]);
  });

  it('lets the container have init and the plan only to read', () => {
    expect(outside()).toContain('mount stage1/init root/init - bind,ro,nosuid,nodev');
    expect(outside()).toContain('mount plan root/plan - bind,ro,nosuid,nodev');
  });

  it('shows systemd-nspawn the v2 hierarchy alone where there are others', () => {
    const bind = 'mount /sys/fs/cgroup/unified /sys/fs/cgroup - bind';
    expect(outside()).not.toContain(bind);
    const provision = { ...nspawn, cgroups: '/sys/fs/cgroup/unified' };
    expect(outside({ provision })).toContain(bind);
  });

  it('has a network of its own unless it is the one of the host', () => {
    expect(started()).toContain('--private-network');
    expect(started({ network: 'host' })).not.toContain('--private-network');
  });

  it('registers with machined where that runs: a service as what it is, any other pod in a scope', () => {
    expect(started()).toEqual(expect.arrayContaining(['--register=no', '--keep-unit']));
    const scope = started({ provision: { ...nspawn, machined: 'scope' } });
    expect(scope).toContain('--register=yes');
    expect(scope).not.toContain('--keep-unit');
    const service = started({ provision: { ...nspawn, machined: 'service' } });
    expect(service).toEqual(expect.arrayContaining(['--register=yes', '--keep-unit']));
    expect(started()).toContain(`--machine=gantry-${UUID}`);
  });

  it('has a journal where there is a journald, and lines for it', () => {
    const journald = '/usr/lib/systemd/systemd-journald';
    const provision: NspawnProvision = { ...nspawn, machined: 'scope', journald };
    expect(outside({ provision })).toContain(`spawn ${journald} systemd-journald`);
    expect(outside({ provision, interactive: true }).join()).not.toContain('journald');
    expect(outside().join()).not.toContain('systemd-journald');
  });
});
