import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { leaksSince, readHost } from '../support/host.ts';
import { needs, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { endingOf, LaunchPod } from './launch/pods.ts';

/** Resident memory of a process in kB. */
function residentSize(pid: string): number {
  return Number(/^Rss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]);
}

// Not with the launchers' other tests: under the sanitizers memory is another.
describe('what stays resident of a running pod', () => {
  it('is as little of one that apps come to and go from', async (context) => {
    needs(context, root);
    const base = temporaryDirectory();
    const before = readHost(base);
    const pod = new LaunchPod({ grace: 1, apps: {}, supervisor: [['mutable']] }, 'pod', base);
    const ending = endingOf(pod.start());
    await pod.ready();
    for (const name of ['one', 'two', 'three']) {
      pod.addApp(name, { do: ['wait', ''] });
      for (const entry of ['app-add', 'app-start', 'app-stop', 'app-start'] as const) {
        expect(await pod.call(entry, 'test', name)).toMatchObject({ code: 0, stderr: '' });
      }
    }
    await sleep(50);
    const pids = (pod.status('pid') ?? '').trim().split(' ');
    expect(pids.reduce((sum, pid) => sum + residentSize(pid), 0)).toBeLessThan(1700);
    await pod.call('stop');
    await ending;
    expect(await leaksSince(before, base)).toEqual([]);
  });

  const handlers = { before: { do: [] }, after: { do: [] } };
  it.for([
    { title: 'an app', more: {} },
    { title: 'one with event handlers', more: handlers },
  ])('is less than 1.5 MB of $title, supervisor and init together', async ({ more }, context) => {
    needs(context, root);
    const base = temporaryDirectory();
    const before = readHost(base);
    const app = { do: ['wait', ''], ...more };
    const pod = new LaunchPod({ grace: 1, apps: { one: app } }, 'pod', base);
    const ending = endingOf(pod.start());
    await pod.ready();
    await sleep(50);
    const pids = (pod.status('pid') ?? '').trim().split(' ');
    expect(pids).toHaveLength(2);
    expect(pids.reduce((sum, pid) => sum + residentSize(pid), 0)).toBeLessThan(1500);
    await pod.call('stop');
    await ending;
    expect(await leaksSince(before, base)).toEqual([]);
  });
});
