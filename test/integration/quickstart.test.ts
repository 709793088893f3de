import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { leaksSince, readHost } from '../support/host.ts';
import { exitCodeOf } from '../support/installation.ts';
import { needs, root } from '../support/requirements.ts';

const checkout = join(import.meta.dirname, '../..');
const state = join(checkout, '.quickstart');

/** It sets the checkout up first, which may have to build. */
describe('the quickstart', { timeout: 120_000 }, () => {
  beforeEach((context) => needs(context, root));

  it('does the main job, shows the refusal, and leaves nothing behind', async () => {
    const before = readHost(state);
    const { child, output } = start();
    const code = await exitCodeOf(child);
    const text = output();
    expect(code, text).toBe(0);
    expect(text).toContain('$ gantry trust --prefix=example.com/hello');
    expect(text).toContain('$ gantry fetch example.com/hello:1.0.0');
    expect(text).toMatch(/\] hello\[\d+\]: Hello, world!/);
    expect(text).toMatch(/^app-hello=0$/m);
    expect(text).toContain('$ gantry fetch --pull-policy=update example.com/hello:1.0.0');
    expect(text).toMatch(/^gantry: fetch: .*signature/m);
    expect(existsSync(state)).toBe(false);
    expect(await leaksSince(before, state)).toEqual([]);
  });

  it('leaves nothing behind when it is interrupted', async () => {
    const before = readHost(state);
    const { child, output } = start();
    child.stdout.on('data', () => {
      // As a terminal does: the whole foreground group gets the Ctrl-C.
      if (output().includes('5. Fetch') && child.pid !== undefined)
        process.kill(-child.pid, 'SIGINT');
    });
    expect(await exitCodeOf(child), output()).toBe(130);
    expect(existsSync(state)).toBe(false);
    expect(await leaksSince(before, state)).toEqual([]);
  });
});

function start() {
  const child = spawn('sh', [join(checkout, 'examples/quickstart/run')], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (part: string) => {
      text += part;
    });
  }
  return { child, output: () => text };
}
