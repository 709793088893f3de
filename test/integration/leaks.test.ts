import type { ChildProcess } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { leaksSince, readHost } from '../support/host.ts';
import {
  createInstallation,
  exitCodeOf,
  type Installation,
  type SignedImage,
} from '../support/installation.ts';
import { buildProgram } from '../support/program.ts';
import { needs, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';

/** Exits with its first argument, or waits for ever; with a child that ignores every signal. */
const app = buildProgram(`
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    if (argc > 1)
        return atoi(argv[1]);
    if (fork() == 0)
        signal(SIGTERM, SIG_IGN);
    for (;;)
        pause();
}
`);

describe('the host is as before', () => {
  beforeEach((context) => needs(context, root));

  it('after a pod whose app ended by itself', async () => {
    const { gantry, image, leaks } = await setUp();
    const ending = await gantry.run('run', '--net=none', image.reference, '--', '7');
    expect(ending.code, ending.stderr).toBe(7);
    expect(await leaks()).toEqual([]);
  });

  it('after a pod that was stopped', async () => {
    const { gantry, image, leaks } = await setUp();
    const pod = await startPod(gantry, image);
    await gantry.call('stop', pod.uuid);
    await exitCodeOf(pod.process);
    expect(await leaks()).toEqual([]);
  });

  it('after a pod that was stopped by force', async () => {
    const { gantry, image, leaks } = await setUp();
    const pod = await startPod(gantry, image);
    await gantry.call('stop', '--force', pod.uuid);
    await exitCodeOf(pod.process);
    expect(await leaks()).toEqual([]);
  });

  it('after a supervisor was killed', async () => {
    const { gantry, image, leaks } = await setUp();
    const pod = await startPod(gantry, image);
    pod.process.kill('SIGKILL');
    expect(await exitCodeOf(pod.process)).toBe(128 + 9);
    await gantry.call('gc', '--grace-period=0s');
    expect(await leaks()).toEqual([]);
  });

  it('after a pod init was killed', async () => {
    const { gantry, image, leaks } = await setUp();
    const pod = await startPod(gantry, image);
    process.kill(pod.init, 'SIGKILL');
    expect(await exitCodeOf(pod.process)).not.toBe(0);
    expect(await leaks()).toEqual([]);
  });

  it('after a pod that could not be set up', async () => {
    const { gantry, image, leaks } = await setUp();
    const ending = await gantry.run('run', '--net=none', image.reference, '--exec=/dev/missing');
    expect(ending.code).toBe(254);
    expect(ending.stderr).toContain('Unable to open "/dev/missing": No such file or directory');
    expect(await leaks()).toEqual([]);
  });

  it('after gc, which also empties the data directory of pods', async () => {
    const { gantry, image, leaks } = await setUp();
    await gantry.call('run', image.reference, '--', '0');
    await gantry.call('gc', '--grace-period=0s');
    expect(JSON.parse((await gantry.call('list', '--format=json')) || '[]') ?? []).toEqual([]);
    expect(await leaks()).toEqual([]);
  });
});

async function setUp() {
  const directory = temporaryDirectory();
  const gantry = await createInstallation(directory);
  mkdirSync(join(directory, 'rootfs/bin'), { recursive: true });
  copyFileSync(app, join(directory, 'rootfs/bin/app'));
  const image = await gantry.makeImage('app', join(directory, 'rootfs'), { exec: ['/bin/app'] });
  await gantry.call('fetch', image.path, `--signature=${image.path}.asc`);
  const before = readHost(directory);
  return { gantry, image, leaks: () => leaksSince(before, directory) };
}

/** Starts a pod that waits for ever; resolves when its app runs. */
async function startPod(gantry: Installation, image: SignedImage) {
  const process: ChildProcess = gantry.start('run', '--net=none', image.reference);
  const running = join(gantry.dataDirectory, 'pods/run');
  for (let attempt = 0; attempt < 200; attempt++) {
    const [uuid] = existsSync(running) ? readdirSync(running) : [];
    if (uuid !== undefined && existsSync(join(running, uuid, 'started'))) {
      const [, init] = readFileSync(join(running, uuid, 'pid'), 'utf8')
        .trim()
        .split(' ');
      return { process, uuid, init: Number(init) };
    }
    await sleep(50);
  }
  throw new Error('the pod did not start within ten seconds');
}
