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
    const [dev, proc] = positions(lines, 'move-tree 0 /dev', 'move-tree 62 /proc');
    expect(dev).toBeGreaterThan(pivot);
    expect(proc).toBeGreaterThan(pivot);
  });

  it('masks what the kernel shows of the host before volumes come in', () => {
    const lines = appLines({ mounts: [{ volume: 'work', path: '/work', readOnly: false }] });
    const [mask, volume] = positions(lines, 'mask /proc/kcore', 'move-tree 2 /work');
    expect(mask).toBeLessThan(volume ?? 0);
    expect(lines).toContain('read-only /proc/sys');
    expect(lines).toContain('tree-attributes 63 ro');
  });

  it('leaves the paths of the kernel open when told to', () => {
    const lines = appLines({}, { openPaths: true });
    expect(lines.filter((line) => /^(mask|read-only) /.test(line))).toEqual([]);
    expect(lines).not.toContain('tree-attributes 63 ro');
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

describe('limits and labels of a process', () => {
  const process = {
    oomScore: -5,
    rlimits: [['nofile', '4', '8']],
    labels: [['selinux', 'u:r:t:s0']],
  } as const;

  it('come before what the process may not do any more', () => {
    const lines = appLines({ process });
    const found = positions(
      lines,
      'oom-score -5',
      'user 33 44 5',
      'chdir /srv',
      'label selinux u:r:t:s0',
      'rlimit nofile 4 8',
      'keep-caps CAP_CHOWN',
    );
    expect(found).toEqual(found.toSorted((a, b) => a - b));
  });
});

describe('event handlers', () => {
  const handlers = { preStart: ['/bin/a', 'a'], postStop: ['/bin/b', 'b', 'x'] };
  const missing = ['hosts'] as const;

  it('have all steps of their app, but for its program', () => {
    const [app] = compilePlan(settings({ apps: [{ ...web, handlers, missing }] })).apps;
    const [plain] = compilePlan(settings({ apps: [{ ...web, missing }] })).apps;
    expect(app?.preStart?.at(-1)).toEqual(['exec', '/bin/a', 'a']);
    expect(app?.postStop?.at(-1)).toEqual(['exec', '/bin/b', 'b', 'x']);
    expect(app?.preStart?.slice(0, -1)).toEqual(plain?.steps.slice(0, -1));
    // What the first of them found in place of a file stays what it left there.
    const written = (steps: readonly (readonly string[])[] = []) =>
      steps.filter(([word]) => word === 'write-file').length;
    expect([app?.preStart, app?.steps, app?.postStop].map(written)).toEqual([1, 0, 0]);
    const later = compilePlan(
      settings({ apps: [{ ...web, handlers: { postStop: ['/b', 'b'] }, missing }] }),
    ).apps[0];
    expect([later?.preStart, later?.steps, later?.postStop].map(written)).toEqual([0, 1, 0]);
  });
});

describe('kernel parameters', () => {
  const sysctl = [['net/core/somaxconn', '7']] as const;

  it('are set once the namespaces are there', () => {
    const lines = podLines({ sysctl });
    const found = positions(lines, 'private-mounts', 'loopback', 'sysctl net/core/somaxconn 7');
    expect(found).toEqual(found.toSorted((a, b) => a - b));
    expect(lines.indexOf('pivot-root root')).toBeGreaterThan(found.at(-1) ?? 0);
  });

  it('are never those of the host', () => {
    expect(() => podLines({ sysctl, network: 'host' })).toThrow("is the host's in this pod");
  });
});

describe('a pod with users of its own', () => {
  const own = { users: { first: 600_000, count: 65_536 } };
  const outside = (changes: Partial<PodSettings> = {}) =>
    (compilePlan(settings({ ...own, ...changes })).outside ?? []).map((step) => step.join(' '));

  it('has them mapped, and locked for the host', () => {
    expect(supervisorLines(own)).toEqual(
      expect.arrayContaining([
        'namespaces pid mount ipc uts net user',
        'map-users 0 600000 65536',
        'map-groups 0 600000 65536',
        'hold-lock /run/gantry/users/600000',
      ]),
    );
  });

  it('is given what only root of the host can make, locked as it is', () => {
    const lines = outside();
    const [layer, overlay, node] = positions(
      lines,
      'mount ../../../layers/sha512-1 ../../../layers/sha512-1 - bind,users',
      lines.find((line) => line.startsWith('mount overlay root/apps/web ')) ?? 'an overlay',
      'make-device root/dev/null 0666 char 1 3',
    );
    expect(layer).toBeLessThan(overlay ?? 0);
    expect(node).toBeLessThan(lines.length - 2);
    expect(lines.slice(-2)).toEqual(['join-users', 'open-tree 0 root recursive']);
  });

  it('has layers that its apps share once', () => {
    const lines = outside({ apps: [web, { ...web, name: 'other' }] });
    expect(lines.filter((line) => line.endsWith(' bind,users'))).toHaveLength(1);
  });

  it('becomes its own root once it no longer needs the pod directory', () => {
    const lines = podLines(own);
    const order = positions(
      lines,
      'move-tree 0 root',
      'mount proc root/proc proc nosuid,nodev,noexec',
      'pivot-root root',
      'become-root',
    );
    expect(order).toEqual([...order].sort((a, b) => a - b));
    expect(lines.filter((line) => line.startsWith('make-device'))).toEqual([]);
  });

  it('has the /sys of the network it is in', () => {
    expect(outside({ network: 'host' })).toContain(
      'mount sysfs root/sys sysfs nosuid,nodev,noexec',
    );
    expect(podLines({ ...own, network: 'host' }).join('\n')).not.toContain('sysfs');
    expect(outside().join('\n')).not.toContain('sysfs');
  });

  it('has files of the host with the same owners, where that can be', () => {
    const volume = {
      name: 'data',
      source: '/srv',
      directory: true,
      readOnly: true,
      recursive: true,
      propagation: 'private',
      devices: false,
    } as const;
    const lines = outside({ hostVolumes: [{ ...volume, mapped: true }] });
    expect(lines).toContain('tree-attributes 0 nodev,ro,users recursive');
    expect(lines).toContain('move-tree 0 root/volumes/data');
    expect(outside({ hostVolumes: [volume] })).toContain('tree-attributes 0 nodev,ro recursive');
    const alone = { ...volume, recursive: false, mapped: true } as const;
    expect(outside({ hostVolumes: [alone] })).toContain(
      'mount /srv root/volumes/data - bind,nodev,ro,users',
    );
    // Layers and the rest of the pod may be below.
    expect(lines.slice(0, 2)).toEqual(['private-mounts', 'open-tree 0 /srv recursive']);
  });

  it('has the mounts of apps that come later locked as well', () => {
    const mounts = [{ volume: 'work', path: '/work', readOnly: true }];
    const plan = compileAppPlan(settings(own), { ...web, mounts });
    expect(plan.outside.map((step) => step.join(' ')).slice(-8)).toEqual([
      'make-directory root/volumes/work 0755',
      'mount volumes/work root/volumes/work - bind,nodev',
      'make-directory root/app 0755',
      expect.stringMatching(/^mount overlay root\/app overlay nodev /),
      'join-users',
      'open-tree 0 root/app',
      'open-tree 2 root/volumes/work',
      'tree-attributes 2 ro',
    ]);
  });
});

describe("an ordinary user's pod", () => {
  it("has the host's devices, as it can make none", () => {
    const lines = podLines({ rootless: true });
    expect(lines).toContain('mount /dev/null root/dev/null - bind');
    expect(lines.filter((line) => line.startsWith('make-device'))).toEqual([]);
  });

  it('has overlayfs keep its notes where anybody may', () => {
    const mounts = (rootless?: true) =>
      podLines(rootless === undefined ? {} : { rootless }).filter((line) =>
        line.startsWith('mount overlay'),
      );
    expect(mounts(true)[0]).toMatch(/ userxattr$/);
    expect(mounts()[0]).not.toContain('userxattr');
  });

  it("has the host's /sys with its network, read-only with all that is mounted there", () => {
    const pod = { rootless: true, network: 'host' } as const;
    expect(podLines(pod)).toContain('mount /sys root/sys - bind,rec,ro,nosuid,nodev,noexec');
    expect(appLines({}, pod)).toContain('open-tree 63 /sys recursive');
    expect(podLines({ rootless: true })).toContain(
      'mount sysfs root/sys sysfs nosuid,nodev,noexec',
    );
  });
});
