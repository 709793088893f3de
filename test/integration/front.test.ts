import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type HostState, leaksSince, readHost } from '../support/host.ts';
import { needs, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { type Ending, endingOf, LaunchPod, type PodPlan, until } from './launch/pods.ts';

const built = join(import.meta.dirname, '../../bin/gantry');
const one = '11111111-1111-4111-8111-111111111111';
const two = '11122222-2222-4222-8222-222222222222';

let base: string;
let data: string;
let front: string;
let before: HostState;

// An installation whose Node is a script that tells its words: whether the front went there shows.
beforeEach((context) => {
  needs(context, root);
  base = temporaryDirectory();
  data = join(base, 'data');
  front = join(base, 'bin/gantry');
  mkdirSync(join(base, 'bin'));
  copyFileSync(built, front);
  writeFileSync(join(base, 'bin/node'), '#!/bin/sh\nshift 4\necho "node $*"\n');
  chmodSync(join(base, 'bin/node'), 0o755);
  before = readHost(base);
});
afterEach(async () => {
  expect(await leaksSince(before, base)).toEqual([]);
});

const waiting: PodPlan = { grace: 1, apps: { web: { do: ['wait', ''] } } };
const quick: PodPlan = { apps: { web: { do: ['say', 'ran', 'exit', '3'] } } };

/** A pod in a phase of the data directory. */
const pod = (phase: string, uuid: string, plan = quick) =>
  new LaunchPod(plan, `data/pods/${phase}/${uuid}`, base);

function start(...words: string[]): ChildProcess {
  return spawn(front, words, { stdio: ['ignore', 'pipe', 'pipe'] });
}
const gantry = (...words: string[]): Promise<Ending> => endingOf(start(...words));

describe('the front', () => {
  it.each([
    [['version']],
    [[]],
    [['--debug', 'stop', one]],
    [['run-prepared', '--interactive', one]],
    [['status', one]],
    [['stop', '--help']],
    [['enter']],
    [['status', '--wait=soon', one]],
    // Nothing is waited for: what there is to say, Node says.
    [['status', '--wait=false', one]],
    [['status', '--wait=F', '--wait-ready=0', one]],
    [['status', '--wait=-0', one]],
    [['status', '--wait=+0s', one]],
    [['status', '--wait=-', one]],
    [['status', '--wait=--1s', one]],
    [['status', '--wait=yes', one]],
  ])('leaves %j to Node, as it is', async (words) => {
    expect((await gantry(...words)).stdout).toBe(`node ${words.join(' ')}\n`);
  });

  it.each([
    ['run-prepared', 'problem retrieving pod'],
    ['enter', 'problem retrieving pod'],
    ['stop', 'cannot get pod'],
    ['status --wait', 'problem retrieving pod'],
  ])('%s says when no pod or several have that UUID', async (verb, what) => {
    pod('prepared', one);
    pod('run', two);
    const call = (uuid: string) => gantry(`--dir=${data}`, ...verb.split(' '), uuid);
    const name = verb.split(' ')[0];
    const unknown = await call('abc');
    expect(unknown.code).toBe(254);
    expect(unknown.stderr).toContain(
      `gantry: ${name}: ${what}: no matches found for "abc": gantry list shows the pods\n`,
    );
    expect((await call('')).stderr).toContain(`${what}: UUID cannot be empty\n`);
    const ambiguous = await call('111');
    expect(ambiguous.code).toBe(254);
    expect(ambiguous.stderr).toContain(`${what}: ambiguous uuid, 2 matches for "111"`);
  });
});

describe('run-prepared', () => {
  it('moves the pod to run and becomes its supervisor', async () => {
    pod('prepared', one);
    const { code, stdout } = await gantry('run-prepared', '--dir', data, '11111111');
    expect(code).toBe(3);
    expect(stdout).toContain('web[2]: ran');
    expect(existsSync(join(data, 'pods/run', one, 'exit'))).toBe(true);
    const again = await gantry('run-prepared', `--dir=${data}`, one);
    expect(again).toEqual({
      code: 254,
      stdout: '',
      stderr: `gantry: run-prepared: pod "${one}" is not prepared\n`,
    });
  });

  it('starts a pod once, however often it is asked at the same time', async () => {
    pod('prepared', one);
    const endings = await Promise.all(
      Array.from({ length: 6 }, () => gantry(`--dir=${data}`, 'run-prepared', one)),
    );
    expect(endings.map(({ code }) => code).sort()).toEqual([254, 254, 254, 254, 254, 3]);
  });
});

describe('a running pod', () => {
  it('is entered, waited for and stopped', async () => {
    const made = pod('prepared', one, waiting);
    const running = start(`--dir=${data}`, 'run-prepared', one);
    const ending = endingOf(running);
    const ready = await gantry(`--dir=${data}`, 'status', '--wait-ready=10s', '1111');
    expect(ready.stdout).toBe(`node status --dir=${data} 1111\n`);

    const entered = await gantry(`--dir=${data}`, 'enter', '--app=web', one, 'probe', 'say', '-x');
    expect(entered).toEqual({ code: 0, stdout: '-x\n', stderr: '' });
    const shell = await gantry(`--dir=${data}`, 'enter', one);
    expect(shell.stderr).toContain('no command specified, assuming "/bin/bash"\n');

    const early = await gantry(`--dir=${data}`, 'status', '--wait=100ms', one);
    expect(early.code).toBe(254);
    expect(early.stderr).toContain('error waiting for pod to finish: timed out');

    const waited = gantry(`--dir=${data}`, 'status', '--wait', '--format=json', one);
    await sleep(50);
    expect(await gantry('stop', `--dir=${data}`, one)).toEqual({
      code: 0,
      stdout: `"${one}"\n`,
      stderr: '',
    });
    expect((await ending).code).toBe(143);
    expect((await waited).stdout).toBe(`node status --dir=${data} --format=json ${one}\n`);
    expect((await gantry('stop', `--dir=${data}`, one)).stdout).toBe(
      `pod "${one}" is already stopped\n`,
    );
    expect((await gantry('enter', `--dir=${data}`, one, 'x')).stderr).toBe(
      `gantry: enter: pod "${one}" isn't currently running: gantry status shows its state\n`,
    );
    rmSync(made.directory, { recursive: true, force: true });
  });

  // Go's booleans, and negative durations: without end.
  it.each(['T', '1', 'True', '', '-1s'])('is waited for with --wait=%s', async (word) => {
    pod('prepared', one);
    const waited = gantry(`--dir=${data}`, 'status', `--wait=${word}`, one);
    await sleep(60);
    expect((await gantry(`--dir=${data}`, 'run-prepared', one)).code).toBe(3);
    expect((await waited).stdout).toBe(`node status --dir=${data} ${one}\n`);
  });

  it('is waited for from before it runs', async () => {
    pod('prepared', one);
    const waited = gantry(`--dir=${data}`, 'status', '--wait=10s', one);
    await sleep(60);
    expect((await gantry(`--dir=${data}`, 'run-prepared', one)).code).toBe(3);
    expect((await waited).code).toBe(0);
  });

  it('is stopped with others in one command, by UUID file too', async () => {
    pod('prepared', one, waiting);
    pod('prepared', two, waiting);
    const endings = [one, two].map((uuid) => gantry(`--dir=${data}`, 'run-prepared', uuid));
    await until(() => [one, two].every((u) => existsSync(join(data, 'pods/run', u, 'ready'))));
    writeFileSync(join(base, 'uuid'), `${one}\n`);
    const file = await gantry(`--dir=${data}`, 'stop', '--force', `--uuid-file=${base}/uuid`);
    expect(file.stdout).toBe(`"${one}"\n`);
    const rest = await gantry(`--dir=${data}`, 'stop', two, 'abc');
    expect([rest.code, rest.stdout]).toEqual([254, `"${two}"\n`]);
    expect((await Promise.all(endings)).map(({ code }) => code)).toEqual([137, 143]);
  });

  it('that is only prepared cannot be stopped, nor waited ready for once it has ended', async () => {
    const made = pod('prepared', one);
    const { code, stderr } = await gantry(`--dir=${data}`, 'stop', one);
    expect(code).toBe(254);
    expect(stderr).toContain(`pod "${one}" is not running`);
    mkdirSync(join(data, 'pods/exited-garbage'));
    renameSync(made.directory, join(data, 'pods/exited-garbage', one));
    const ready = await gantry(`--dir=${data}`, 'status', '--wait-ready', one);
    expect(ready.stderr).toContain('the pod ended before it was ready');
  });
});
