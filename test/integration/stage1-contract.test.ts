import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { collectGarbage } from '../../src/stage1/garbage.ts';
import { leaksSince, readHost } from '../support/host.ts';
import type { Ending, Installation, SignedImage } from '../support/installation.ts';
import { buildProgram } from '../support/program.ts';
import { needs, root } from '../support/requirements.ts';
import { sharedInstallation } from '../support/shared-installation.ts';
import { writeShellStage1 } from '../support/shell-stage1.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { until } from './launch/pods.ts';

// What becomes of pods whose stage1 does not keep the contract (specs/stage1-interface.md).

const native = join(import.meta.dirname, '../../dist/stage1/native');
/** Stays until the file `over` is in the pod directory, or for ten seconds at most. */
const STAY = 'n=0; while [ ! -e over ] && [ $n -lt 200 ]; do n=$((n+1)); sleep 0.05; done';
/** What closing the last descriptor does; of those, a shell can close only the first ten. */
const UNLOCK = 'flock -u "$GANTRY_LOCK_FD"';

let directory: string;
let gantry: Installation;
let app: SignedImage;

beforeAll(async () => {
  if (!root.met) return;
  ({ directory, gantry } = await sharedInstallation());
  const rootfs = join(directory, 'rootfs');
  mkdirSync(rootfs);
  copyFileSync(buildProgram('int main(void) { return 0; }'), join(rootfs, 'app'));
  app = await gantry.makeImage('app', rootfs, { exec: ['/app'] });
  await gantry.call('fetch', app.path);
});

beforeEach((context) => {
  needs(context, root);
  const before = readHost(directory);
  onTestFinished(async () => expect(await leaksSince(before, directory)).toEqual([]));
});

interface RunningPod {
  readonly uuid: string;
  /** How `gantry run` ends. */
  readonly ending: Promise<Ending>;
  /** Has the stage1 that stays go. */
  release(): void;
}

let count = 0;

/** A stage1 of these scripts. */
function stage1(scripts: Record<string, string | undefined>): string {
  count += 1;
  return writeShellStage1(join(directory, `stage1-${count}`), { scripts });
}

/** A pod of such a stage1, as soon as its run has written the file `began`. */
async function runPod(run: string, others: Record<string, string> = {}): Promise<RunningPod> {
  return await runPodOf(stage1({ run: `echo > began; ${run}`, ...others }));
}

async function runPodOf(path: string): Promise<RunningPod> {
  count += 1;
  const file = join(directory, `uuid-${count}`);
  const options = [`--stage1-path=${path}`, `--uuid-file-save=${file}`];
  const ending = gantry.run('run', ...options, app.reference);
  const uuidNow = () => (existsSync(file) ? readFileSync(file, 'utf8').trim() : '');
  const podFile = (name: string) => join(gantry.dataDirectory, 'pods/run', uuidNow(), name);
  await until(() => uuidNow() !== '' && existsSync(podFile('began')));
  const release = () => writeFileSync(podFile('over'), '');
  return { uuid: uuidNow(), ending, release };
}

async function refusal(verb: string, ...words: string[]): Promise<string> {
  const { code, stderr } = await gantry.run(verb, ...words);
  expect(code).toBe(254);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  return stderr.trim();
}

const stateOf = async (uuid: string) =>
  (await gantry.call('status', uuid)).split('\n')[0]?.replace('state=', '');

describe('a run that exits at once', () => {
  it('leaves a pod that has exited, and gives its exit code', async () => {
    const { uuid, ending } = await runPod('exit 42');
    expect((await ending).code).toBe(42);
    expect(await stateOf(uuid)).toBe('exited');
    expect(await gantry.call('status', '--wait=5s', uuid)).toMatch(/^state=exited/);
    expect(await refusal('status', '--wait-ready', uuid)).toMatch(/ended before it was ready/);
    expect(await gantry.call('stop', uuid)).toBe(`pod "${uuid}" is already stopped`);
    expect(await refusal('enter', uuid, 'sh')).toMatch(/isn't currently running/);
    await gantry.call('gc', '--grace-period=0s');
    expect(await gantry.call('list', '--no-legend')).toBe('');
  });
});

describe('a run that writes no pid', () => {
  it('runs without entry points to enter and stop, until it is stopped by force', async () => {
    const { uuid, ending } = await runPod(STAY);
    expect(await gantry.call('status', uuid)).toMatch(/^state=running\n(?!.*\npid=)/s);
    expect(await refusal('enter', uuid, 'sh')).toBe(
      `gantry: enter: pod "${uuid}" has a stage1 without entry point "enter": it cannot be entered`,
    );
    const stop = await gantry.run('stop', uuid);
    expect(stop).toMatchObject({ code: 254, stdout: '' });
    expect(stop.stderr).toBe(
      `gantry: stop: pod "${uuid}" has a stage1 without entry point "stop"
gantry: stop: error stopping "${uuid}": gantry stop --force kills what holds its lock
`,
    );
    expect(await refusal('rm', uuid)).toMatch(/is currently running: stop it first/);
    expect(await gantry.call('stop', '--force', uuid)).toBe(`"${uuid}"`);
    expect((await ending).code).toBe(137);
    expect(await stateOf(uuid)).toBe('exited');
    await gantry.call('rm', uuid);
  });

  it('is told apart from a pod that does not run by the native enter and stop', async () => {
    const path = stage1({ run: `echo > began; ${STAY}`, enter: '', stop: '' });
    for (const entry of ['enter', 'stop']) copyFileSync(join(native, entry), join(path, entry));
    const { uuid, ending } = await runPodOf(path);
    expect(await refusal('enter', uuid, 'sh')).toMatch(/its processes cannot be found by its file/);
    expect(await gantry.call('stop', '--force', uuid)).toBe(`"${uuid}"`);
    expect((await ending).code).toBe(137);
    await gantry.call('rm', uuid);
  });

  it('is waited for as long as it was said', async () => {
    const { uuid, ending, release } = await runPod(STAY);
    expect(await refusal('status', '--wait=100ms', uuid)).toMatch(/timed out/);
    expect(await refusal('status', '--wait-ready=100ms', uuid)).toMatch(/timed out/);
    const waiting = gantry.call('status', '--wait', uuid);
    release();
    expect(await waiting).toMatch(/^state=exited/);
    expect((await ending).code).toBe(0);
    await gantry.call('rm', uuid);
  });
});

describe('a run whose lock is gone before its processes', () => {
  it('that closes the lock has exited, and is not removed while it works there', async () => {
    const { uuid, ending } = await runPod(`${UNLOCK}; echo > unlocked; ${STAY}`);
    const unlocked = join(gantry.dataDirectory, 'pods/run', uuid, 'unlocked');
    await until(() => existsSync(unlocked));
    expect(await stateOf(uuid)).toBe('exited');
    expect(await gantry.call('stop', uuid)).toMatch(/is already stopped/);
    const { code, stderr } = await gantry.run('gc', '--grace-period=0s');
    expect(code).toBe(254);
    expect(stderr).toMatch(
      /has ended, but process \d+ \("run"\).* still works? in its directory: end it and try again\n$/,
    );
    expect(await stateOf(uuid)).toBe('exited garbage');
    expect(existsSync(join(gantry.dataDirectory, 'pods/exited-garbage', uuid, 'pod.json'))).toBe(
      true,
    );
    writeFileSync(join(gantry.dataDirectory, 'pods/exited-garbage', uuid, 'over'), '');
    await ending;
    await gantry.call('gc', '--grace-period=0s');
    expect(await gantry.call('list', '--no-legend')).toBe('');
  });

  it('that leaves a process with the lock still runs, until that one ends by force', async () => {
    const { uuid, ending } = await runPod('sleep 600 >/dev/null 2>&1 & exit 3');
    expect((await ending).code).toBe(3);
    expect(await stateOf(uuid)).toBe('running');
    expect(await refusal('rm', uuid)).toMatch(/is currently running/);
    expect(await gantry.call('stop', '--force', uuid)).toBe(`"${uuid}"`);
    expect(await stateOf(uuid)).toBe('exited');
    await gantry.call('rm', uuid);
  });

  it('that leaves a process without the lock is not removed while that one works there', async () => {
    const run = `(${UNLOCK}; ${STAY.replace('over', '../../over')}) >/dev/null 2>&1 & exit 0`;
    const { uuid } = await runPod(run);
    expect(await gantry.call('status', '--wait=5s', uuid)).toMatch(/^state=exited/);
    const { code, stderr } = await gantry.run('rm', uuid);
    expect(code).toBe(254);
    expect(stderr).toMatch(/but process \d+ .* still works? in its directory/);
    const over = join(gantry.dataDirectory, 'pods/over');
    writeFileSync(over, '');
    onTestFinished(() => rmSync(over));
    await until(() => readHost(directory).processes.size === 0);
    await gantry.call('rm', uuid);
  });
});

describe('a process of another mount namespace', () => {
  it('keeps no pod by standing in a directory that is called as that one', async () => {
    const { uuid, ending } = await runPod('exit 0');
    await ending;
    const pods = join(gantry.dataDirectory, 'pods');
    const place = join(pods, 'exited-garbage', uuid);
    const line = 'mount -t tmpfs t "$1" && mkdir -p "$2" && cd "$2" && echo there && exec sleep 60';
    const other = spawn(
      'unshare',
      ['-m', '--propagation', 'private', 'sh', '-c', line, 'sh', pods, place],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    await once(other.stdout, 'data');
    expect(readlinkSync(`/proc/${other.pid}/cwd`)).toBe(place);
    const removed = await gantry.run('rm', uuid);
    other.kill('SIGKILL');
    await once(other, 'exit');
    expect(removed).toMatchObject({ code: 0, stdout: `"${uuid}"\n` });
  });
});

describe('a stop', () => {
  it('that fails is reported, with the way out', async () => {
    const { uuid, ending } = await runPod(STAY, { stop: 'echo "no way" >&2; exit 1' });
    const { code, stderr } = await gantry.run('stop', uuid);
    expect([code, stderr]).toEqual([
      254,
      `no way\ngantry: stop: error stopping "${uuid}": gantry stop --force kills what holds its lock\n`,
    ]);
    const forced = await gantry.run('stop', '--force', uuid);
    expect(forced).toMatchObject({ code: 0, stdout: `"${uuid}"\n` });
    expect((await ending).code).toBe(137);
    await gantry.call('rm', uuid);
  });
});

describe('a stop that hangs', () => {
  it('does not keep the pod from being stopped by force', { timeout: 30_000 }, async () => {
    const { uuid, ending } = await runPod(`${STAY}; ${STAY}`, { stop: 'exec sleep 600' });
    expect(await gantry.call('stop', '--force', uuid)).toBe(`"${uuid}"`);
    expect((await ending).code).toBe(137);
    await gantry.call('rm', uuid);
  });
});

describe('a gc', () => {
  it('that fails is reported, and the pod removed, where nothing is known to be left', async () => {
    const { uuid, ending } = await runPod('exit 0', { gc: 'echo "no gc" >&2; exit 1' });
    await ending;
    const { code, stdout, stderr } = await gantry.run('rm', uuid);
    expect([code, stdout]).toEqual([0, `"${uuid}"\n`]);
    expect(stderr).toContain(`stage1 gc of pod "${uuid}": no gc`);
  });

  it('that hangs is given up', () => {
    const pod = temporaryDirectory();
    writeShellStage1(join(pod, 'stage1'), { scripts: { gc: 'exec sleep 600' } });
    const locked = { uuid: 'x', directory: pod, lockFd: 2 };
    expect(() => collectGarbage(locked, 200)).toThrow(/gc of pod "x": .* not ended within 0.2 sec/);
  });
});
