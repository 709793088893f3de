import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { requireForm, requireSame, requireThat } from './expect.ts';
import { imageReference } from './laboratory.ts';
import { endWord, type Pod } from './pod.ts';
import { requireCollected } from './serving.ts';
import type { Trial } from './trial.ts';

/** How pods end by themselves, and what run then ends with. */
export async function checkExitCodes(trial: Trial): Promise<void> {
  for (const [code, probe] of [
    [0, ['exit', '0']],
    [77, ['exit', '77']],
    [137, ['raise', '9']],
  ] as const) {
    const how = code === 137 ? 'of a signal: 128 and its number' : `of ${code}`;
    await withPod(trial, 'codes', `an exit code ${how}`, { probe }, async (pod) => {
      requireSame(endWord(await pod.end(trial.patience)), String(code), 'exit code of run');
      requireSame(pod.file('exit'), `${code}\n`, '`exit`');
      await trial.requireNothingLeft(pod);
    });
  }
  await checkFailedSetUp(trial);
  await checkFirstFailure(trial);
  await withPod(
    trial,
    'killed',
    'a process an app leaves behind ends with the pod',
    { probe: ['orphan', '', 'sleep', '300', 'exit', '3'] },
    async (pod) => {
      await trial.ready(pod);
      requireSame(endWord(await pod.end(trial.patience)), '3', 'exit code of run');
      await trial.requireNothingLeft(pod);
    },
  );
}

/** The program is taken out of the app's root after the pod was prepared. */
async function checkFailedSetUp(trial: Trial): Promise<void> {
  await trial.check('codes', '254 and one line when the pod cannot be set up', async () => {
    const pod = await trial.startPrepared({ probe: [] }, (directory) => {
      const upper = join(directory, 'apps/probe/upper/bin');
      mkdirSync(upper);
      writeFileSync(join(upper, 'probe'), 'no program', { mode: 0o644 });
    });
    const ending = await pod.end(trial.patience);
    requireSame(endWord(ending), '254', 'exit code of run');
    requireForm(ending.stderr, /^[^\n]+\n$/, 'standard error');
    requireSame(pod.file('exit'), '254\n', '`exit`');
    requireSame(pod.file('ready'), undefined, '`ready`');
    await trial.requireNothingLeft(pod);
  });
  await trial.clear();
}

/** One app ends well, which ends nothing; then one fails, and the one that would go on is stopped. */
async function checkFirstFailure(trial: Trial): Promise<void> {
  await trial.check(
    'several-apps',
    'the first that fails ends the pod, with its exit code',
    async () => {
      const app = (name: string, ...probe: string[]) => [
        imageReference('probe'),
        `--name=${name}`,
        '--',
        ...probe,
        '---',
      ];
      const pod = await trial.startWords('run', [
        '--quiet',
        trial.option,
        ...app('good', 'exit', '0'),
        ...app('bad', 'sleep', '500', 'exit', '3'),
        ...app('other', 'catch', '4', 'wait', ''),
      ]);
      requireSame(endWord(await pod.end(trial.patience)), '3', 'exit code of run');
      for (const [name, code] of [
        ['good', 0],
        ['bad', 3],
        ['other', 4],
      ] as const) {
        const state = pod.file(`apps/${name}/state`);
        requireForm(state, new RegExp(`^exit=${code}$`, 'm'), `state of ${name}`);
      }
      await trial.requireNothingLeft(pod);
    },
  );
  await trial.clear();
}

/** Stopping pods that do not want to, and the deaths of what runs them. */
export async function checkStopping(trial: Trial): Promise<void> {
  // Catches TERM and INT and goes on.
  const probe = ['catch', '-1', 'say', 'waiting', 'wait', ''];
  const stubborn = { probe };
  const begin = async (pod: Pod) => {
    await trial.ready(pod);
    await pod.line('waiting', trial.patience);
    trial.lookAtHost();
  };
  await withPod(
    trial,
    'signals',
    'INT stops in order, a second one at once',
    stubborn,
    async (pod) => {
      await begin(pod);
      pod.signal('SIGINT');
      await pod.line('got=TERM', 10);
      const asked = Date.now();
      pod.signal('SIGINT');
      requireSame(endWord(await pod.end(trial.patience)), '137', 'exit code of run');
      requireThat(Date.now() - asked < 8000, 'the second INT was not heeded');
      await trial.requireNothingLeft(pod);
    },
  );
  await withPod(trial, 'signals', 'KILL when the grace is over', stubborn, async (pod) => {
    await begin(pod);
    const grace = await graceOf(trial, pod);
    const asked = Date.now();
    pod.signal('SIGTERM');
    requireSame(endWord(await pod.end(grace + trial.patience)), '137', 'exit code of run');
    const took = (Date.now() - asked) / 1000;
    requireThat(took > grace - 1, `the app was killed after ${took} s, its grace is ${grace} s`);
    await trial.requireNothingLeft(pod);
  });
  await checkEarlyStop(trial);
  await withPod(trial, 'stop', 'with --force the pod is ended at once', stubborn, async (pod) => {
    await begin(pod);
    const asked = Date.now();
    requireSame((await trial.gantry('stop', '--force', pod.uuid)).code, 0, 'exit code of stop');
    requireThat(Date.now() - asked < 8000, 'it took longer');
    const state = await trial.laboratory.probeHere('lock', pod.directory);
    requireSame(state, 'lock=free\n', 'the lock when stop has returned');
    const ending = await pod.end(1);
    requireThat(ending.signal !== null, `run ended with ${ending.code} instead of by a signal`);
    await trial.requireNothingLeft(pod);
  });
  await checkDeaths(trial, stubborn, begin);
}

/** Asked before it is ready: `stop` waits for the processes to be found. */
async function checkEarlyStop(trial: Trial): Promise<void> {
  const name = 'a pod that was just started is stopped too';
  await withPod(trial, 'stop', name, { probe: ['wait', ''] }, async (pod) => {
    await pod.until(() => pod.directory.includes('/pods/run/'), trial.patience, 'it was started');
    const { code, stderr } = await trial.gantry('stop', pod.uuid);
    requireThat(code === 0, `gantry stop ended with ${code}: ${stderr.trim()}`);
    await pod.end(trial.patience);
    await trial.requireNothingLeft(pod);
  });
}

async function checkDeaths(
  trial: Trial,
  wishes: { probe: readonly string[] },
  begin: (pod: Pod) => Promise<void>,
): Promise<void> {
  await withPod(
    trial,
    'killed',
    'run killed: the pod is gone, and the lock',
    wishes,
    async (pod) => {
      await begin(pod);
      pod.signal('SIGKILL');
      await pod.end(trial.patience);
      const survivors = await pod.survivors();
      requireSame(survivors, [], 'processes that live on');
      requireSame(
        await trial.laboratory.probeHere('lock', pod.directory),
        'lock=free\n',
        'the lock',
      );
      await trial.check('gc', 'what a killed run left is removed', async () => {
        await requireCollected(trial, pod);
        await trial.requireNothingLeft(pod);
      });
    },
  );
  await withPod(
    trial,
    'killed',
    'init killed: run clears up and ends by a signal',
    wishes,
    async (pod) => {
      await begin(pod);
      process.kill(pod.init, 'SIGKILL');
      const ending = await pod.end(trial.patience);
      requireThat(ending.signal !== null, `run ended with ${ending.code}`);
      requireForm(pod.file('exit'), /^(137|254)\n$/, '`exit`');
      await trial.requireNothingLeft(pod);
      await requireCollected(trial, pod);
    },
  );
}

/** Seconds, as the pod's plan has them. */
async function graceOf(trial: Trial, pod: Pod): Promise<number> {
  const { stdout } = await trial.gantry('plan', pod.uuid);
  return Number(/^ *grace (\d+)/m.exec(stdout)?.[1] ?? 10);
}

/** One check that has a pod to itself. */
export async function withPod(
  trial: Trial,
  topic: Parameters<Trial['check']>[0],
  name: string,
  wishes: Parameters<Trial['start']>[0],
  make: (pod: Pod) => Promise<void>,
): Promise<void> {
  await trial.check(topic, name, async () => make(await trial.start(wishes)));
  await trial.clear();
}
