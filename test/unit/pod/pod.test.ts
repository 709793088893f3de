import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findPod } from '../../../src/pod/find.ts';
import { gcPods } from '../../../src/pod/gc.ts';
import { imagesInUse, listPods } from '../../../src/pod/list.ts';
import { readManifest } from '../../../src/pod/manifest.ts';
import { formatPlan } from '../../../src/pod/plan.ts';
import { Pod } from '../../../src/pod/pod.ts';
import { removePod } from '../../../src/pod/remove.ts';
import { podStatus } from '../../../src/pod/status.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

const UUID = '5bc080ca-7a7a-4d1c-9a2b-0123456789ab';

/** A pod directory with these files, in some phase. */
function podDirectory(phase: string, files: Record<string, string> = {}) {
  const dataDir = temporaryDirectory();
  const directory = join(dataDir, 'pods', phase, UUID);
  mkdirSync(join(directory, 'apps/web'), { recursive: true });
  for (const other of ['garbage', 'exited-garbage']) {
    mkdirSync(join(dataDir, 'pods', other), { recursive: true });
  }
  for (const [name, content] of Object.entries(files))
    writeFileSync(join(directory, name), content);
  return { dataDir, directory };
}

const record = JSON.stringify({
  version: 1,
  apps: [{ name: 'web', imageId: 'sha512-1', imageName: 'example.com/web' }],
  images: ['sha512-1'],
  settings: {},
});

describe('a pod directory', () => {
  it('begins locked, in phase prepare', () => {
    const dataDir = temporaryDirectory();
    using pod = Pod.create(dataDir);
    expect([pod.phase, pod.held, pod.state()]).toEqual(['prepare', true, 'preparing']);
    expect(existsSync(join(dataDir, 'pods/prepare', pod.uuid))).toBe(true);
  });

  it('is followed through its phases by whoever has it open', () => {
    using pod = Pod.create(temporaryDirectory());
    using other = Pod.open(pod.dataDir, pod.uuid, 'prepare');
    pod.enter('prepared');
    pod.enter('run');
    expect(other?.state()).toBe('running');
    expect(other?.dir).toBe(pod.dir);
  });

  it('is locked by one only, until that one closes it', () => {
    const first = Pod.create(temporaryDirectory());
    using second = Pod.open(first.dataDir, first.uuid, 'prepare');
    expect(second?.lock()).toBe(false);
    first.close();
    expect(second?.lock()).toBe(true);
  });

  it('moves only with its lock', () => {
    const { dataDir } = podDirectory('prepared');
    using pod = findPod(dataDir, UUID);
    expect(() => pod.enter('run')).toThrow(/is not locked/);
  });
});

describe('the status of a pod', () => {
  it('is what the supervisor noted, to the nanosecond', () => {
    const { dataDir } = podDirectory('run', {
      'record.json': record,
      started: '1700000000.000000007\n',
      ready: '1700000000.5\n',
      exit: '3\n',
      'apps/web/state': 'pid=2\nstarted=1700000000.000000009\nfinished=1700000001.25\nexit=3\n',
    });
    using pod = findPod(dataDir, UUID);
    expect(podStatus(pod)).toMatchObject({
      state: 'exited',
      exited: true,
      ready: true,
      exitCode: 3,
      startedAt: 1700000000000000007n,
      apps: [
        {
          name: 'web',
          state: 'exited',
          exitCode: 3,
          startedAt: 1700000000000000009n,
          finishedAt: 1700000001250000000n,
        },
      ],
    });
  });

  it('has no exit code for an app whose end nobody noted', () => {
    const { dataDir } = podDirectory('run', { 'record.json': record });
    using pod = findPod(dataDir, UUID);
    const [app] = podStatus(pod).apps;
    expect(app).toMatchObject({ state: 'exited' });
    expect(app).not.toHaveProperty('exitCode');
  });

  it('is given even where a crash of the machine left empty files', () => {
    const { dataDir } = podDirectory('run', {
      'record.json': '',
      started: '',
      pid: 'x',
      exit: '',
      'apps/web/state': '\0\0',
    });
    expect(listPods(dataDir)).toMatchObject([{ uuid: UUID, state: 'exited', apps: [] }]);
  });

  it('names no processes of a pod that does not run', () => {
    const { dataDir } = podDirectory('run', { pid: `${process.pid} ${process.pid}\n` });
    using pod = findPod(dataDir, UUID);
    expect(podStatus(pod)).not.toHaveProperty('pid');
  });
});

describe('what pods are made of', () => {
  it('is named by image and by tree, also where the record knows no trees', () => {
    const trees = ['diff-sha256-a', 'diff-sha256-b'];
    const layered = JSON.stringify({ ...JSON.parse(record), trees });
    const inUse = (json: string) =>
      imagesInUse(podDirectory('run', { 'record.json': json }).dataDir);
    expect(inUse(layered)).toEqual(new Set(['sha512-1', ...trees]));
    expect(inUse(record)).toEqual(new Set(['sha512-1']));
  });
});

describe('a pod without manifest or plan', () => {
  it('says what it is instead', () => {
    const { dataDir } = podDirectory('prepare');
    using pod = findPod(dataDir, UUID);
    const name = `pod "${UUID}"`;
    expect(() => readManifest(pod)).toThrow(`${name} has no manifest: it is aborted prepare`);
    expect(() => formatPlan(pod)).toThrow(`${name} has no launch plan: it is aborted prepare`);
  });
});

describe('removing a pod', () => {
  it('passes through the garbage, in the words of rkt', () => {
    const { dataDir, directory } = podDirectory('prepared');
    const lines: string[] = [];
    using pod = findPod(dataDir, UUID);
    removePod(pod, (line) => lines.push(line));
    expect(lines).toEqual([`moving expired prepared pod "${UUID}" to garbage`]);
    expect(existsSync(directory)).toBe(false);
  });

  it('is refused while the pod is being prepared', () => {
    using preparing = Pod.create(temporaryDirectory());
    using pod = findPod(preparing.dataDir, preparing.uuid);
    expect(() => removePod(pod)).toThrow(`pod "${preparing.uuid}" is currently being prepared`);
  });

  it('is refused when another did it first', () => {
    const { dataDir } = podDirectory('prepared');
    using first = findPod(dataDir, UUID);
    using second = findPod(dataDir, UUID);
    removePod(first);
    first.close();
    expect(() => removePod(second)).toThrow(`pod "${UUID}" is gone`);
  });
});

describe('collecting garbage', () => {
  const young = { graceSeconds: 60, expirePreparedSeconds: 60, markOnly: false };

  it('does nothing where there is nothing', () => {
    const nothing = { marked: [], removed: [], kept: [], failed: [] };
    expect(gcPods(temporaryDirectory(), young)).toEqual(nothing);
  });

  it('leaves a prepared pod its time', () => {
    const { dataDir } = podDirectory('prepared');
    expect(gcPods(dataDir, young).marked).toEqual([]);
    expect(gcPods(dataDir, { ...young, expirePreparedSeconds: 0 }).removed).toEqual([UUID]);
  });

  it('removes an embryo and a failed preparation at once', () => {
    expect(gcPods(podDirectory('embryo').dataDir, young).removed).toEqual([UUID]);
    expect(gcPods(podDirectory('prepare').dataDir, young).removed).toEqual([UUID]);
  });

  it('leaves alone what someone is at work on', () => {
    using pod = Pod.create(temporaryDirectory());
    expect(gcPods(pod.dataDir, young).marked).toEqual([]);
    expect(pod.state()).toBe('preparing');
  });

  it('keeps a pod that has left something its stage1 could not remove', () => {
    const cgroup = temporaryDirectory();
    const settled = JSON.stringify({ version: 1, apps: [], images: [], settings: { cgroup } });
    const { dataDir } = podDirectory('exited-garbage', { 'record.json': settled });
    const { failed } = gcPods(dataDir, { ...young, graceSeconds: 0 });
    expect(String(failed[0]?.error)).toContain(`${cgroup} is still there: try again`);
    expect(listPods(dataDir)).toMatchObject([{ state: 'exited garbage' }]);
  });

  it('removes a pod whose stage1 is gone, saying so', () => {
    const { dataDir } = podDirectory('exited-garbage');
    const warnings: string[] = [];
    const options = { ...young, graceSeconds: 0, warn: (line: string) => warnings.push(line) };
    expect(gcPods(dataDir, options).removed).toEqual([UUID]);
    expect(warnings).toEqual([expect.stringMatching(/^cannot use stage1 at /)]);
  });
});
