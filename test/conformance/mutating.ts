import { requireForm, requireSame, requireThat } from './expect.ts';
import { requireAskable } from './granting.ts';
import { imageReference } from './laboratory.ts';
import { endWord, type Pod } from './pod.ts';
import type { Trial } from './trial.ts';

/** Apps that come to a running pod and go again, while it runs on. */
export async function checkMutablePod(trial: Trial): Promise<void> {
  let pod: Pod | undefined;
  const began = await trial.check('mutable', 'a sandbox runs without an app', async () => {
    requireAskable((await trial.gantry('app sandbox', '--help')).stderr);
    pod = await trial.startSandbox();
    await trial.ready(pod);
    trial.lookAtHost();
  });
  if (began && pod !== undefined) await changeApps(trial, pod);
  await trial.clear();
}

async function changeApps(trial: Trial, pod: Pod): Promise<void> {
  const call = async (verb: string, ...words: string[]) => {
    const { code, stderr } = await trial.gantry(`app ${verb}`, pod.uuid, ...words);
    requireThat(code === 0, `gantry app ${verb} ended with ${code}: ${stderr.trim()}`);
  };
  const add = (name: string, ...probe: string[]) =>
    call('add', imageReference('probe'), `--name=${name}`, '--', ...probe);
  const state = (name: string) => pod.file(`apps/${name}/state`);
  await trial.check('mutable', 'an app is added, and started', async () => {
    await add('one', 'catch', '4', 'say', 'one waits', 'wait', '');
    await call('start', '--app=one');
    await pod.until(() => pod.lines.includes('one waits'), trial.patience, 'the app said so');
    requireForm(state('one'), /^pid=\d+\nstarted=[\d.]+\n$/, 'its state');
  });
  await trial.check(
    'mutable',
    'another one comes and ends by itself, and the pod runs on',
    async () => {
      await add('two', 'exit', '6');
      await call('start', '--app=two');
      await pod.until(
        () => /^exit=6$/m.test(state('two') ?? ''),
        trial.patience,
        'its end was noted',
      );
    },
  );
  await trial.check('mutable', 'a command runs in an app that came later', async () => {
    const entered = await trial.gantry('enter', '--app=one', pod.uuid, '/bin/probe', 'exit', '8');
    requireSame(entered.code, 8, 'exit code of enter');
  });
  await trial.check('mutable', 'an app is stopped in order', async () => {
    await call('stop', '--app=one');
    await pod.until(
      () => /^exit=4$/m.test(state('one') ?? ''),
      trial.patience,
      'its end was noted',
    );
    requireThat(pod.values('got').includes('TERM'), 'the app has not seen TERM');
  });
  await trial.check(
    'mutable',
    'an app that has ended is removed, and its name is free',
    async () => {
      for (const name of ['one', 'two']) {
        await call('rm', `--app=${name}`);
        requireSame(state(name), undefined, `state of ${name}`);
      }
      await add('one', 'wait', '');
      await call('start', '--app=one');
    },
  );
  await trial.check(
    'mutable',
    'the pod stops with what runs in it, and nothing is left',
    async () => {
      requireSame((await trial.gantry('stop', pod.uuid)).code, 0, 'exit code of stop');
      requireSame(endWord(await pod.end(trial.patience)), '0', 'exit code of run');
      await trial.requireNothingLeft(pod);
    },
  );
}
