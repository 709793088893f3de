import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { preparePod } from '../../src/pod/prepare.ts';
import { ended } from '../support/ended.ts';
import { ownProgram } from '../support/installation.ts';
import { needs, root } from '../support/requirements.ts';
import { addImage, createWorld, requestOf, runChild } from './pod-world.ts';

beforeEach((context) => needs(context, root));

/** Long enough for a command to stand at the lock. */
const MOMENT_MS = 700;

describe.each([
  ['image rm', (id: string) => ['rm', id]],
  ['image gc', () => ['gc', '--grace-period=0s']],
])('a pod prepared while %s waits for the images', (_, words) => {
  it('keeps what it is made of', async () => {
    const world = createWorld();
    const record = await addImage(world);
    const pin = world.store.pinImages();
    const args = ['image', `--dir=${world.dataDir}`, ...words(record.id)];
    const removal = spawn(ownProgram, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const ending = ended(removal);
    await sleep(MOMENT_MS);
    expect(removal.exitCode).toBe(null);
    const pod = await preparePod(world.context, requestOf(record, ['exit', '6']));
    const { uuid } = pod;
    pod[Symbol.dispose]();
    pin.release();
    expect((await ending).code).toBe(0);
    expect(existsSync(world.store.layout.layer(record.id))).toBe(true);
    expect((await runChild(world, 'start', { uuid })).code).toBe(6);
  });
});
