import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import type { Feature } from '../../src/stage1/features.ts';
import { withPod } from './endings.ts';
import { requireForm, requireSame, requireThat } from './expect.ts';
import { endingOf, RESTRICTED } from './laboratory.ts';
import { endWord, type Pod } from './pod.ts';
import { type PodWishes, type Trial, Uncheckable } from './trial.ts';

const HOSTNAME = 'conformance';
/** What every Linux program may expect of /dev, and what container managers add. */
const USUAL_DEVICES =
  /^(null|zero|full|random|urandom|tty|console|ptmx|pts|shm|mqueue|fd|core|stdin|stdout|stderr|log|initctl|hugepages|net)$/;

/** The features that one pod can have at once. */
const SURROUNDINGS: readonly Feature[] = [
  ...(['hostname', 'net-none', 'read-only-rootfs', 'empty-volumes', 'private-processes'] as const),
  ...(['private-ipc', 'masked-paths', 'own-devices', 'own-kernel'] as const),
];

/** Whether each feature that the manifest claims is there. */
export async function checkFeatures(trial: Trial): Promise<void> {
  const server = await listenLocally();
  try {
    await checkSurroundings(trial, server.port);
    await checkHostNetwork(trial, server.port);
  } finally {
    server.close();
  }
  await checkIsolators(trial);
  await checkProcesses(trial);
  await checkSilentStreams(trial);
  await checkOwnUsers(trial);
  await checkCopiedRoot(trial);
  await checkHostVolumes(trial);
  await checkDevices(trial);
  await checkTravellingMounts(trial);
  await checkTerminal(trial);
  await checkMachined(trial);
}

/** What an app finds around it: as many features as one pod can have at once. */
async function checkSurroundings(trial: Trial, port: string): Promise<void> {
  const key = String(process.pid + 0x6a000000);
  requireSame(await trial.laboratory.probeHere('make-shm', key), 'shm=ok\n', 'shared memory');
  try {
    await lookAround(trial, port, key);
    await checkHostIpc(trial, key);
  } finally {
    await trial.laboratory.probeHere('remove-shm', key);
    await trial.clear();
  }
}

async function lookAround(trial: Trial, port: string, key: string): Promise<void> {
  if (!SURROUNDINGS.some((feature) => trial.isChecked(feature))) return;
  const wanted = (feature: Feature, word: string) => (trial.features.has(feature) ? [word] : []);
  const wishes: PodWishes = {
    image: trial.features.has('empty-volumes') ? 'volume' : 'probe',
    options: [...wanted('hostname', `--hostname=${HOSTNAME}`), ...wanted('net-none', '--net=none')],
    appOptions: wanted('read-only-rootfs', '--readonly-rootfs'),
    probe: [
      ...['report', '', 'create', '/made', 'create', '/data/made', 'connect', port, 'shm', key],
      ...['write', '/proc/sys/kernel/domainname', 'write', '/proc/sysrq-trigger'],
      ...['say', '(keys)', 'show', '/proc/keys', 'say', '(process)'],
      ...['show', `/proc/${process.pid}/cmdline`, 'say', '(devices)'],
      ...['list', '/dev', 'write', '/dev/null', 'say', 'seen', 'exit', '0'],
    ],
  };
  let pod: Pod | undefined;
  let failure: unknown;
  try {
    pod = await trial.start(wishes);
    await pod.end(trial.patience);
    requireThat(pod.lines.includes('seen'), 'the app has not come to its end');
  } catch (error) {
    failure = error;
  }
  const look = async (topic: Feature, name: string, make: (pod: Pod) => void) =>
    await trial.check(topic, name, () => {
      if (pod === undefined || failure !== undefined) throw failure;
      make(pod);
    });
  await look('hostname', 'the app has the name it was given', (seen) => {
    requireSame(seen.value('hostname'), HOSTNAME, 'host name');
  });
  await look('net-none', 'what listens on the loopback of the host is not reached', (seen) => {
    requireThat(seen.value('connect') !== 'ok', 'it is');
  });
  await look('read-only-rootfs', 'nothing can be written to the root', (seen) => {
    requireSame(seen.value('create:/made'), 'Read-only file system', 'making a file');
  });
  await look('empty-volumes', 'the volume can be written to', (seen) => {
    requireSame(seen.value('create:/data/made'), 'ok', 'making a file');
  });
  await look('private-processes', 'processes of the host are not seen', (seen) => {
    const [line = ''] = seen.lines.slice(seen.lines.indexOf('(process)') + 1);
    const own = readFileSync('/proc/self/cmdline', 'utf8').slice(0, 20);
    requireThat(!line.includes(own), `the app sees process ${process.pid} of the host`);
    requireThat(Number(seen.value('pid')) > 0, 'there is no /proc');
  });
  await look('private-ipc', 'shared memory of the host is not seen', (seen) => {
    requireSame(seen.value('shm'), 'No such file or directory', 'shared memory of the host');
  });
  await look('masked-paths', 'the kernel is not written to, its keys are not read', (seen) => {
    for (const path of ['/proc/sys/kernel/domainname', '/proc/sysrq-trigger']) {
      requireThat(seen.value(`write:${path}`) !== 'ok', `${path} can be written to`);
    }
    const from = seen.lines.indexOf('(keys)') + 1;
    const keys = seen.lines.slice(from, seen.lines.indexOf('(process)'));
    requireThat(!keys.some((line) => /^content=[0-9a-f]{8} /.test(line)), '/proc/keys is read');
  });
  await look('own-devices', 'the devices of the host are not seen', (seen) => {
    const devices = seen.values('entry:/dev');
    const ofHost = readdirSync('/dev').filter((name) => !USUAL_DEVICES.test(name));
    requireSame(
      devices.filter((name) => ofHost.includes(name)),
      [],
      'devices of the host',
    );
    requireSame(seen.value('write:/dev/null'), 'ok', '/dev/null');
  });
  await look('own-kernel', 'the kernel was started for the pod', (seen) => {
    const host = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    requireThat(seen.value('boot') !== host, 'it is the one of the host');
  });
}

async function checkHostIpc(trial: Trial, key: string): Promise<void> {
  const wishes = { options: ['--ipc=parent'], probe: ['shm', key, 'exit', '0'] };
  const name = 'shared memory of the host is seen';
  await withPod(trial, 'host-ipc', name, wishes, async (pod) => {
    await pod.end(trial.patience);
    requireSame(pod.value('shm'), 'ok', 'shared memory of the host');
  });
}

async function checkSilentStreams(trial: Trial): Promise<void> {
  const wishes = { appOptions: ['--stdout=null'], probe: ['report', '', 'exit', '5'] };
  const name = 'nothing comes of the output, and the app runs';
  await withPod(trial, 'silent-streams', name, wishes, async (pod) => {
    requireSame(endWord(await pod.end(trial.patience)), '5', 'exit code of run');
    requireSame(pod.lines, [], 'output');
  });
}

async function checkHostNetwork(trial: Trial, port: string): Promise<void> {
  const wishes = { options: ['--net=host'], probe: ['connect', port, 'exit', '0'] };
  const name = 'what listens on the loopback of the host is reached';
  await withPod(trial, 'net-host', name, wishes, async (pod) => {
    await pod.end(trial.patience);
    requireSame(pod.value('connect'), 'ok', 'connecting');
  });
}

async function checkIsolators(trial: Trial): Promise<void> {
  const probe = ['report', '', 'exit', '0'];
  const name = 'the app keeps the set it was given and no other';
  await withPod(trial, 'capabilities', name, { image: 'restricted', probe }, async (pod) => {
    await pod.end(trial.patience);
    for (const set of ['CapEff', 'CapBnd']) {
      requireSame(pod.value(set), `${set}: ${RESTRICTED.mask}`, set);
    }
  });
  const wishes: PodWishes = { image: 'unprivileged', probe };
  await withPod(trial, 'no-new-privileges', 'the flag is set', wishes, async (pod) => {
    await pod.end(trial.patience);
    requireSame(pod.value('NoNewPrivs'), 'NoNewPrivs: 1', 'the flag');
  });
  await checkSystemCalls(trial);
  await checkLimits(trial);
}

async function checkSystemCalls(trial: Trial): Promise<void> {
  const name = 'a call that was taken away returns the errno that was chosen';
  const wishes: PodWishes = { image: 'filtered', probe: ['personality', '', 'exit', '0'] };
  await withPod(trial, 'seccomp', name, wishes, async (pod) => {
    await pod.end(trial.patience);
    requireSame(pod.value('personality'), 'Operation not supported', 'the call');
  });
}

/** Of all limits that of processes, which is exceeded in no time. */
async function checkLimits(trial: Trial): Promise<void> {
  const wishes = { appOptions: ['--pids=10'], probe: ['children', '', 'exit', '0'] };
  await withPod(trial, 'limits', 'an app gets no more processes', wishes, async (pod) => {
    await pod.end(trial.patience);
    requireSame(pod.value('children'), '9', 'children');
    await trial.requireNothingLeft(pod);
  });
}

/** A read-only mount would let it be written to. */
async function checkDevices(trial: Trial): Promise<void> {
  const wishes = {
    options: ['--volume=log,kind=host,source=/dev/kmsg,readOnly=true'],
    appOptions: ['--mount=volume=log,target=/log'],
    probe: ['write', '/log', 'exit', '0'],
  };
  const name = 'a device that is to be read-only is not written to';
  await withPod(trial, 'device-access', name, wishes, async (pod) => {
    await pod.end(trial.patience);
    requireSame(pod.value('write:/log'), 'Operation not permitted', 'writing to the device');
  });
}

/** Limits and labels of the app's process, and parameters of its kernel. */
async function checkProcesses(trial: Trial): Promise<void> {
  const shows = async (feature: Feature, name: string, wishes: PodWishes, line: RegExp) =>
    await withPod(trial, feature, name, wishes, async (pod) => {
      const { stderr } = await pod.end(trial.patience);
      requireAskable(stderr);
      if (/is not enabled where the pod runs/.test(stderr)) throw new Uncheckable(stderr.trim());
      requireThat(
        pod.values('content').some((content) => line.test(content)),
        `the app has not seen ${line}: ${stderr.trim()}`,
      );
    });
  const show = (path: string) => ['show', path, 'exit', '0'];
  await shows(
    'rlimits',
    'the app has the limit it was given',
    { appOptions: ['--rlimit=nofile=77:88'], probe: show('/proc/self/limits') },
    /^Max open files +77 +88 /,
  );
  await shows(
    'oom-score',
    'the app has the score it was given',
    { appOptions: ['--oom-score-adj=777'], probe: show('/proc/self/oom_score_adj') },
    /^777$/,
  );
  await shows(
    'sysctl',
    "the parameter is the pod's",
    {
      options: ['--sysctl=net.core.somaxconn=77'],
      probe: show('/proc/sys/net/core/somaxconn'),
    },
    /^77$/,
  );
  await shows(
    'labels',
    'the app has the label it was given',
    { appOptions: ['--apparmor-profile=unconfined'], probe: show('/proc/self/attr/current') },
    /^unconfined$/,
  );
}

async function checkOwnUsers(trial: Trial): Promise<void> {
  const wishes = {
    options: ['--private-users'],
    probe: ['show', '/proc/self/uid_map', 'create', '/made', 'exit', '0'],
  };
  const name = 'root of the pod is none of the users of the host';
  await withPod(trial, 'private-users', name, wishes, async (pod) => {
    requireSame(endWord(await pod.end(trial.patience)), '0', 'exit code of run');
    const map = (pod.value('content') ?? '').trim().split(/\s+/).map(Number);
    requireThat(map[0] === 0 && (map[1] ?? 0) > 0, `the map of users is ${map.join(' ')}`);
    requireSame(pod.value('create:/made'), 'ok', 'making a file');
    await trial.requireNothingLeft(pod);
  });
}

async function checkCopiedRoot(trial: Trial): Promise<void> {
  const wishes = { options: ['--no-overlay'], probe: ['create', '/made', 'exit', '0'] };
  await withPod(trial, 'no-overlay', 'the app runs in a copy of the image', wishes, async (pod) => {
    requireSame(endWord(await pod.end(trial.patience)), '0', 'exit code of run');
    requireSame(pod.value('create:/made'), 'ok', 'making a file');
    requireThat(
      existsSync(join(pod.directory, 'apps/probe/rootfs/made')),
      'the file is not in apps/probe/rootfs',
    );
    await trial.requireNothingLeft(pod);
  });
}

async function checkHostVolumes(trial: Trial): Promise<void> {
  await trial.check('host-volumes', 'a directory of the host is read and written', async () => {
    const source = join(trial.laboratory.directory, 'volume');
    mkdirSync(source, { recursive: true });
    writeFileSync(join(source, 'given'), 'of the host\n');
    const ended = await trial.runToEnd({
      image: 'volume',
      options: [`--volume=data,kind=host,source=${source},readOnly=false`],
      probe: ['show', '/data/given', 'create', '/data/made', 'exit', '0'],
    });
    requireAskable(ended.stderr);
    requireSame(ended.code, 0, `exit code of run (${ended.stderr.trim()})`);
    requireForm(ended.stdout, /content=of the host/, 'what the app read');
    requireThat(existsSync(join(source, 'made')), 'what the app made is not there');
  });
  await trial.clear();
}

/** In a mount namespace of the check's own, whose mounts at the volume are shared, as a host's are. */
const SHARED_VOLUME = [
  ...['unshare', '--mount', '--propagation', 'private', 'sh', '-c'],
  'mount -t tmpfs conformance "$1" && mount --make-shared "$1" && shift && exec "$@"',
  'sh',
];
const MOUNT_BELOW = 'mkdir "$1/below" && mount -t tmpfs below "$1/below" && touch "$1/below/there"';

async function checkTravellingMounts(trial: Trial): Promise<void> {
  await trial.check('travelling-mounts', 'a later mount of the host comes to the app', async () => {
    const source = join(trial.laboratory.directory, 'travelling');
    mkdirSync(source, { recursive: true });
    const option = `--volume=data,kind=host,source=${source},propagation=slave`;
    requireAskable((await trial.gantry('run', option)).stderr);
    const pod = await trial.startBehind([...SHARED_VOLUME, source], {
      image: 'volume',
      options: [option],
      probe: ['say', 'waiting', 'await', '/data/below/there', 'exit', '0'],
    });
    await pod.line('waiting', trial.patience);
    const words = [
      '--target',
      String(pod.run),
      '--mount',
      '--',
      'sh',
      '-c',
      MOUNT_BELOW,
      'sh',
      source,
    ];
    const mounting = spawn('nsenter', words, { stdio: ['ignore', 'pipe', 'pipe'] });
    const { code, stderr } = await endingOf(mounting, 10, 'mounting below the volume');
    requireThat(code === 0, `cannot mount below the volume: ${stderr.trim()}`);
    await pod.end(trial.patience);
    requireSame(pod.value('await:/data/below/there'), 'ok', 'what was mounted below the volume');
  });
  await trial.clear();
}

/** @throws Uncheckable for words this Gantry does not have */
export function requireAskable(stderr: string): void {
  if (/unknown (option|command)/.test(stderr)) throw new Uncheckable(stderr.trim());
}

async function checkTerminal(trial: Trial): Promise<void> {
  await trial.check('interactive', 'the app has the terminal of the caller', async () => {
    const { words } = trial.laboratory.installation.command(
      'run',
      ...trial.words({ options: ['--interactive'], probe: ['terminal', '', 'exit', '9'] }),
    );
    const line = `stty cols 132 rows 43; exec ${words.map((word) => `'${word}'`).join(' ')}`;
    const child = spawn('script', ['-qefc', line, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    child.once('error', () => {});
    const ended = await endingOf(child, trial.patience, 'gantry run --interactive').catch(
      (error) => {
        if (error.code === 'ENOENT') throw new Uncheckable('there is no script(1) on this host');
        throw error;
      },
    );
    requireForm(ended.stdout, /terminal=1 size=132x43 foreground=1/, 'what the app said');
    requireSame(ended.code, 9, 'exit code of run');
  });
  await trial.clear();
}

async function checkMachined(trial: Trial): Promise<void> {
  await trial.check('machined', 'machinectl shows the pod', async () => {
    if (!existsSync('/run/systemd/machine')) throw new Uncheckable('machined does not run here');
    const pod = await trial.startReady({ probe: ['wait', ''] });
    const child = spawn('machinectl', ['list', '--no-legend', '--full'], { stdio: 'pipe' });
    const { stdout } = await endingOf(child, 10, 'machinectl list');
    requireThat(stdout.includes(pod.uuid), `it shows ${JSON.stringify(stdout)}`);
  });
  await trial.clear();
}

/** Something to be reached, or not. */
async function listenLocally(): Promise<{ readonly port: string; close(): void }> {
  const server: Server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port to listen on');
  return { port: String(address.port), close: () => server.close() };
}
