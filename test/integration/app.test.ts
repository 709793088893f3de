import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { exitCodeOf, type Installation } from '../support/installation.ts';
import { needs, root } from '../support/requirements.ts';
import { expectRefusal, SandboxWorld, until } from './sandbox-world.ts';

let world: SandboxWorld;
let gantry: Installation;
let directory: string;
let image: string;

beforeAll(async () => {
  if (!root.met) return;
  world = await SandboxWorld.open();
  ({ gantry, directory, image } = world);
});
afterAll(() => world?.close());

beforeEach((context) => {
  needs(context, root);
  world.begin();
});
afterEach(() => world?.finish());

describe('apps of a running pod', () => {
  it('are added, started, stopped, started again and removed, and the pod stays', async () => {
    const sandbox = await world.start();
    expect((await gantry.run('app list', '--no-legend', sandbox.uuid)).stdout).toBe('\n');
    expect(await sandbox.add('one', '--', 'one')).toBe('');
    expect(await sandbox.add('two', '--', 'two')).toBe('');
    expect(await sandbox.apps()).toEqual(['one\tcreated', 'two\tcreated']);
    expect(await sandbox.ask('start', 'one')).toBe('');
    await sandbox.ask('start', 'two');
    expect(await gantry.call('app list', sandbox.uuid)).toBe(
      'NAME\tSTATE\none\trunning\ntwo\trunning',
    );
    await sandbox.ask('stop', 'one');
    expect(await sandbox.apps()).toEqual(['one\texited', 'two\trunning']);
    expect(await sandbox.ask('status', 'one')).toMatch(
      /^name=one\nstate=exited\nimage_id=sha512-[0-9a-f]+\ncreated_at=.+\nstarted_at=.+\nfinished_at=.+\nexit_code=143$/,
    );
    await sandbox.ask('start', 'one');
    expect(await sandbox.ask('status', 'one')).toMatch(/state=running\n[\s\S]*started_at=.+$/);
    await sandbox.ask('rm', 'one');
    expect(await sandbox.apps()).toEqual(['two\trunning']);
    expect(sandbox.files()).toEqual(['apps/two']);
    await sandbox.ask('stop', 'two');
    await sandbox.ask('rm', 'two');
    expect((await gantry.run('app list', '--no-legend', sandbox.uuid)).stdout).toBe('\n');
    expect(await sandbox.stop()).toBe(0);
    // What an app wrote was there when it was started again.
    const lines = sandbox.output.split('\n').map((line) => line.replace(/^\[.*\] /, ''));
    expect(lines.filter((line) => line.endsWith(': one'))).toHaveLength(3);
  });

  it('end with a code of their own, which the pod does not', async () => {
    const sandbox = await world.start();
    for (const code of ['0', '12']) {
      await sandbox.add(`app-${code}`, '--', 'x', code);
      await sandbox.ask('start', `app-${code}`);
      await sandbox.until(`app-${code}`, 'exited');
      expect(await sandbox.ask('status', `app-${code}`)).toContain(`exit_code=${code}`);
    }
    const status = JSON.parse(await gantry.call('status', '--format=json', sandbox.uuid));
    expect(status.state).toBe('running');
    expect(status.app_names).toEqual(['app-0', 'app-12']);
    expect(status.apps[1].exit_code).toBe(12);
    expect(await sandbox.stop()).toBe(0);
  });

  it('are known to list, status, enter, plan and cat-manifest', async () => {
    const sandbox = await world.start('--hostname=box', '--user-label=tier=web');
    const { created_at } = JSON.parse(await gantry.call('status', '--format=json', sandbox.uuid));
    await sandbox.add('one', '--set-env=no').catch(() => undefined);
    await sandbox.add('one', '--environment=WHO=one');
    await sandbox.ask('start', 'one');
    expect((await gantry.run('enter', sandbox.uuid, '/app', 'x', '5')).code).toBe(5);
    const { stdout } = await gantry.run('list', '--full', '--no-legend');
    expect(stdout).toMatch(
      new RegExp(`^${sandbox.uuid}\\tone\\t+example.com/worker:1.0.0\\t`, 'm'),
    );
    const plan = await gantry.call('plan', sandbox.uuid);
    expect(plan).toMatch(/^section supervisor\n[\s\S]*\n {2}mutable\n/);
    expect(plan).toMatch(/\nsection outside\n[\s\S]*\nsection app one\n {2}unshare mount\n/);
    expect(plan).toContain('env WHO one');
    const manifest = JSON.parse(await gantry.call('cat-manifest', sandbox.uuid));
    expect(manifest.apps).toMatchObject([{ name: 'one' }]);
    expect(manifest.userLabels).toEqual({ tier: 'web' });
    expect(manifest.annotations).toContainEqual({
      name: 'coreos.com/rkt/stage1/mutable',
      value: 'true',
    });
    // The pod is as old as before.
    const json = JSON.parse(await gantry.call('status', '--format=json', sandbox.uuid));
    expect(json.created_at).toBe(created_at);
    expect(json.apps[0].created_at).toBeGreaterThan(created_at);
    expect(JSON.parse(await gantry.call('app list', '--format=json', sandbox.uuid))).toEqual(
      json.apps,
    );
  });

  it('are of the users of a pod that has its own, and leave nothing behind', async () => {
    const sandbox = await world.start('--private-users');
    await sandbox.add('one', '--', 'one', '0');
    await sandbox.ask('start', 'one');
    await sandbox.until('one', 'exited');
    const record = JSON.parse(readFileSync(join(sandbox.directory, 'record.json'), 'utf8'));
    const { uid, gid } = statSync(join(sandbox.directory, 'apps/one/upper/log'));
    expect([uid, gid]).toEqual([record.settings.users.first, record.settings.users.first]);
    expect(uid).toBeGreaterThan(0x7ffff);
    await sandbox.add('two');
    await sandbox.ask('start', 'two');
    const child = gantry.start('enter', '--app=two', sandbox.uuid, '/app', 'x');
    await until(
      () => readFileSync(join(sandbox.directory, 'apps/two/upper/log'), 'utf8') === 'x\n',
    );
    await sandbox.ask('stop', 'two');
    // The command in its mounts was ended with it.
    expect(await exitCodeOf(child)).toBe(137);
    expect(await sandbox.stop()).toBe(0);
  });

  it('share a volume as long as one of them has it', async () => {
    const keeper = await world.makeVolumeImage();
    const sandbox = await world.start();
    const add = (name: string) =>
      gantry.call(
        'app add',
        '--insecure-options=image',
        sandbox.uuid,
        keeper,
        `--name=${name}`,
        '--',
        name,
      );
    for (const name of ['one', 'two']) {
      await add(name);
      await sandbox.ask('start', name);
    }
    await until(() => /two\[\d+\]: one\n/.test(sandbox.output));
    expect(sandbox.files()).toEqual(['apps/one', 'apps/two', 'volumes/data']);
    const manifest = JSON.parse(await gantry.call('cat-manifest', sandbox.uuid));
    expect(manifest.volumes).toHaveLength(1);
    await sandbox.ask('rm', 'one');
    expect(sandbox.files()).toEqual(['apps/two', 'volumes/data']);
    await sandbox.ask('rm', 'two');
    expect(sandbox.files()).toEqual([]);
    expect(JSON.parse(await gantry.call('cat-manifest', sandbox.uuid)).volumes).toEqual([]);
    await add('three');
    await sandbox.ask('start', 'three');
    await until(() => sandbox.output.includes(']: three\n'));
    expect(sandbox.output).not.toMatch(/three\[\d+\]: one/);
  });

  it('have copies of their images where the pod has no overlays', async () => {
    const sandbox = await world.start('--no-overlay');
    await sandbox.add('one', '--', 'one');
    await sandbox.ask('start', 'one');
    expect(readFileSync(join(sandbox.directory, 'apps/one/rootfs/name'), 'utf8')).toBe('worker');
    await until(() => existsSync(join(sandbox.directory, 'apps/one/rootfs/log')));
    await sandbox.ask('rm', 'one');
    expect(sandbox.files()).toEqual([]);
  });

  it('are removed from a pod that has ended, too', async () => {
    const sandbox = await world.start();
    await sandbox.add('one');
    await sandbox.ask('start', 'one');
    expect(await sandbox.stop()).toBe(0);
    expect(await sandbox.apps()).toEqual(['one\texited']);
    expect(await sandbox.ask('stop', 'one')).toBe(`pod "${sandbox.uuid}" is already stopped`);
    expectRefusal(
      await gantry.run('app start', sandbox.uuid, '--app=one'),
      'app start',
      /isn't currently running: it is exited/,
    );
    await sandbox.ask('rm', 'one');
    expect(sandbox.files()).toEqual([]);
  });
});

describe('an app', () => {
  it('that cannot be executed stays created, and says why', async () => {
    const sandbox = await world.start();
    await sandbox.add('one', '--exec=/dev/nowhere');
    expectRefusal(
      await gantry.run('app start', sandbox.uuid, '--app=one'),
      'app start',
      /app "one": Error: Unable to open "\/dev\/nowhere": No such file or directory/,
    );
    expect(await sandbox.apps()).toEqual(['one\tcreated']);
  });

  it('has a name no other has', async () => {
    const sandbox = await world.start();
    await sandbox.add('one');
    const [files, record] = [sandbox.files(), readFileSync(join(sandbox.directory, 'record.json'))];
    const ending = await gantry.run('app add', sandbox.uuid, image, '--name=one');
    expectRefusal(ending, 'app add', /multiple apps with name one/);
    expect(sandbox.files()).toEqual(files);
    expect(readFileSync(join(sandbox.directory, 'record.json'))).toEqual(record);
    // Without a name it has that of its image.
    await gantry.call('app add', sandbox.uuid, image);
    expect(await sandbox.apps()).toEqual(['one\tcreated', 'worker\tcreated']);
  });

  it('of an image with event handlers is not added', async () => {
    const eventHandlers = [{ name: 'pre-start', exec: ['/app'] }];
    const made = await gantry.makeImage('handled', world.worker, { exec: ['/app'], eventHandlers });
    await gantry.call('fetch', made.path);
    const sandbox = await world.start();
    const { code, stderr } = await gantry.run('app add', sandbox.uuid, made.reference);
    expect({ code, stderr }).toEqual({
      code: 254,
      stderr:
        'gantry: app add: app "handled": its pre-start event handler cannot be run in a pod that apps come to: start it by gantry run\n',
    });
    expect(await sandbox.apps()).toEqual([]);
  });

  it('has the limits that it was added with', async () => {
    const sandbox = await world.start();
    const limits = ['--rlimit=nofile=77:88', '--oom-score-adj=99', '--no-new-privileges'];
    await sandbox.add('one', ...limits);
    await sandbox.ask('start', 'one');
    const plan = readFileSync(join(sandbox.directory, 'apps/one/plan'), 'utf8').split('\0');
    expect(plan.join(' ')).toContain('rlimit 3 nofile 77 88 seccomp');
    expect(plan).toEqual(expect.arrayContaining(['oom-score', 'no-new-privileges']));
    expect(await sandbox.apps()).toEqual(['one\trunning']);
  });

  it('that is not there is nobody to start, stop, remove or show', async () => {
    const sandbox = await world.start();
    for (const verb of ['start', 'stop', 'rm', 'status']) {
      expectRefusal(
        await gantry.run(`app ${verb}`, sandbox.uuid, '--app=nil'),
        `app ${verb}`,
        verb === 'status' ? /cannot find app "nil" in the pod/ : /nonexistent app "nil"/,
      );
      expectRefusal(
        await gantry.run(`app ${verb}`, sandbox.uuid),
        `app ${verb}`,
        /must provide the app to/,
      );
      expectRefusal(
        await gantry.run(`app ${verb}`, sandbox.uuid, '--app=../x'),
        `app ${verb}`,
        /--app/,
      );
    }
  });

  it('of an image that is not stored is not fetched', async () => {
    const sandbox = await world.start();
    const ending = await gantry.run('app add', sandbox.uuid, 'example.com/other:1.0.0');
    expectRefusal(ending, 'app add', /example\.com\/other/);
    expect(sandbox.files()).toEqual([]);
  });

  it('whose image is trusted no longer is not added', async () => {
    const sandbox = await world.start();
    const [, policy = ''] =
      /--local-config=(\S+)/.exec(gantry.command('run').words.join(' ')) ?? [];
    const empty = join(directory, 'empty');
    mkdirSync(empty, { recursive: true });
    expect(policy).not.toBe('');
    const ending = await gantry.run(
      'app add',
      `--local-config=${empty}`,
      `--system-config=${empty}`,
      sandbox.uuid,
      image,
    );
    expectRefusal(ending, 'app add', /trust/);
    expect(sandbox.files()).toEqual([]);
    expect(await sandbox.apps()).toEqual([]);
  });

  it('keeps the files of its image in the store until it is removed', async () => {
    const own = await world.makeImage('kept');
    const sandbox = await world.start();
    await gantry.call('app add', sandbox.uuid, own, '--name=one');
    const id = /^image_id=(.*)$/m.exec(await sandbox.ask('status', 'one'))?.[1] ?? '';
    const tree = join(gantry.dataDirectory, 'layers', id);
    await gantry.call('image rm', own);
    await gantry.call('image gc', '--grace-period=0s');
    await sandbox.ask('start', 'one');
    await sandbox.ask('stop', 'one');
    await sandbox.ask('start', 'one');
    expect(existsSync(tree)).toBe(true);
    await sandbox.ask('rm', 'one');
    await gantry.call('image gc', '--grace-period=0s');
    expect(existsSync(tree)).toBe(false);
    image = await world.fetchAgain('worker');
  });
});
