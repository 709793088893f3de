import type { ChildProcess } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { type HostState, leaksSince, readHost } from '../support/host.ts';
import {
  createInstallation,
  type Ending,
  exitCodeOf,
  type Installation,
} from '../support/installation.ts';
import { buildProgram } from '../support/program.ts';

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

/** What sandboxes are made of: an installation, and the image `worker`. */
export class SandboxWorld {
  readonly directory: string;
  readonly gantry: Installation;
  /** In the store, signed; its program is /app. */
  image = '';
  #sandboxes: Sandbox[] = [];
  #before: HostState | undefined;

  private constructor(directory: string, gantry: Installation) {
    this.directory = directory;
    this.gantry = gantry;
  }

  static async open(): Promise<SandboxWorld> {
    const directory = mkdtempSync(join(tmpdir(), 'gantry-test-'));
    const world = new SandboxWorld(directory, await createInstallation(directory));
    world.image = await world.makeImage('worker');
    return world;
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** To be called before each test. */
  begin(): void {
    this.#before = readHost(this.gantry.dataDirectory);
  }

  /** To be called after each test: ends its sandboxes, of which nothing may be left. */
  async finish(): Promise<void> {
    for (const sandbox of this.#sandboxes.splice(0)) await sandbox.end();
    if (this.#before === undefined) return;
    expect(await leaksSince(this.#before, this.gantry.dataDirectory)).toEqual([]);
  }

  /** A sandbox that apps can come to. */
  async start(...options: string[]): Promise<Sandbox> {
    const file = join(this.directory, `uuid-${this.#sandboxes.length}`);
    const sandbox = await Sandbox.start(this, file, ...options);
    this.#sandboxes.push(sandbox);
    await this.gantry.call('status', '--wait-ready=10s', sandbox.uuid);
    return sandbox;
  }

  /** The tree of the image `worker`. */
  get worker(): string {
    return join(this.directory, 'worker-rootfs');
  }

  /** A signed image with the program as /app, in the store. */
  async makeImage(name: string): Promise<string> {
    const rootfs = join(this.directory, `${name}-rootfs`);
    mkdirSync(rootfs);
    copyFileSync(app, join(rootfs, 'app'));
    writeFileSync(join(rootfs, 'name'), name);
    const made = await this.gantry.makeImage(name, rootfs, { exec: ['/app'] });
    await this.gantry.call('fetch', made.path);
    return made.reference;
  }

  /** Fetches it anew, since an image gc has taken it. */
  async fetchAgain(name: string): Promise<string> {
    await this.gantry.call('fetch', join(this.directory, `${name}.aci`));
    return `example.com/${name}:1.0.0`;
  }

  /** One that keeps its log in the volume `data`, unsigned. */
  async makeVolumeImage(): Promise<string> {
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
    const path = join(this.directory, 'keeper.aci');
    writeFileSync(join(this.directory, 'keeper.json'), JSON.stringify(manifest));
    const from = [`--manifest=${join(this.directory, 'keeper.json')}`, `--rootfs=${this.worker}`];
    await this.gantry.call('image pack', ...from, '--overwrite', path);
    await this.gantry.call('fetch', '--insecure-options=image', path);
    return 'example.com/keeper:1.0.0';
  }
}

/** A running pod of `gantry app sandbox`. */
export class Sandbox {
  readonly process: ChildProcess;
  readonly uuid: string;
  output = '';
  readonly #world: SandboxWorld;

  private constructor(world: SandboxWorld, process: ChildProcess, uuid: string) {
    this.#world = world;
    this.process = process;
    this.uuid = uuid;
  }

  /** Starts one; it has its UUID, which it writes to `file`, before it is ready. */
  static async start(world: SandboxWorld, file: string, ...options: string[]): Promise<Sandbox> {
    rmSync(file, { force: true });
    const process = world.gantry.start('app sandbox', `--uuid-file-save=${file}`, ...options);
    let output = '';
    let sandbox: Sandbox | undefined;
    for (const stream of [process.stdout, process.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        output += text;
        if (sandbox !== undefined) sandbox.output = output;
      });
    }
    await until(() => existsSync(file) && readFileSync(file, 'utf8').endsWith('\n'));
    sandbox = new Sandbox(world, process, readFileSync(file, 'utf8').trim());
    return sandbox;
  }

  get directory(): string {
    return join(this.#world.gantry.dataDirectory, 'pods/run', this.uuid);
  }

  add(name: string, ...words: string[]): Promise<string> {
    return this.#world.gantry.call(
      'app add',
      this.uuid,
      this.#world.image,
      `--name=${name}`,
      ...words,
    );
  }

  /** Does something with an app, which has to succeed. */
  ask(verb: 'start' | 'stop' | 'rm' | 'status', app: string): Promise<string> {
    return this.#world.gantry.call(`app ${verb}`, this.uuid, `--app=${app}`);
  }

  async apps(): Promise<string[]> {
    const { stdout } = await this.#world.gantry.run('app list', '--no-legend', this.uuid);
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
    await this.#world.gantry.call('stop', this.uuid);
    return exitCodeOf(this.process);
  }

  async end(): Promise<void> {
    this.process.kill('SIGKILL');
    await exitCodeOf(this.process);
    await this.#world.gantry.run('rm', this.uuid);
  }
}

/** Waits for something that takes moments. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('waited in vain');
    await sleep(10);
  }
}

/** A refusal is one line on standard error that says what failed, and exit code 254. */
export function expectRefusal(ending: Ending, command: string, why: RegExp): void {
  expect(ending.stderr).toMatch(why);
  expect(ending.stderr.trim().split('\n')).toHaveLength(1);
  expect(ending.stderr).toMatch(new RegExp(`^gantry: ${command}: `));
  expect(ending.code).toBe(254);
}
