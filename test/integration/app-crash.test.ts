import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { addApp } from '../../src/pod/app-add.ts';
import { removeApp } from '../../src/pod/app-rm.ts';
import { startApp } from '../../src/pod/app-turns.ts';
import { findPod } from '../../src/pod/find.ts';
import { imagesInUse, listPods } from '../../src/pod/list.ts';
import { readManifest } from '../../src/pod/manifest.ts';
import type { Pod } from '../../src/pod/pod.ts';
import { readRecord } from '../../src/pod/record.ts';
import { needs, root } from '../support/requirements.ts';
import { addOciImage } from './pod-oci-world.ts';
import {
  addImage,
  createWorld,
  leaks,
  runChild,
  startChild,
  UNSIGNED,
  type World,
} from './pod-world.ts';

beforeEach((context) => needs(context, root));

/** More changes to the file system than adding or removing an app makes. */
const MANY = 80;

interface Sandbox {
  readonly pod: Pod;
  /** Kills the supervisor, and answers what the apps wrote. */
  end(): Promise<string>;
}

async function startSandbox(world: World, changes: Readonly<Record<string, unknown>> = {}) {
  const request = { apps: [], mutable: true, runsNow: true, interactive: false, overlay: true };
  const process = startChild(world, 'run', { ...request, insecure: UNSIGNED, ...changes });
  const ended = new Promise((resolve) => process.once('close', resolve));
  const output = buffer(process.stdout);
  const deadline = Date.now() + 10_000;
  for (;;) {
    const [summary] = listPods(world.dataDir);
    if (summary?.state === 'running') {
      const pod = findPod(world.dataDir, summary.uuid);
      onTestFinished(() => pod.close());
      const end = async () => {
        process.kill('SIGTERM');
        await ended;
        return (await output).toString();
      };
      if (existsSync(pod.file('ready'))) return { pod, end } satisfies Sandbox;
    }
    if (Date.now() > deadline) throw new Error('the pod does not run');
    await sleep(20);
  }
}

/** Every app that the record names is whole, and so is the manifest; nothing else is looked at. */
function expectWhole({ pod }: Sandbox, when: string): string[] {
  const record = readRecord(pod);
  const names = record?.apps.map(({ name }) => name) ?? [];
  const manifest = readManifest(pod);
  for (const name of names) {
    expect(existsSync(pod.file(`apps/${name}/plan`)), when).toBe(true);
    expect(
      manifest.apps.some((app) => app.name === name),
      when,
    ).toBe(true);
  }
  for (const volume of record?.settings.volumes ?? []) {
    expect(existsSync(pod.file(`volumes/${volume}`)), when).toBe(true);
  }
  return names;
}

function expectNothingElse({ pod }: Sandbox, when: string): void {
  const record = readRecord(pod);
  const names = record?.apps.map(({ name }) => name) ?? [];
  expect(readdirSync(pod.file('apps')).sort(), when).toEqual([...names].sort());
  const volumes = existsSync(pod.file('volumes')) ? readdirSync(pod.file('volumes')) : [];
  expect(volumes.sort(), when).toEqual([...(record?.settings.volumes ?? [])].sort());
  expect(
    readManifest(pod)
      .apps.map(({ name }) => name)
      .sort(),
    when,
  ).toEqual([...names].sort());
}

describe('a crash', () => {
  it('while an app is added leaves it whole or not there, and the next one clears up', async () => {
    const world = createWorld();
    const app = { mountPoints: [{ name: 'work', path: '/work' }] };
    const record = await addImage(world, { app });
    const sandbox = await startSandbox(world);
    let after = 0;
    for (; after < MANY; after++) {
      const when = `after ${after} changes`;
      const request = { record, args: ['exit', '0'], name: 'late' };
      const argument = { after, uuid: sandbox.pod.uuid, app: request };
      const { code } = await runChild(world, 'crash-add', argument);
      const names = expectWhole(sandbox, when);
      expect(imagesInUse(world.dataDir).has(record.id), when).toBe(names.length > 0);
      if (code === 0) break;
      // Who comes next.
      if (names.length === 0) {
        await addApp(world.context, sandbox.pod, { app: request, insecure: UNSIGNED });
      }
      expectNothingElse(sandbox, when);
      await startApp(sandbox.pod, 'late');
      await removeApp(sandbox.pod, 'late');
      expectNothingElse(sandbox, when);
    }
    expect(after).toBeGreaterThan(10);
    expect(after).toBeLessThan(MANY);
    expect(readRecord(sandbox.pod)?.apps.map(({ name }) => name)).toEqual(['late']);
    await sandbox.end();
    expect(await leaks(world)).toEqual([]);
  }, 120_000);

  it('while an app is removed leaves it whole or not there, and removing it again is done', async () => {
    const world = createWorld();
    const app = { mountPoints: [{ name: 'work', path: '/work' }] };
    const record = await addImage(world, { app });
    const sandbox = await startSandbox(world);
    const add = () =>
      addApp(world.context, sandbox.pod, {
        app: { record, args: ['write', '/work/a', 'write', '/a'], name: 'late' },
        insecure: UNSIGNED,
      });
    let after = 0;
    for (; after < MANY; after++) {
      const when = `after ${after} changes`;
      await add();
      const argument = { after, uuid: sandbox.pod.uuid, name: 'late' };
      const { code } = await runChild(world, 'crash-rm', argument);
      const names = expectWhole(sandbox, when);
      if (code === 0) break;
      if (names.length > 0) await removeApp(sandbox.pod, 'late');
    }
    expect(after).toBeGreaterThan(5);
    expect(after).toBeLessThan(MANY);
    expectNothingElse(sandbox, 'at the end');
    expect(imagesInUse(world.dataDir).has(record.id)).toBe(false);
    await sandbox.end();
    expect(await leaks(world)).toEqual([]);
  }, 120_000);
});

describe('an app that comes to a running pod', () => {
  it('has the layers of its OCI image, by links of its own', async () => {
    const world = createWorld();
    const record = addOciImage(world, [
      { files: { 'etc/who': 'below', 'etc/gone': 'x' } },
      { files: { 'etc/who': 'above' } },
      { whiteouts: ['etc/gone'] },
    ]);
    const sandbox = await startSandbox(world);
    await addApp(world.context, sandbox.pod, {
      app: { record, args: ['cat', '/etc/who', 'cat', '/etc/gone'], name: 'late' },
      insecure: UNSIGNED,
    });
    expect(readlinkSync(sandbox.pod.file('apps/late/l/0'))).toMatch(
      /^\.\.\/\.\.\/\.\.\/\.\.\/\.\.\/\.\.\/layers\/diff-sha256-/,
    );
    const plan = readFileSync(sandbox.pod.file('apps/late/plan'), 'utf8');
    expect(plan).toContain('lowerdir=apps/late/l/0:apps/late/l/1:apps/late/l/2\0');
    await startApp(sandbox.pod, 'late');
    await sleep(100);
    const output = await sandbox.end();
    expect(output).toContain('above');
    expect(output).not.toContain('below');
    expect(await leaks(world)).toEqual([]);
  });
});
