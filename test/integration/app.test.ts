import type { ChildProcess } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type HostState, leaksSince, readHost } from '../support/host.ts';
import {
  createInstallation,
  type Ending,
  exitCodeOf,
  type Installation,
} from '../support/installation.ts';
import { buildProgram } from '../support/program.ts';
import { needs, root } from '../support/requirements.ts';

/** Appends its first argument to /data/log or /log, prints that file, and exits with its second or waits. */
const app = buildProgram(`
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    const char *path = access("/data", F_OK) == 0 ? "/data/log" : "/log";
    char line[4096];
    FILE *log = fopen(path, "a+");
    if (argc > 1)
        fprintf(log, "%s\\n", argv[1]);
    rewind(log);
    while (fgets(line, sizeof line, log))
        fputs(line, stdout);
    fflush(NULL);
    if (argc > 2)
        return atoi(argv[2]);
    for (;;)
        pause();
}
`);

let directory: string;
let gantry: Installation;
let image: string;
let sandboxes: Sandbox[] = [];
let before: HostState;

beforeAll(async () => {
  if (!root.met) return;
  directory = mkdtempSync(join(tmpdir(), 'gantry-test-'));
  gantry = await createInstallation(directory);
  image = await makeImage('worker');
});

afterAll(() => {
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

beforeEach((context) => {
  needs(context, root);
  before = readHost(gantry.dataDirectory);
});

afterEach(async () => {
  if (!root.met) return;
  for (const sandbox of sandboxes) await sandbox.end();
  sandboxes = [];
  expect(await leaksSince(before, gantry.dataDirectory)).toEqual([]);
});

/** A signed image with the program as /app, in the store. */
async function makeImage(name: string): Promise<string> {
  const rootfs = join(directory, `${name}-rootfs`);
  mkdirSync(rootfs);
  copyFileSync(app, join(rootfs, 'app'));
  writeFileSync(join(rootfs, 'name'), name);
  const made = await gantry.makeImage(name, rootfs, { exec: ['/app'] });
  await gantry.call('fetch', made.path);
  return made.reference;
}

/** Fetches it anew, since an image gc has taken it. */
async function fetchAgain(name: string): Promise<string> {
  await gantry.call('fetch', join(directory, `${name}.aci`));
  return `example.com/${name}:1.0.0`;
}

/** One that keeps its log in the volume `data`, unsigned. */
async function makeVolumeImage(): Promise<string> {
  const manifest = {
    acKind: 'ImageManifest',
    acVersion: '0.8.11',
    name: 'example.com/keeper',
    labels: [
      { name: 'version', value: '1.0.0' },
      { name: 'os', value: 'linux' },
      { name: 'arch', value: 'amd64' },
    ],
    app: {
      exec: ['/app'],
      user: '0',
      group: '0',
      mountPoints: [{ name: 'data', path: '/data' }],
    },
  };
  const path = join(directory, 'keeper.aci');
  writeFileSync(join(directory, 'keeper.json'), JSON.stringify(manifest));
  const from = [`--manifest=${join(directory, 'keeper.json')}`, `--rootfs=${worker()}`];
  await gantry.call('image pack', ...from, '--overwrite', path);
  await gantry.call('fetch', '--insecure-options=image', path);
  return 'example.com/keeper:1.0.0';
}

const worker = () => join(directory, 'worker-rootfs');

/** A running pod of `gantry app sandbox`. */
class Sandbox {
  readonly process: ChildProcess;
  readonly uuid: string;
  output = '';

  private constructor(process: ChildProcess, uuid: string) {
    this.process = process;
    this.uuid = uuid;
  }

  static async start(...options: string[]): Promise<Sandbox> {
    const file = join(directory, `uuid-${sandboxes.length}`);
    rmSync(file, { force: true });
    const process = gantry.start('app sandbox', `--uuid-file-save=${file}`, ...options);
    let output = '';
    let sandbox: Sandbox | undefined;
    for (const stream of [process.stdout, process.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        output += text;
        if (sandbox !== undefined) sandbox.output = output;
      });
    }
    await until(() => existsSync(file) && readFileSync(file, 'utf8').endsWith('\n'));
    sandbox = new Sandbox(process, readFileSync(file, 'utf8').trim());
    sandboxes.push(sandbox);
    await gantry.call('status', '--wait-ready=10s', sandbox.uuid);
    return sandbox;
  }

  get directory(): string {
    return join(gantry.dataDirectory, 'pods/run', this.uuid);
  }

  add(name: string, ...words: string[]): Promise<string> {
    return gantry.call('app add', this.uuid, image, `--name=${name}`, ...words);
  }

  /** Does something with an app, which has to succeed. */
  ask(verb: 'start' | 'stop' | 'rm' | 'status', app: string): Promise<string> {
    return gantry.call(`app ${verb}`, this.uuid, `--app=${app}`);
  }

  async apps(): Promise<string[]> {
    const { stdout } = await gantry.run('app list', '--no-legend', this.uuid);
    return stdout.trim().split('\n').filter(Boolean);
  }

  /** What there is of apps and volumes on disk. */
  files(): string[] {
    return ['apps', 'volumes'].flatMap((each) => {
      const path = join(this.directory, each);
      return existsSync(path) ? readdirSync(path).map((name) => `${each}/${name}`) : [];
    });
  }

  async until(app: string, state: string): Promise<void> {
    const deadline = Date.now() + 10_000;
    while (!(await this.apps()).some((line) => line === `${app}\t${state}`)) {
      if (Date.now() > deadline) throw new Error(`${app} is not ${state}: ${await this.apps()}`);
      await sleep(20);
    }
  }

  async stop(): Promise<number> {
    await gantry.call('stop', this.uuid);
    return exitCodeOf(this.process);
  }

  async end(): Promise<void> {
    this.process.kill('SIGKILL');
    await exitCodeOf(this.process);
    await gantry.run('rm', this.uuid);
  }
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('waited in vain');
    await sleep(10);
  }
}

/** A refusal is one line on standard error that says what failed, and exit code 254. */
function expectRefusal(ending: Ending, command: string, why: RegExp): void {
  expect(ending.stderr).toMatch(why);
  expect(ending.stderr.trim().split('\n')).toHaveLength(1);
  expect(ending.stderr).toMatch(new RegExp(`^gantry: ${command}: `));
  expect(ending.code).toBe(254);
}

describe('apps of a running pod', () => {
  it('are added, started, stopped, started again and removed, and the pod stays', async () => {
    const sandbox = await Sandbox.start();
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
    const sandbox = await Sandbox.start();
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
    const sandbox = await Sandbox.start('--hostname=box', '--user-label=tier=web');
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

  it('share a volume as long as one of them has it', async () => {
    const keeper = await makeVolumeImage();
    const sandbox = await Sandbox.start();
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
    const sandbox = await Sandbox.start('--no-overlay');
    await sandbox.add('one', '--', 'one');
    await sandbox.ask('start', 'one');
    expect(readFileSync(join(sandbox.directory, 'apps/one/rootfs/name'), 'utf8')).toBe('worker');
    await until(() => existsSync(join(sandbox.directory, 'apps/one/rootfs/log')));
    await sandbox.ask('rm', 'one');
    expect(sandbox.files()).toEqual([]);
  });

  it('are removed from a pod that has ended, too', async () => {
    const sandbox = await Sandbox.start();
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
    const sandbox = await Sandbox.start();
    await sandbox.add('one', '--exec=/nowhere');
    expectRefusal(
      await gantry.run('app start', sandbox.uuid, '--app=one'),
      'app start',
      /app "one": Error: Unable to open "\/nowhere": No such file or directory/,
    );
    expect(await sandbox.apps()).toEqual(['one\tcreated']);
  });

  it('has a name no other has', async () => {
    const sandbox = await Sandbox.start();
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

  it('that is not there is nobody to start, stop, remove or show', async () => {
    const sandbox = await Sandbox.start();
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
    const sandbox = await Sandbox.start();
    const ending = await gantry.run('app add', sandbox.uuid, 'example.com/other:1.0.0');
    expectRefusal(ending, 'app add', /example\.com\/other/);
    expect(sandbox.files()).toEqual([]);
  });

  it('whose image is trusted no longer is not added', async () => {
    const sandbox = await Sandbox.start();
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
    const own = await makeImage('kept');
    const sandbox = await Sandbox.start();
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
    image = await fetchAgain('worker');
  });
});

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
    const sandbox = await Sandbox.start();
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
    const sandbox = await Sandbox.start();
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
    const sandbox = await Sandbox.start();
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
    const sandbox = await Sandbox.start();
    const stopped = sandbox.stop();
    const ending = await gantry.run('app add', sandbox.uuid, image, '--name=late');
    expect(await stopped).toBe(0);
    if (ending.code === 0) return; // it was there before the pod was told
    expect(ending.code).toBe(254);
    expect(ending.stderr).not.toContain('defect');
    expect(sandbox.files()).toEqual([]);
  });
});
