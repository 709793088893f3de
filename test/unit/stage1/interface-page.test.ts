import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compilePlan } from '../../../src/stage1/compile.ts';
import { FEATURES } from '../../../src/stage1/features.ts';
import type { AppSettings, PodSettings } from '../../../src/stage1/settings.ts';

const page = readFileSync(join(import.meta.dirname, '../../../specs/stage1-interface.md'), 'utf8');

/** An app that wants everything a chroot can be asked for. */
const app: AppSettings = {
  name: 'agent',
  rootfs: { kind: 'copy' },
  readOnlyRootfs: true,
  exec: ['/bin/agent', 'agent'],
  credentials: { uid: 0, gid: 0, gids: [], name: 'root', home: '/', shell: '/bin/sh' },
  capabilities: [],
  noNewPrivileges: true,
  process: {
    oomScore: 1,
    rlimits: [['core', '0', '0']],
    labels: [['apparmor', 'p']],
  },
  userNamespaces: true,
  systemCalls: { does: 'allows all', program: 'BgAAAAAA/38=' },
  environment: [['PATH', '/bin']],
  workingDirectory: '/work',
  makesWorkingDirectory: true,
  stopSignal: 2,
  silent: ['input'],
  mounts: [{ volume: 'data', path: '/etc/data', readOnly: true, file: true }],
  missing: ['hosts', 'hostname', 'mtab'],
};

const pod: PodSettings = {
  uuid: '5bc080ca-7a7a-4d1c-9a2b-0123456789ab',
  plan: 'chroot',
  hostname: 'host',
  network: 'host',
  hostResolver: true,
  interactive: true,
  graceSeconds: 10,
  openPaths: false,
  apps: [app],
  volumes: ['data'],
  cgroup: '/sys/fs/cgroup/gantry-x',
};

describe('specs/stage1-interface.md', () => {
  it('has the features of the table in code, in its words and order', () => {
    const rows = Object.entries(FEATURES).map(([name, { what }]) => `| \`${name}\` | ${what} |\n`);
    expect(page).toContain(rows.join(''));
  });

  it('has every word of a plan of kind chroot', () => {
    const plan = compilePlan(pod);
    const sections = {
      supervisor: plan.supervisor,
      pod: plan.pod,
      app: plan.apps[0]?.steps ?? [],
      teardown: plan.teardown,
    };
    for (const [name, steps] of Object.entries(sections)) {
      const row = page.split('\n').find((line) => line.startsWith(`| ${name} | \``)) ?? '';
      const words = [...new Set(steps.map(([word]) => word))];
      expect(words.filter((word) => !row.includes(`\`${word}`))).toEqual([]);
      expect(words.length).toBeGreaterThan(0);
    }
  });
});
