import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { exitCodeOf, type Installation } from '../support/installation.ts';
import { needs, root } from '../support/requirements.ts';
import { expectRefusal, SandboxWorld } from './sandbox-world.ts';

let world: SandboxWorld;
let gantry: Installation;
let image: string;

beforeAll(async () => {
  if (!root.met) return;
  world = await SandboxWorld.open();
  ({ gantry, image } = world);
});
afterAll(() => world?.close());

beforeEach((context) => {
  needs(context, root);
  world.begin();
});
afterEach(() => world?.finish());

describe('a pod', () => {
  it('of settled apps is immutable', async () => {
    const uuid = await gantry.call('prepare', image);
    const process = gantry.start('run-prepared', uuid);
    await gantry.call('status', '--wait-ready=10s', uuid);
    try {
      expectRefusal(await gantry.run('app add', uuid, image), 'app add', /immutable pod/);
      for (const verb of ['start', 'stop', 'rm']) {
        expectRefusal(
          await gantry.run(`app ${verb}`, uuid, '--app=worker'),
          `app ${verb}`,
          /immutable pod/,
        );
      }
      expect(await gantry.call('app list', '--no-legend', uuid)).toBe('worker\trunning');
      expect(await gantry.call('app status', uuid, '--app=worker')).toContain('state=running');
    } finally {
      await gantry.call('stop', uuid);
      await exitCodeOf(process);
      await gantry.call('rm', uuid);
    }
  });

  it('has to be named, and an image', async () => {
    expectRefusal(
      await gantry.run('app add'),
      'app add',
      /must provide the pod UUID and an IMAGEID/,
    );
    expectRefusal(await gantry.run('app add', 'ffffffff', image), 'app add', /no matches found/);
    expectRefusal(
      await gantry.run('app add', 'ffffffff', image, image),
      'app add',
      /must give only one app/,
    );
    expectRefusal(await gantry.run('app list'), 'app list', /name a pod by its UUID/);
    expectRefusal(await gantry.run('app sandbox', image), 'app sandbox', /unexpected/);
  });

  it('takes twenty apps at once, and loses none', async () => {
    const sandbox = await world.start();
    const names = Array.from({ length: 20 }, (_, index) => `app-${index}`);
    await Promise.all(names.map((name) => sandbox.add(name)));
    expect((await sandbox.apps()).sort()).toEqual(names.map((name) => `${name}\tcreated`).sort());
    await Promise.all(names.slice(0, 5).map((name) => sandbox.ask('start', name)));
    await Promise.all(names.map((name) => sandbox.ask('rm', name)));
    expect(await sandbox.apps()).toEqual([]);
    expect(sandbox.files()).toEqual([]);
    expect(await sandbox.stop()).toBe(0);
  }, 120_000);

  it('has whole apps only, whenever adding one is broken off', async () => {
    const sandbox = await world.start();
    for (let turn = 0; turn < 12; turn++) {
      const adding = gantry.start('app add', sandbox.uuid, image, `--name=app-${turn}`);
      await sleep(25 + turn * 8);
      adding.kill('SIGKILL');
      await exitCodeOf(adding);
      for (const line of await sandbox.apps()) {
        const [name = ''] = line.split('\t');
        expect(statSync(join(sandbox.directory, 'apps', name, 'plan')).size).toBeGreaterThan(0);
      }
    }
    await sandbox.add('last');
    const names = (await sandbox.apps()).map((line) => line.split('\t')[0] ?? '');
    expect(names).toContain('last');
    expect(sandbox.files().sort()).toEqual(names.map((name) => `apps/${name}`).sort());
    for (const name of names) await sandbox.ask('start', name);
    expect((await sandbox.apps()).every((line) => line.endsWith('\trunning'))).toBe(true);
    expect(await sandbox.stop()).toBe(0);
  }, 60_000);

  it('leaves nothing when its supervisor is killed while an app is added', async () => {
    const sandbox = await world.start();
    await sandbox.add('one');
    await sandbox.ask('start', 'one');
    const adding = gantry.run('app add', sandbox.uuid, image, '--name=two');
    await sleep(40);
    sandbox.process.kill('SIGKILL');
    expect([0, 254]).toContain((await adding).code);
    await exitCodeOf(sandbox.process);
    expect((await gantry.call('status', sandbox.uuid)).split('\n')[0]).toBe('state=exited');
    await gantry.call('rm', sandbox.uuid);
    expect(existsSync(sandbox.directory)).toBe(false);
  });

  it('takes no app while it is being stopped', async () => {
    const sandbox = await world.start();
    const stopped = sandbox.stop();
    const ending = await gantry.run('app add', sandbox.uuid, image, '--name=late');
    expect(await stopped).toBe(0);
    if (ending.code === 0) return; // it was there before the pod was told
    expect(ending.code).toBe(254);
    expect(ending.stderr).not.toContain('defect');
    expect(sandbox.files()).toEqual([]);
  });
});
