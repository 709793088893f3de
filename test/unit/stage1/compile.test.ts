import { describe, expect, it } from 'vitest';
import { compilePlan } from '../../../src/stage1/compile.ts';
import { compileAppPlan } from '../../../src/stage1/compile-app.ts';
import type { AppSettings, PodSettings } from '../../../src/stage1/settings.ts';

const web: AppSettings = {
  name: 'web',
  rootfs: { kind: 'overlay', lowers: ['../../../layers/sha512-1'] },
  readOnlyRootfs: false,
  exec: ['/bin/web', 'web', '--port', '80'],
  credentials: { uid: 33, gid: 44, gids: [5], name: 'web', home: '/', shell: '/bin/sh' },
  capabilities: ['CAP_CHOWN'],
  noNewPrivileges: false,
  userNamespaces: false,
  environment: [['PATH', '/bin']],
  workingDirectory: '/srv',
  mounts: [],
  missing: [],
};

function settings(changes: Partial<PodSettings> = {}): PodSettings {
  return {
    uuid: '5bc080ca-7a7a-4d1c-9a2b-0123456789ab',
    hostname: 'pod',
    network: 'none',
    hostResolver: false,
    interactive: false,
    graceSeconds: 10,
    openPaths: false,
    apps: [web],
    volumes: [],
    ...changes,
  };
}

/** Steps as lines, as a plan is printed. */
function appLines(changes: Partial<AppSettings> = {}, pod: Partial<PodSettings> = {}): string[] {
  const plan = compilePlan(settings({ apps: [{ ...web, ...changes }], ...pod }));
  return (plan.apps[0]?.steps ?? []).map((step) => step.join(' '));
}

function podLines(changes: Partial<PodSettings> = {}): string[] {
  return compilePlan(settings(changes)).pod.map((step) => step.join(' '));
}

function supervisorLines(changes: Partial<PodSettings> = {}): string[] {
  return compilePlan(settings(changes)).supervisor.map((step) => step.join(' '));
}

/** The positions of lines that must be there. */
function positions(lines: readonly string[], ...wanted: string[]): number[] {
  return wanted.map((line) => {
    const at = lines.indexOf(line);
    expect(at, line).toBeGreaterThanOrEqual(0);
    return at;
  });
}

describe('the supervisor section', () => {
  it('asks for namespaces of every kind, and for lines of output', () => {
    expect(supervisorLines()).toEqual([
      'namespaces pid mount ipc uts net',
      'grace 10',
      'output lines',
    ]);
  });

  it("leaves a pod in the host's network there", () => {
    expect(supervisorLines({ network: 'host' })[0]).toBe('namespaces pid mount ipc uts');
  });

  it('makes, joins and finally removes the control group of a pod that has one', () => {
    expect(supervisorLines({ cgroup: '/c/g' })).toContain('make-cgroup /c/g');
    expect(supervisorLines({ cgroup: '/c/g' })).toContain('join-cgroup /c/g');
    expect(compilePlan(settings({ cgroup: '/c/g' })).teardown).toEqual([['remove-cgroup', '/c/g']]);
  });
});

describe('the pod section', () => {
  it('cuts itself off from the mounts of the host before anything is mounted', () => {
    expect(podLines()[0]).toBe('private-mounts');
    expect(podLines().at(-1)).toBe('pivot-root root');
  });

  it('brings loopback up in a network of its own only', () => {
    expect(podLines()).toContain('loopback');
    expect(podLines({ network: 'host' })).not.toContain('loopback');
  });

  it('lays the root of an app over its layer, which may hold setuid programs but no devices', () => {
    const mount = podLines().find((line) => line.startsWith('mount overlay'));
    expect(mount).toContain('mount overlay root/apps/web overlay nodev ');
    expect(mount).not.toContain('nosuid');
    expect(mount).toContain('lowerdir=../../../layers/sha512-1');
    expect(mount).toContain('redirect_dir=nofollow');
  });

  it('gives several layers in one option while it can hold them, else one by one', () => {
    const lowers = (...names: string[]) => {
      const rootfs = { kind: 'overlay', lowers: names } as const;
      const mount = podLines({ apps: [{ ...web, rootfs }] }).find((l) =>
        l.startsWith('mount overlay'),
      );
      return mount?.split(' ').filter((word) => word.startsWith('lowerdir'));
    };
    expect(lowers('l/0', 'l/1', 'l/2')).toEqual(['lowerdir=l/0:l/1:l/2']);
    const [whole, over] = ['b'.repeat(251), 'b'.repeat(252)];
    expect(lowers('l/0', whole)).toEqual([`lowerdir=l/0:${whole}`]);
    expect(lowers('l/0', over)).toEqual(['lowerdir+=l/0', `lowerdir+=${over}`]);
  });

  it('binds the copy of an image that is not overlaid', () => {
    expect(podLines({ apps: [{ ...web, rootfs: { kind: 'copy' } }] })).toContain(
      'mount apps/web/rootfs root/apps/web - bind,nodev',
    );
  });

  it('shares volumes without devices', () => {
    expect(podLines({ volumes: ['work'] })).toContain(
      'mount volumes/work root/volumes/work - bind,nodev',
    );
  });

  it('shows the resolver configuration of the host read-only, with its network only', () => {
    const line = 'mount /etc/resolv.conf root/resolv.conf - bind,ro,nosuid,nodev,noexec';
    expect(podLines({ hostResolver: true })).toContain(line);
    expect(podLines()).not.toContain(line);
  });
});

describe('an app section', () => {
  it('names no target in the image before the image is its root', () => {
    const lines = appLines();
    const pivot = lines.indexOf('pivot-root /apps/web');
    const before = lines.slice(0, pivot).filter((line) => line.includes('/apps/'));
    expect(before).toEqual([]);
    const [dev, proc] = positions(
      lines,
      'move-tree 0 /dev',
      'mount proc /proc proc nosuid,nodev,noexec',
    );
    expect(dev).toBeGreaterThan(pivot);
    expect(proc).toBeGreaterThan(pivot);
  });

  it('masks what the kernel shows of the host before volumes come in', () => {
    const lines = appLines({ mounts: [{ volume: 'work', path: '/work', readOnly: false }] });
    const [mask, volume] = positions(lines, 'mask /proc/kcore', 'move-tree 2 /work');
    expect(mask).toBeLessThan(volume ?? 0);
    expect(lines).toContain('read-only /proc/sys');
    expect(lines).toContain('mount sysfs /sys sysfs ro,nosuid,nodev,noexec');
  });

  it('leaves the paths of the kernel open when told to', () => {
    const lines = appLines({}, { openPaths: true });
    expect(lines.filter((line) => /^(mask|read-only) /.test(line))).toEqual([]);
    expect(lines).toContain('mount sysfs /sys sysfs nosuid,nodev,noexec');
  });

  it('lets devices be opened through no mount an app can write to', () => {
    const lines = appLines();
    expect(lines).toContain('mount tmpfs /own-dev tmpfs nosuid,nodev,noexec mode=0755 size=64m');
    expect(lines).toContain('mount /dev/null /own-dev/null - bind');
  });

  it('attaches a read-only volume read-only', () => {
    const lines = appLines({ mounts: [{ volume: 'w', path: '/w', readOnly: true }] });
    const [open, ro] = positions(lines, 'open-tree 2 /volumes/w', 'tree-attributes 2 ro');
    expect(ro).toBe((open ?? 0) + 1);
  });

  it('writes the files about names that the image lacks, and no others', () => {
    expect(appLines().some((line) => line.includes('/etc/'))).toBe(false);
    const lines = appLines({ missing: ['hosts', 'hostname', 'mtab'] });
    expect(lines).toContain('write-file /etc/hostname 0644 pod\n');
    expect(lines).toContain('symlink ../proc/self/mounts /etc/mtab');
  });

  it('makes the root read-only after everything has been put into it', () => {
    const lines = appLines({ readOnlyRootfs: true, missing: ['hosts'] });
    const [etc, ro, umask] = positions(
      lines,
      'make-directory /etc 0755',
      'mount-attributes / ro',
      'umask 0022',
    );
    expect(etc).toBeLessThan(ro ?? 0);
    expect(ro).toBeLessThan(umask ?? 0);
  });

  it('gives an interactive app the terminal', () => {
    expect(appLines({}, { interactive: true })).toContain('terminal /dev/console');
    expect(supervisorLines({ interactive: true })).toContain('output terminal');
    expect(podLines({ interactive: true }).at(-1)).toBe('open-terminal /dev/pts/ptmx');
  });

  it('makes a working directory the image lacks after its volumes are there, before it is read-only', () => {
    const lines = appLines({
      makesWorkingDirectory: true,
      readOnlyRootfs: true,
      mounts: [{ volume: 'work', path: '/srv', readOnly: false }],
      workingDirectory: '/srv/app',
    });
    const [volume, made, ro, user] = positions(
      lines,
      'move-tree 2 /srv',
      'make-directory /srv/app 0755',
      'mount-attributes / ro',
      'user 33 44 5',
    );
    expect([volume, made, ro, user]).toEqual(
      [volume, made, ro, user].sort((a = 0, b = 0) => a - b),
    );
  });

  it('says what asks the app to end, where it is not TERM', () => {
    expect(appLines({ stopSignal: 3 })).toContain('stop-signal 3');
    expect(appLines().some((line) => line.startsWith('stop-signal'))).toBe(false);
  });

  it('ends as the user, with the capabilities and the program it keeps', () => {
    expect(appLines({ noNewPrivileges: true }).slice(-8)).toEqual([
      'umask 0022',
      'env PATH /bin',
      'user 33 44 5',
      'chdir /srv',
      'no-user-namespaces',
      'keep-caps CAP_CHOWN',
      'no-new-privileges',
      'exec /bin/web web --port 80',
    ]);
  });
});

describe('a mutable pod', () => {
  const mutable = { mutable: { overlay: true }, volumes: ['data'] };

  it('has no app and no volume in its plan, but a place for roots', () => {
    const plan = compilePlan(settings(mutable));
    expect(plan.apps).toEqual([]);
    expect(supervisorLines(mutable)).toContain('mutable');
    expect(supervisorLines()).not.toContain('mutable');
    expect(podLines(mutable)).toContain('make-directory root/app 0755');
    expect(podLines(mutable).join('\n')).not.toMatch(/overlay|volumes/);
  });

  const late: AppSettings = {
    ...web,
    mounts: [
      { volume: 'data', path: '/data', readOnly: false },
      { volume: 'other', path: '/other', readOnly: true },
    ],
  };

  it('has the mounts of an app made outside, and nothing else', () => {
    const { outside } = compileAppPlan(settings(mutable), late);
    expect(outside[0]).toEqual(['private-mounts']);
    expect(outside[1]?.slice(0, 5)).toEqual(['mount', 'overlay', 'root', 'overlay', 'nodev']);
    expect(outside.slice(2).map((step) => step.join(' '))).toEqual([
      'open-tree 0 root',
      'open-tree 2 volumes/data',
      'tree-attributes 2 nodev',
      'open-tree 3 volumes/other',
      'tree-attributes 3 nodev,ro',
    ]);
  });

  it('has an app become what it would be in any pod', () => {
    const { app } = compileAppPlan(settings(mutable), late);
    const lines = app.steps.map((step) => step.join(' '));
    const order = ['unshare mount', 'move-tree 0 /app', 'open-tree 0 /own-dev recursive'];
    const at = positions(
      lines,
      ...order,
      'pivot-root /app',
      'move-tree 0 /dev',
      'move-tree 3 /other',
    );
    expect(at).toEqual([...at].sort((a, b) => a - b));
    const usual = appLines();
    const from = (all: string[]) => all.slice(all.indexOf('umask 0022'));
    expect(from(lines)).toEqual(from(usual));
  });
});
