import { describe, expect, it } from 'vitest';
import type { PodGroup } from '../../../src/isolation/control-groups.ts';
import { compilePlan } from '../../../src/stage1/compile.ts';
import { compileAppPlan } from '../../../src/stage1/compile-app.ts';
import type { AppSettings, PodSettings } from '../../../src/stage1/settings.ts';

const web: AppSettings = {
  name: 'web',
  rootfs: { kind: 'overlay', lowers: ['l/0'] },
  readOnlyRootfs: false,
  exec: ['/bin/web', 'web'],
  credentials: { uid: 0, gid: 0, gids: [], name: 'root', home: '/', shell: '/bin/sh' },
  capabilities: [],
  noNewPrivileges: false,
  limits: { memory: { limit: '16' }, pids: { limit: '9' } },
  userNamespaces: false,
  environment: [],
  workingDirectory: '/',
  mounts: [],
  missing: [],
};
const { limits: _, ...unlimited } = web;
const free: AppSettings = { ...unlimited, name: 'free' };

const MEMORY: PodGroup = { version: 1, controllers: ['memory'], directory: '/m/gantry-U' };
const PIDS: PodGroup = { version: 1, controllers: ['pids'], directory: '/p/gantry-U' };
const UNIFIED: PodGroup = {
  version: 2,
  controllers: ['memory', 'pids'],
  directory: '/c/gantry-U',
  above: { directory: '/c' },
};

function settings(changes: Partial<PodSettings>): PodSettings {
  return {
    uuid: 'U',
    hostname: 'pod',
    network: 'none',
    hostResolver: false,
    interactive: false,
    graceSeconds: 10,
    openPaths: false,
    apps: [web, free],
    volumes: [],
    ...changes,
  };
}

/** The steps of a section that have to do with groups, as lines. */
function lines(section: 'supervisor' | 'pod' | 'teardown', changes: Partial<PodSettings>) {
  return compilePlan(settings(changes))
    [section].map((step) => step.join(' '))
    .filter((line) => /cgroup|oom/.test(line));
}

function appLines(app: number, changes: Partial<PodSettings>): string[] {
  const steps = compilePlan(settings(changes)).apps[app]?.steps ?? [];
  return steps.map((step) => step.join(' ')).filter((line) => line.includes('cgroup'));
}

describe('the groups of v1', () => {
  const changes = { groups: [MEMORY, PIDS], cgroup: '/u/gantry-U' };

  it('are made for apps with limits, and init stays out of them', () => {
    expect(lines('supervisor', changes)).toEqual([
      'make-cgroup /u/gantry-U',
      'join-cgroup /u/gantry-U',
      'make-cgroup /m/gantry-U',
      'make-cgroup /m/gantry-U/app-web',
      'set-cgroup /m/gantry-U/app-web memory.limit_in_bytes 16',
      'set-cgroup /m/gantry-U/app-web memory.memsw.limit_in_bytes 16 optional',
      'make-cgroup /p/gantry-U',
      'make-cgroup /p/gantry-U/app-web',
      'set-cgroup /p/gantry-U/app-web pids.max 9',
    ]);
  });

  it('are joined by init where the pod itself has limits', () => {
    expect(lines('supervisor', { groups: [PIDS], limits: { pids: { limit: '20' } } })).toEqual([
      'make-cgroup /p/gantry-U',
      'set-cgroup /p/gantry-U pids.max 20',
      'join-cgroup /p/gantry-U',
      'make-cgroup /p/gantry-U/app-web',
      'set-cgroup /p/gantry-U/app-web pids.max 9',
    ]);
  });

  it('are entered by the apps that have limits, each by slots of its own', () => {
    const cache = { ...web, name: 'cache', limits: { pids: { limit: '3' } } };
    const three = { ...changes, apps: [web, free, cache] };
    expect(lines('pod', three)).toEqual([
      'open-cgroup 64 /m/gantry-U/app-web',
      'open-cgroup 65 /p/gantry-U/app-web',
      'open-cgroup 66 /p/gantry-U/app-cache',
    ]);
    expect(appLines(0, three)).toEqual([
      'enter-cgroup 64 /m/gantry-U/app-web',
      'enter-cgroup 65 /p/gantry-U/app-web',
    ]);
    expect(appLines(1, three)).toEqual([]);
    expect(appLines(2, three)).toEqual(['enter-cgroup 66 /p/gantry-U/app-cache']);
  });

  it('are all removed in the end', () => {
    expect(lines('teardown', changes)).toEqual([
      'tell-oom web /m/gantry-U/app-web memory.oom_control',
      'remove-cgroup /u/gantry-U',
      'remove-cgroup /m/gantry-U',
      'remove-cgroup /p/gantry-U',
    ]);
  });
});

describe('the group of v2', () => {
  const changes = { groups: [UNIFIED], cgroup: UNIFIED.directory };

  it('hands controllers down, with init in a leaf of its own', () => {
    expect(lines('supervisor', changes)).toEqual([
      'set-cgroup /c cgroup.subtree_control +memory +pids',
      'make-cgroup /c/gantry-U',
      'set-cgroup /c/gantry-U cgroup.subtree_control +memory +pids',
      'make-cgroup /c/gantry-U/init',
      'join-cgroup /c/gantry-U/init',
      'make-cgroup /c/gantry-U/app-web',
      'set-cgroup /c/gantry-U/app-web memory.max 16',
      'set-cgroup /c/gantry-U/app-web memory.swap.max 0 optional',
      'set-cgroup /c/gantry-U/app-web pids.max 9',
    ]);
    expect(lines('teardown', changes)).toEqual([
      'tell-oom web /c/gantry-U/app-web memory.events',
      'remove-cgroup /c/gantry-U',
    ]);
  });

  it('is one for all where only the pod has limits', () => {
    const limits = { pids: { limit: '20' } };
    expect(lines('supervisor', { ...changes, apps: [free], limits })).toEqual([
      'set-cgroup /c cgroup.subtree_control +memory +pids',
      'make-cgroup /c/gantry-U',
      'set-cgroup /c/gantry-U pids.max 20',
      'join-cgroup /c/gantry-U',
    ]);
  });

  it('is handed what it needs when the supervisor has gone into a leaf', () => {
    const above = { directory: '/c/service', leaf: '/c/service/gantry-supervisor' };
    expect(
      lines('supervisor', { ...changes, groups: [{ ...UNIFIED, above }] }).slice(0, 3),
    ).toEqual([
      'make-cgroup /c/service/gantry-supervisor',
      'set-cgroup /c/service/gantry-supervisor cgroup.procs 0',
      'set-cgroup /c/service cgroup.subtree_control +memory +pids',
    ]);
  });
});

describe('the groups of an app that comes later', () => {
  it('are made when it starts, below those of the pod', () => {
    const pod = settings({ groups: [MEMORY, PIDS], mutable: { overlay: true } });
    const { outside, app } = compileAppPlan(pod, { ...web, limits: { pids: { limit: '9' } } });
    const groups = (steps: readonly (readonly string[])[]) =>
      steps.map((step) => step.join(' ')).filter((line) => line.includes('cgroup'));
    expect(groups(outside)).toEqual([
      'make-cgroup /p/gantry-U',
      'make-cgroup /p/gantry-U/app-web',
      'set-cgroup /p/gantry-U/app-web pids.max 9',
      'open-cgroup 64 /p/gantry-U/app-web',
    ]);
    expect(groups(app.steps)).toEqual(['enter-cgroup 64 /p/gantry-U/app-web']);
  });
});
