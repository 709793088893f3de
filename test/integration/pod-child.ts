/**
 * A process of its own for tests of pods: `pod-child.ts DATA-DIR VERB JSON`. Starting a pod replaces
 * the process, and the tests of crashes kill it.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { secure } from '../../src/config/insecure.ts';
import { addApp } from '../../src/pod/app-add.ts';
import { removeApp } from '../../src/pod/app-rm.ts';
import { findPod } from '../../src/pod/find.ts';
import { gcPods } from '../../src/pod/gc.ts';
import { preparePod } from '../../src/pod/prepare.ts';
import type { AppRequest, PodRequest, PrepareContext } from '../../src/pod/request.ts';
import { type StartOptions, startPod } from '../../src/pod/run.ts';
import { Store } from '../../src/store/store.ts';
import { system } from '../../src/system/binding.ts';

const [, , dataDir = '', verb = '', json = 'null'] = process.argv;
const context: PrepareContext = {
  store: Store.open(dataDir),
  directories: { system: join(dataDir, 'none'), local: join(dataDir, 'none') },
  stage1Dir:
    process.env['TEST_STAGE1_DIR'] ?? join(import.meta.dirname, '../../dist/stage1/native'),
  dataDir,
  report: { warn: (line) => console.error(line) },
};

const verbs: Readonly<Record<string, (argument: never) => unknown>> = {
  run: async (request: PodRequest) => startPod(await preparePod(context, request)),
  prepare: async (request: PodRequest) => {
    using pod = await preparePod(context, request);
    console.log(pod.uuid);
  },
  start: ({ uuid, ...options }: { uuid: string } & StartOptions) =>
    startPod(findPod(dataDir, uuid), options),
  gc: () => gcPods(dataDir, { graceSeconds: 0, expirePreparedSeconds: 0, markOnly: false }),
  'crash-add': async ({ after, uuid, app }: { after: number; uuid: string; app: AppRequest }) => {
    dieAfter(after);
    await addApp(context, findPod(dataDir, uuid), { app, insecure: { ...secure, image: true } });
  },
  'crash-rm': async ({ after, uuid, name }: { after: number; uuid: string; name: string }) => {
    dieAfter(after);
    await removeApp(findPod(dataDir, uuid), name);
  },
  crash: async ({ after, request }: { after: number; request: PodRequest }) => {
    dieAfter(after);
    await preparePod(context, request);
  },
};

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  // The signal may take a moment to arrive; nothing is done meanwhile.
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

/** Makes the process kill itself instead of making its n-th change to the file system. */
function dieAfter(count: number): void {
  let left = count;
  const guard = <T extends object>(owner: T, name: keyof T) => {
    const original = owner[name];
    if (typeof original !== 'function') return;
    const guarded = (...args: unknown[]) => {
      if (left-- === 0) die();
      return original.apply(owner, args);
    };
    owner[name] = guarded as T[keyof T];
  };
  const fsChanges = [
    'mkdirSync',
    'writeFileSync',
    'symlinkSync',
    'chownSync',
    'chmodSync',
    'renameSync',
    'rmdirSync',
  ] as const;
  for (const name of [...fsChanges, 'copyFileSync', 'fsyncSync'] as const) guard(fs, name);
  const systemChanges = ['flock', 'renameAt', 'syncFilesystem', 'settle', 'setXattr'] as const;
  for (const name of [...systemChanges, 'setTimesAt', 'unlinkAt'] as const) guard(system, name);
  syncBuiltinESMExports();
}

const act = verbs[verb];
if (act === undefined) throw new Error(`no verb ${verb}`);
try {
  await act(JSON.parse(json) as never);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 254;
}
