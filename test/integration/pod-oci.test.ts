import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { findPod } from '../../src/pod/find.ts';
import { imagesInUse } from '../../src/pod/list.ts';
import { readManifest } from '../../src/pod/manifest.ts';
import { formatPlan } from '../../src/pod/plan.ts';
import { readRecord } from '../../src/pod/record.ts';
import { removePod } from '../../src/pod/remove.ts';
import { needs, root } from '../support/requirements.ts';
import { addOciImage, type LayerWishes, prepareOciPod, runOciPod } from './pod-oci-world.ts';
import { createWorld, leaks, runChild, startChild } from './pod-world.ts';

beforeEach((context) => needs(context, root));

/** Runs the probe with these commands in a pod of an image of its own, and checks that nothing is left. */
async function probe(
  commands: readonly string[],
  layers: readonly LayerWishes[],
  config: Readonly<Record<string, unknown>> = {},
  changes: Parameters<typeof runOciPod>[3] = {},
) {
  const world = createWorld();
  const record = addOciImage(world, layers, config);
  const ending = await runOciPod(world, record, commands, changes);
  expect(await leaks(world)).toEqual([]);
  return { ...ending, warnings: world.warnings };
}

describe('a root of several layers', () => {
  const layers: LayerWishes[] = [
    { files: { 'd/kept': 'low\n', 'd/gone': '', 'd/changed': 'low\n' } },
    { files: { 'd/changed': 'high\n' }, whiteouts: ['d/gone'] },
  ];

  it.each([true, false])('shows the upper of what several have (overlay: %s)', async (overlay) => {
    const commands = ['cat', '/d/kept', 'cat', '/d/changed', 'cat', '/d/gone', 'write', '/d/new'];
    expect((await probe(commands, layers, {}, { overlay })).stdout).toEqual([
      'low',
      'high',
      'cat /d/gone: No such file or directory',
      'write /d/new: ok',
    ]);
  });

  // 40 fit one mount option, 130 do not, and 500 is what the kernel takes.
  it.each([
    [40, /lowerdir=l\/0:.*:l\/39 /],
    [130, /lowerdir\+=\.\.\/\.\.\/\.\.\/layers\/diff-sha256-0+129 /],
    [500, /lowerdir\+=\.\.\/\.\.\/\.\.\/layers\/diff-sha256-0+499 /],
  ])('can be one of %i', async (count, option) => {
    const world = createWorld();
    const many = Array.from({ length: count }, (_, index) => ({
      files: { [`d/${index}`]: `${index}\n`, top: `${index}\n` },
    }));
    const record = addOciImage(world, many);
    const uuid = await prepareOciPod(world, record, ['ls', '/d', 'cat', '/top']);
    {
      using pod = findPod(world.dataDir, uuid);
      expect(formatPlan(pod)).toMatch(option);
    }
    const { stdout, stderr } = await runChild(world, 'start', { uuid });
    expect({ lines: stdout.length, stderr }).toEqual({ lines: count + 1, stderr: '' });
    expect(stdout.at(-1)).toBe(String(count - 1));
    expect(await leaks(world)).toEqual([]);
  });

  it('keeps its layers in use until it is gone', async () => {
    const world = createWorld();
    const record = addOciImage(world, layers);
    const uuid = await prepareOciPod(world, record, []);
    const trees = record.oci?.layers.map(({ tree }) => tree) ?? [];
    expect(imagesInUse(world.dataDir)).toEqual(new Set([record.id, ...trees]));
    using pod = findPod(world.dataDir, uuid);
    expect(readRecord(pod)?.apps[0]?.provenance).toEqual(record.provenance);
    removePod(pod);
    expect(imagesInUse(world.dataDir).size).toBe(0);
  });
});

describe('an app of an OCI image', () => {
  const accounts = {
    'etc/passwd': 'web:x:33:34::/srv:/bin/false\n',
    'etc/group': 'web:x:34:\nstaff:x:50:web\nadm:x:4:root,web\n',
  };

  it('is its user, with that one’s own groups', async () => {
    const layers = [{ files: accounts }];
    const { stdout } = await probe(['id'], layers, { User: 'web' });
    expect(stdout).toEqual(['id 33:34,4,50']);
    expect((await probe(['id'], layers, { User: '33:7' })).stdout).toEqual(['id 33:7']);
    expect((await probe(['id'], layers, { User: '99' })).stdout).toEqual(['id 99:0']);
  });

  it('finds its program along PATH, and works where its image lacks the directory', async () => {
    const config = { Entrypoint: ['probe'], WorkingDir: '/srv/deep/er', User: '33' };
    const { stdout } = await probe(['pwd', 'stat', '/srv/deep'], [{}], config);
    expect(stdout).toEqual(['pwd /srv/deep/er', 'stat /srv/deep: 40755 0:0']);
  });

  it('gets no directory made outside of its root', async () => {
    const world = createWorld();
    const record = addOciImage(world, [{}], { WorkingDir: '/srv/deep' });
    const outside = mkdtempSync(join(tmpdir(), 'gantry-outside-'));
    onTestFinished(() => rmSync(outside, { recursive: true }));
    const layer = world.store.layout.layer(record.oci?.layers[0]?.tree ?? '');
    mkdirSync(join(layer, outside), { recursive: true });
    symlinkSync(`../../../../../../../../..${outside}`, join(layer, 'srv'));
    const { stdout } = await runOciPod(world, record, ['pwd']);
    expect(stdout).toEqual([`pwd ${outside}/deep`]);
    expect(readdirSync(outside)).toEqual([]);
  });

  it('is asked to end by the signal of its image', async () => {
    const world = createWorld();
    const record = addOciImage(world, [{}], { StopSignal: 'SIGQUIT' });
    const uuid = await prepareOciPod(world, record, ['trap', '3', 'echo', 'ready', 'sleep', '30']);
    const child = startChild(world, 'start', { uuid });
    const ended = new Promise((resolve) => child.once('close', resolve));
    child.stdout.once('data', () => child.kill('SIGTERM'));
    expect(await ended).toBe(7);
  });

  it('has in its volumes what its image has there, the inner in the outer', async () => {
    const layers: LayerWishes[] = [
      { files: { 'data/base': 'base\n', 'data/gone': '' }, owned: { data: [33, 44, 0o2770] } },
      { files: { 'data/logs/first': 'x' }, whiteouts: ['data/gone'] },
    ];
    layers[1] = { ...layers[1], owned: { data: [33, 44, 0o2750] } };
    const config = { Volumes: { '/data/logs': {}, '/data': {}, '/empty': {} } };
    const commands = ['stat', '/data', 'cat', '/data/base', 'cat', '/data/gone'];
    const more = ['ls', '/data/logs', 'write', '/data/logs/new', 'ls', '/empty'];
    const { stdout, warnings } = await probe([...commands, ...more], layers, config);
    expect(stdout).toEqual([
      'stat /data: 42750 33:44',
      'base',
      'cat /data/gone: No such file or directory',
      'ls /data/logs: first',
      'write /data/logs/new: ok',
    ]);
    expect(warnings).toEqual([]);
  });

  it('has its volumes for itself', async () => {
    const world = createWorld();
    const record = addOciImage(world, [{}], { Volumes: { '/data': {} } });
    const apps = [
      { record, name: 'one', args: ['write', '/data/one'] },
      { record, name: 'two', args: ['sleep', '1', 'ls', '/data'] },
    ];
    expect((await runOciPod(world, record, [], { apps })).stdout).toEqual(['write /data/one: ok']);
  });

  it('is in a manifest appc can read', async () => {
    const world = createWorld();
    const config = { User: 'web', Env: ['odd%name=1', 'B=2'], Volumes: { '/data': {} } };
    const record = addOciImage(world, [{ files: accounts }], config);
    const uuid = await prepareOciPod(world, record, []);
    using pod = findPod(world.dataDir, uuid);
    expect(readManifest(pod)).toMatchObject({
      apps: [
        {
          image: {
            id: record.id,
            labels: expect.arrayContaining([{ name: 'version', value: 'latest' }]),
          },
          app: {
            group: '34',
            supplementaryGids: [50, 4],
            environment: [{ name: 'B', value: '2' }],
          },
          mounts: [{ volume: 'probe-volume-data', path: '/data' }],
        },
      ],
      volumes: [{ name: 'probe-volume-data' }],
    });
    expect(formatPlan(pod)).toContain('env odd%name 1');
  });
});
