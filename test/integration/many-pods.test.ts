import { beforeAll, beforeEach, expect, it } from 'vitest';
import { leaksSince, readHost } from '../support/host.ts';
import { exitCodeOf, type Installation } from '../support/installation.ts';
import { buildProgram } from '../support/program.ts';
import { needs, root } from '../support/requirements.ts';
import { sharedInstallation } from '../support/shared-installation.ts';

/** What starts with a machine, in small; test/bench has 200. */
const PODS = 24;

let gantry: Installation;
let reference: string;

beforeAll(async () => {
  if (!root.met) return;
  ({ gantry } = await sharedInstallation());
  const waiting = buildProgram('#include <unistd.h>\nint main(void) { for (;;) pause(); }');
  reference = await gantry.storeProgram('waiting', waiting);
});

beforeEach((context) => needs(context, root));

it('many pods start at the same moment, while gc goes through them again and again', {
  timeout: 180_000,
}, async () => {
  const before = readHost(gantry.dataDirectory);
  const pods = Array.from({ length: PODS }, () => gantry.start('run', '--net=none', reference));
  const said: string[] = [];
  for (const pod of pods) pod.stderr?.on('data', (text) => said.push(String(text)));
  const endings = pods.map(exitCodeOf);
  const states = async () => {
    const list = await gantry.call('list', '--no-legend', '--full', '--fields=uuid,state');
    return list.split('\n').map((line) => line.split(/\t+/));
  };
  try {
    for (;;) {
      const { code, stderr } = await gantry.run('gc', '--grace-period=0s');
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(said).toEqual([]);
      const running = (await states()).filter(([, state]) => state === 'running');
      if (running.length === PODS) break;
    }
    const uuids = (await states()).map(([uuid = '']) => uuid);
    for (const uuid of uuids) await gantry.call('status', '--wait-ready=30s', uuid);
    readHost(gantry.dataDirectory);
    await gantry.call('stop', ...uuids);
    expect(new Set(await Promise.all(endings))).toEqual(new Set([128 + 15]));
  } finally {
    for (const pod of pods) pod.kill('SIGKILL');
  }
  await gantry.call('gc', '--grace-period=0s');
  await gantry.call('gc', '--grace-period=0s');
  expect(await gantry.call('list', '--no-legend')).toBe('');
  expect(await leaksSince(before, gantry.dataDirectory)).toEqual([]);
});
