import type { ChildProcess } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { leaksSince, readHost } from '../support/host.ts';
import { createInstallation, exitCodeOf, type Installation } from '../support/installation.ts';
import { buildProgram } from '../support/program.ts';
import { temporaryDirectory } from '../support/temporary.ts';

/** Each pair of arguments is one thing to do (launch/probe.c). */
const probe = buildProgram(readFileSync(join(import.meta.dirname, 'launch/probe.c'), 'utf8'));

/** An installation with one image, example.com/probe, for pods under systemd-nspawn. */
export interface NspawnWorld {
  readonly gantry: Installation;
  readonly reference: string;
  leaks(): Promise<string[]>;
  /** Starts a pod; resolves when its apps run. */
  start(...words: readonly string[]): Promise<RunningPod>;
}

/** A pod that runs, by its processes. */
export interface RunningPod {
  readonly uuid: string;
  readonly directory: string;
  readonly process: ChildProcess;
  readonly init: number;
  /** systemd-nspawn's own process. */
  readonly nspawn: number;
  /** What it has written to standard output up to now. */
  said(): string;
  readonly ended: Promise<number>;
}

/** A new one, gone with the test. */
export async function createNspawnWorld(): Promise<NspawnWorld> {
  const directory = temporaryDirectory();
  const gantry = await createInstallation(directory);
  mkdirSync(join(directory, 'rootfs/bin'), { recursive: true });
  copyFileSync(probe, join(directory, 'rootfs/bin/probe'));
  const exec = ['/bin/probe'];
  const image = await gantry.makeImage('probe', join(directory, 'rootfs'), { exec });
  await gantry.call('fetch', image.path);
  const before = readHost(directory);
  return {
    gantry,
    reference: image.reference,
    leaks: () => leaksSince(before, directory),
    start: (...words) => startPod(gantry, image.reference, words),
  };
}

async function startPod(
  gantry: Installation,
  reference: string,
  words: readonly string[],
): Promise<RunningPod> {
  const child = gantry.start('run', '--stage1-name=nspawn', reference, ...words);
  // A test that failed must not leave its pod running; one that has ended is not there to be killed.
  onTestFinished(() => void child.kill('SIGKILL'));
  let output = '';
  let complaints = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaints += text;
  });
  const running = join(gantry.dataDirectory, 'pods/run');
  for (let attempt = 0; attempt < 500; attempt++) {
    const [uuid] = existsSync(running) ? readdirSync(running) : [];
    const directory = join(running, uuid ?? '');
    if (uuid !== undefined && existsSync(join(directory, 'ready'))) {
      const init = Number(readFileSync(join(directory, 'pid'), 'utf8').split(' ')[1]);
      const said = () => output;
      const ended = exitCodeOf(child);
      return { uuid, directory, process: child, init, nspawn: parentOf(init), said, ended };
    }
    if (child.exitCode !== null) break;
    await sleep(10);
  }
  child.kill('SIGKILL');
  throw new Error(`the pod does not start: ${complaints}`);
}

export function parentOf(pid: number): number {
  const parent = /^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(parent);
}
