import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { requireForm, requireSame, requireThat } from './expect.ts';
import { endingOf } from './laboratory.ts';
import { endWord, type Pod } from './pod.ts';
import { descendantsOf, findProcess, isSame, lockDescriptors, processesWith } from './processes.ts';
import type { Trial } from './trial.ts';

const TIME = /^\d+\.\d{9}\n$/;
const RUNNING = /^pid=(\d+)\nstarted=(\d+\.\d{9})\n$/;
const ENDED = /^pid=(\d+)\nstarted=(\d+\.\d{9})\nfinished=(\d+\.\d{9})\nexit=(\d+)\n$/;
/** What Gantry gives every app (specs/lifecycle.md). */
const ENVIRONMENT = new Set([
  'PATH',
  'HOME',
  'LOGNAME',
  'SHELL',
  'USER',
  'TERM',
  'AC_APP_NAME',
  'container',
]);
/** What the app says when it has come so far, and is to be known by. */
const WAITING = `waiting-${process.pid}`;
/** What the app answers an orderly stop with. */
const CODE = 5;

/**
 * One pod from its start to an orderly stop, looked at from all sides.
 * @returns whether there was a pod to look at
 */
export async function checkServingPod(trial: Trial): Promise<boolean> {
  const manager = await startManager(trial);
  try {
    let pod: Pod | undefined;
    const probe = ['catch', String(CODE), 'report', '', 'say', WAITING, 'wait', ''];
    const began = Date.now() / 1000;
    const ready = await trial.check('lifecycle', 'a pod starts and is ready', async () => {
      pod = await trial.startReady(
        { probe },
        {
          NOTIFY_SOCKET: manager.socket,
          CONFORMANCE: 'of the caller',
        },
      );
      await pod.line(WAITING, trial.patience);
      trial.lookAtHost();
    });
    if (pod === undefined || !ready) return false;
    await checkFiles(trial, pod, began);
    await checkLock(trial, pod);
    await checkManagerHears(trial, pod, manager, 'READY=1');
    await checkEnter(trial, pod);
    await checkSignals(trial, pod);
    await checkStop(trial, pod);
    await checkManagerHears(trial, pod, manager, 'STOPPING=1');
    manager.process.kill('SIGKILL');
    await checkEnd(trial, pod);
    await checkRefusedLock(trial);
    return true;
  } finally {
    manager.process.kill('SIGKILL');
    await trial.clear();
  }
}

interface Manager {
  readonly process: ChildProcess;
  readonly socket: string;
  said(): string;
}

/** What a service manager's socket hears. */
async function startManager(trial: Trial): Promise<Manager> {
  const socket = join(trial.laboratory.directory, `notify-${process.hrtime.bigint()}`);
  const child = trial.laboratory.startProbe('listen', socket);
  let said = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  while (!said.includes('listening=')) await sleep(5);
  return { process: child, socket, said: () => said };
}

async function checkFiles(trial: Trial, pod: Pod, began: number): Promise<void> {
  await trial.check('lifecycle', '`pid` names the run process and an init below it', () => {
    requireSame(pod.file('pid'), `${pod.run} ${pod.init}\n`, '`pid`');
    const init = findProcess(pod.init);
    requireThat(init !== undefined, `there is no process ${pod.init}, which \`pid\` calls init`);
    const generations = [init.parent, findProcess(init.parent)?.parent];
    generations.push(findProcess(generations[1] ?? 0)?.parent);
    requireThat(
      generations.includes(pod.run),
      `init, ${pod.init}, is no child, grandchild or great-grandchild of run, ${pod.run}`,
    );
  });
  await trial.check('lifecycle', 'the files are written in order, with their times', () => {
    for (const file of ['started', 'ready']) requireForm(pod.file(file), TIME, `\`${file}\``);
    const state = pod.file('apps/probe/state');
    requireForm(state, RUNNING, '`apps/probe/state`');
    const appStarted = Number(RUNNING.exec(state ?? '')?.[2]);
    const started = Number(pod.file('started'));
    const ready = Number(pod.file('ready'));
    requireThat(
      began <= started && started <= appStarted && appStarted <= ready,
      `the times are out of order: asked for at ${began}, set up at ${started}, app at ${appStarted}, ready at ${ready}`,
    );
    requireThat(pod.fileTime('pid') <= ready, '`pid` was written after `ready`');
    for (const [file, time] of [
      ['started', started],
      ['ready', ready],
    ] as const) {
      const written = pod.fileTime(file);
      requireThat(
        Math.abs(written - time) < 2,
        `\`${file}\` says ${time}, and was written at ${written}`,
      );
    }
    requireSame(pod.file('exit'), undefined, '`exit` of a running pod');
  });
  await trial.check('lifecycle', "the app's state has its PID in the pod", () => {
    requireSame(RUNNING.exec(pod.file('apps/probe/state') ?? '')?.[1], pod.value('pid'), 'pid=');
  });
  await trial.check('lifecycle', 'gantry status says that it runs', async () => {
    const { code, stdout } = await trial.gantry('status', pod.uuid);
    requireSame(code, 0, 'exit code of status');
    requireForm(stdout, /^state=running$/m, 'status');
    requireForm(stdout, new RegExp(`^pid=${pod.init}$`, 'm'), 'status');
  });
  await trial.check('lifecycle', 'the app finds the standard streams open and nothing else', () => {
    requireSame(pod.values('descriptor'), [], 'descriptors of the app');
  });
  await trial.check('log-lines', 'each line has its time and app', () => {
    for (const line of pod.rawLines) requireForm(line, /^\[ *\d+\.\d+\] probe\[\d+\]: /, 'a line');
  });
  await trial.check('lifecycle', 'the app has the environment of its image and no other', () => {
    const names = pod.lines.flatMap((line) => /^env:([^=]*)=/.exec(line)?.[1] ?? []);
    requireSame(
      names.filter((name) => !ENVIRONMENT.has(name)),
      [],
      'other variables',
    );
  });
  await trial.check('lifecycle', 'the app has no signal blocked or ignored', () => {
    for (const set of ['SigBlk', 'SigIgn']) {
      requireSame(pod.value(set), `${set}: 0000000000000000`, set);
    }
  });
  await trial.check('lifecycle', "the keys of the caller's terminal do not reach the app", () => {
    const session = findProcess(pod.run)?.session;
    const apps = processesWith(WAITING).filter(({ pid }) => pid !== pod.run);
    requireThat(trial.features.has('own-kernel') || apps.length > 0, 'the app is not to be found');
    requireThat(
      apps.every((app) => app.session !== session),
      'it is in the session of run',
    );
  });
}

async function checkLock(trial: Trial, pod: Pod): Promise<void> {
  await trial.check('lock', 'it is held while the pod runs', async () => {
    requireSame(await lockState(trial, pod), 'lock=held', 'the lock');
  });
  await trial.check('lock', 'by the run process', () => {
    requireThat(
      lockDescriptors(pod.run, pod.directory).length > 0,
      `run, ${pod.run}, does not hold the lock of the pod directory`,
    );
  });
  await trial.check('lock', 'and by no other process of the pod', () => {
    const others = descendantsOf(pod.run).filter(
      ({ pid }) => lockDescriptors(pid, pod.directory).length > 0,
    );
    requireSame(
      others.map(({ pid, name }) => `${name}[${pid}]`),
      [],
      'processes that have it too',
    );
  });
}

/** Nobody but Gantry should start `run`, and nobody else has the lock. */
async function checkRefusedLock(trial: Trial): Promise<void> {
  await trial.check('lock', 'run refuses a descriptor that is not the lock', async () => {
    const { uuid, directory } = await trial.prepare({ probe: ['exit', '0'] });
    const manifest = JSON.parse(readFileSync(join(directory, 'stage1/manifest.json'), 'utf8'));
    const child = spawn(join(directory, 'stage1', manifest.entrypoints.run), [uuid], {
      cwd: directory,
      env: { PATH: process.env['PATH'], GANTRY_LOCK_FD: '0' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const { code, stderr } = await endingOf(child, trial.patience, 'run');
    requireSame(code, 254, 'exit code of run');
    requireForm(stderr, /^[^\n]+\n$/, 'standard error');
    await trial.gantry('rm', uuid);
  });
}

async function lockState(trial: Trial, pod: Pod): Promise<string> {
  return (await trial.laboratory.probeHere('lock', pod.directory)).trim();
}

async function checkManagerHears(
  trial: Trial,
  pod: Pod,
  manager: Manager,
  word: string,
): Promise<void> {
  await trial.check('notify', `${word} is sent`, async () => {
    const deadline = Date.now() + 2000;
    while (!manager.said().includes(`notified ${word}\n`)) {
      requireThat(Date.now() < deadline, `the service manager of pod ${pod.uuid} has not heard it`);
      await sleep(10);
    }
  });
}

/** What a command in the pod reports, as the values of its keys. */
async function enter(trial: Trial, pod: Pod, ...words: string[]) {
  const { code, stdout, stderr } = await trial.gantry('enter', pod.uuid, ...words);
  return { code, lines: stdout.replaceAll('\r', '').split('\n').slice(0, -1), stderr };
}

async function checkEnter(trial: Trial, pod: Pod): Promise<void> {
  let found: string[] = [];
  const keys = ['ns-pid', 'ns-mnt', 'ns-ipc', 'ns-uts', 'ns-net', 'hostname', 'boot'];
  const may = ['CapEff', 'CapBnd', 'CapInh', 'NoNewPrivs', 'umask'];
  const own = (names: readonly string[], lines: readonly string[]) =>
    lines.filter((line) => names.some((name) => line.startsWith(`${name}=`)));
  await trial.check('enter', 'a command runs', async () => {
    const { code, lines, stderr } = await enter(trial, pod, '/bin/probe', 'report', '');
    requireThat(code === 0, `enter ended with ${code}: ${stderr.trim()}`);
    requireThat(lines.includes('reported=yes'), 'its output has not come');
    found = lines;
  });
  await trial.check('enter', "in the app's namespaces", () => {
    requireSame(own(keys, found), own(keys, pod.lines), 'namespaces');
  });
  await trial.check('enter', 'in the control groups of the pod', () => {
    requireSame(own(['cgroup'], found), own(['cgroup'], pod.lines), 'control groups');
  });
  await trial.check('enter', 'as uid 0 with what the app may do', () => {
    requireSame(own(['uid', 'gid'], found), ['uid=0', 'gid=0'], 'user');
    requireSame(own(may, found), own(may, pod.lines), 'capabilities, no-new-privileges and umask');
  });
  await trial.check('enter', "with the app's environment", () => {
    const environment = (lines: readonly string[]) =>
      lines.filter((line) => line.startsWith('env:') && !line.startsWith('env:TERM=')).sort();
    requireSame(environment(found), environment(pod.lines), 'environment');
  });
  await trial.check('enter', 'with no descriptors but the standard streams', () => {
    requireSame(own(['descriptor'], found), [], 'descriptors');
  });
  await trial.check('enter', "ends with the command's exit code", async () => {
    requireSame((await enter(trial, pod, '/bin/probe', 'exit', '7')).code, 7, 'exit code');
  });
  await trial.check('enter', 'a command whose enter is killed ends too', async () => {
    const mark = `mark-${process.hrtime.bigint()}`;
    const words = [pod.uuid, '/bin/probe', 'say', mark, 'wait', ''];
    const entering = trial.laboratory.installation.start('enter', ...words);
    await new Promise((resolve) => entering.stdout?.once('data', resolve).once('end', resolve));
    const entered = processesWith(mark);
    requireThat(trial.features.has('own-kernel') || entered.length > 0, 'the command does not run');
    entering.kill('SIGKILL');
    const deadline = Date.now() + 2000;
    while (entered.some(isSame) && Date.now() < deadline) await sleep(20);
    requireSame(entered.filter(isSame), [], 'what lives on');
  });
  await trial.check('enter', '254 when the command cannot be run', async () => {
    const { code, stderr } = await enter(trial, pod, '/nothing');
    requireSame(code, 254, 'exit code');
    requireForm(stderr, /^.+\n$/, 'standard error');
  });
}

async function checkSignals(trial: Trial, pod: Pod): Promise<void> {
  for (const name of ['HUP', 'QUIT', 'USR1', 'USR2', 'WINCH', 'CONT'] as const) {
    await trial.check('signals', `${name} is passed on to the app`, async () => {
      pod.signal(`SIG${name}`);
      await pod.line(`got=${name}`, Math.min(trial.patience, 10));
    });
  }
}

async function checkStop(trial: Trial, pod: Pod): Promise<void> {
  const ask = () => pod.signal('SIGTERM');
  const asked = await trial.check('stop', 'gantry stop asks run to stop the pod', async () => {
    requireSame((await trial.gantry('stop', pod.uuid)).code, 0, 'exit code of stop');
  });
  if (!asked) ask();
  await trial.check('signals', 'TERM reaches the app', async () => {
    await pod.end(trial.patience);
    requireThat(pod.values('got').includes('TERM'), 'the app has not seen it');
  });
}

async function checkEnd(trial: Trial, pod: Pod): Promise<void> {
  // The checks below say what is wrong with a pod that does not end.
  await pod.end(trial.patience).catch(() => {});
  await trial.check('codes', "run ends with the app's exit code", async () => {
    requireSame(endWord(await pod.end(trial.patience)), String(CODE), 'exit code');
  });
  await trial.check('lifecycle', '`exit` and the state of the app tell the end', () => {
    requireSame(pod.file('exit'), `${CODE}\n`, '`exit`');
    const state = pod.file('apps/probe/state');
    requireForm(state, ENDED, '`apps/probe/state`');
    const [, , started, finished, code] = ENDED.exec(state ?? '') ?? [];
    requireThat(Number(started) <= Number(finished), 'it finished before it started');
    requireSame(code, String(CODE), 'exit=');
  });
  await trial.check('lifecycle', 'gantry status says that it has ended', async () => {
    const { stdout } = await trial.gantry('status', pod.uuid);
    requireForm(stdout, /^state=exited$/m, 'status');
    requireForm(stdout, new RegExp(`^app-probe=${CODE}$`, 'm'), 'status');
  });
  await trial.check('lock', 'it is free when run has ended', async () => {
    requireSame(await lockState(trial, pod), 'lock=free', 'the lock');
  });
  await trial.check('killed', 'an orderly stop leaves nothing on the host', async () => {
    await trial.requireNothingLeft(pod);
  });
  await trial.check('enter', '254 when the pod does not run', async () => {
    requireSame((await enter(trial, pod, '/bin/probe')).code, 254, 'exit code');
  });
  await trial.check('gc', 'an ended pod is collected', async () => {
    await requireCollected(trial, pod);
  });
}

/** @throws Error unless gc removes the pod */
export async function requireCollected(trial: Trial, pod: Pod): Promise<void> {
  const { code, stderr } = await trial.gantry('gc', '--grace-period=0s');
  requireThat(code === 0, `gantry gc ended with ${code}: ${stderr.trim()}`);
  const { stdout } = await trial.gantry('list', '--full');
  requireThat(!stdout.includes(pod.uuid), `the pod is still there: ${stderr.trim()}`);
}
