import { withPod } from './endings.ts';
import { requireForm, requireSame, requireThat } from './expect.ts';
import { imageReference, ORDINARY, VALIDATOR } from './laboratory.ts';
import { endWord, type Pod } from './pod.ts';
import type { Trial } from './trial.ts';

/**
 * What appc's validator of executors checks (appc/spec, ace/validator.go), and what spec/ace.md asks for
 * beside: the README here says which of its functions is which check.
 */

const STANDARD_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** File systems and devices of a Linux executor (ace.md, "Default mount points", "Default devices"). */
const FILE_SYSTEMS = ['/proc', '/sys', '/dev/pts', '/dev/shm'];
const DEVICES = ['null', 'zero', 'full', 'random', 'urandom', 'tty', 'ptmx'];

export async function checkExecutor(trial: Trial): Promise<void> {
  await checkApp(trial);
  await checkUser(trial);
  await checkCleanCopy(trial);
  await checkMountPoints(trial);
  await checkCompany(trial);
  await checkMemoryLimit(trial);
  await checkEventHandlers(trial);
}

/** One app that looks at all that is set up for it. */
async function checkApp(trial: Trial): Promise<void> {
  const wishes = {
    probe: [
      ...['report', '', 'show', '/etc/hosts', 'list', '/dev', 'write', '/dev/null'],
      ...FILE_SYSTEMS.flatMap((path) => ['mount', path]),
      ...['read', '/etc/hostname', 'read', '/etc/mtab', 'exit', '0'],
    ],
    appOptions: [
      '--name=main',
      `--working-dir=${VALIDATOR.workingDirectory}`,
      ...VALIDATOR.environment.map(({ name, value }) => `--environment=${name}=${value}`),
    ],
  };
  const name = 'its PATH, name and variables are in the environment';
  await withPod(trial, 'executor', name, wishes, async (pod) => {
    requireSame(endWord(await pod.end(trial.patience)), '0', 'exit code of run');
    requireSame(pod.value('env:PATH'), STANDARD_PATH, 'PATH');
    requireSame(pod.value('env:AC_APP_NAME'), 'main', 'AC_APP_NAME');
    requireForm(pod.value('env:container'), /./, 'container');
    for (const { name, value } of VALIDATOR.environment) {
      requireSame(pod.value(`env:${name}`), value, name);
    }
    await trial.check('executor', 'it runs in its working directory', () => {
      requireSame(pod.value('cwd'), VALIDATOR.workingDirectory, 'working directory');
    });
    await trial.check('executor', 'the file systems and devices of Linux are there', () => {
      for (const path of FILE_SYSTEMS) {
        requireThat(pod.value(`mount:${path}`) !== 'none', `nothing is mounted at ${path}`);
      }
      const devices = pod.values('entry:/dev');
      requireSame(
        DEVICES.filter((device) => !devices.includes(device)),
        [],
        'devices that are missing',
      );
      requireSame(pod.value('write:/dev/null'), 'ok', 'writing to /dev/null');
    });
    await trial.check('executor', '/etc has the files that name a host', () => {
      requireForm(
        pod.values('content').join('\n'),
        /^127\.0\.0\.1\s.*\blocalhost\b/m,
        '/etc/hosts',
      );
      for (const file of ['hostname', 'mtab']) {
        requireSame(pod.value(`read:/etc/${file}`), 'ok', `reading /etc/${file}`);
      }
    });
  });
}

async function checkUser(trial: Trial): Promise<void> {
  const wishes = { image: 'ordinary', probe: ['report', '', 'exit', '0'] } as const;
  const name = 'it runs as the user and group of its image';
  await withPod(trial, 'executor', name, wishes, async (pod) => {
    await pod.end(trial.patience);
    requireSame(pod.value('uid'), ORDINARY.user, 'user');
    requireSame(pod.value('gid'), ORDINARY.group, 'group');
  });
}

/** Two pods of one image, the second after the first. */
async function checkCleanCopy(trial: Trial): Promise<void> {
  await trial.check('executor', 'every execution begins with the root of the image', async () => {
    const probe = ['read', '/made', 'create', '/made', 'create', '/bin/made', 'exit', '0'];
    for (const time of ['first', 'second']) {
      const pod = await trial.start({ probe });
      requireSame(endWord(await pod.end(trial.patience)), '0', `exit code of the ${time} run`);
      const found = pod.value('read:/made');
      requireSame(found, 'No such file or directory', `a file of an earlier pod, ${time} time`);
      requireSame(pod.value('create:/made'), 'ok', 'making the file');
    }
  });
  await trial.clear();
}

/** Empty volumes at the mount points of an image. */
async function checkMountPoints(trial: Trial): Promise<void> {
  const paths = VALIDATOR.mountPoints.map(({ path }) => path);
  const wishes = {
    image: 'validator',
    probe: [
      ...['report', '', ...paths.flatMap((path) => ['mount', path, 'create', `${path}/made`])],
      ...['exit', '0'],
    ],
  } as const;
  const name = 'mount points are mounted, read-only where the image says so';
  await withPod(trial, 'empty-volumes', name, wishes, async (pod) => {
    requireSame(endWord(await pod.end(trial.patience)), '0', 'exit code of run');
    for (const { path, readOnly } of VALIDATOR.mountPoints) {
      const form = readOnly ? /(^|,)ro(,|$)/ : /(^|,)rw(,|$)/;
      requireForm(pod.value(`mount:${path}`), form, `options of the mount at ${path}`);
      const made = readOnly ? 'Read-only file system' : 'ok';
      requireSame(pod.value(`create:${path}/made`), made, `making a file in ${path}`);
    }
    requireSame(pod.value('cwd'), VALIDATOR.workingDirectory, "the image's working directory");
    for (const { name, value } of VALIDATOR.environment) {
      requireSame(pod.value(`env:${name}`), value, `the image's variable ${name}`);
    }
  });
}

/** The validator's main and sidekick, each of which waits for what the other makes. */
async function checkCompany(trial: Trial): Promise<void> {
  if (!trial.features.has('empty-volumes')) return;
  const name = 'two apps of a pod find what the other makes in their volume';
  await trial.check('several-apps', name, async () => {
    const app = (own: string, ...probe: string[]) => [
      imageReference('validator'),
      `--name=${own}`,
      ...['--', 'read', '/db/main', ...probe, 'exit', '0', '---'],
    ];
    const pod = await trial.startWords('run', [
      '--quiet',
      trial.option,
      ...app('main', 'await', '/db/sidekick', 'create', '/db/main'),
      ...app('sidekick', 'create', '/db/sidekick', 'await', '/db/main'),
    ]);
    requireSame(endWord(await pod.end(trial.patience)), '0', 'exit code of run');
    for (const file of ['main', 'sidekick']) {
      requireSame(pod.value(`await:/db/${file}`), 'ok', `waiting for /db/${file}`);
      requireSame(pod.value(`create:/db/${file}`), 'ok', `making /db/${file}`);
    }
    const before = 'No such file or directory';
    requireSame(pod.values('read:/db/main'), [before, before], 'the volume at first');
  });
  await trial.clear();
}

/** The validator's image has a limit, and leaves it at that; here it is exceeded. */
async function checkMemoryLimit(trial: Trial): Promise<void> {
  const allocation = (mebibytes: string): { image: 'limited'; probe: string[] } => ({
    image: 'limited',
    probe: ['allocate', mebibytes, 'exit', '0'],
  });
  const within = 'an app has the memory that its image limits it to';
  await withPod(trial, 'limits', within, allocation('32'), async (pod) => {
    requireSame(endWord(await pod.end(trial.patience)), '0', 'exit code of run');
    requireSame(pod.value('allocated'), '32', 'memory');
  });
  // Not more than any machine has: its kernel would refuse that much at once, and kill nobody.
  await withPod(
    trial,
    'limits',
    'and is killed when it takes more',
    allocation('96'),
    async (pod) => {
      requireSame(endWord(await pod.end(trial.patience)), '137', 'exit code of run');
      requireSame(pod.values('allocated'), [], 'memory');
    },
  );
}

/** Marker files in the root of the app, as in the validator, and words in its output. */
async function checkEventHandlers(trial: Trial): Promise<void> {
  const wishes = {
    image: 'handled',
    probe: [
      ...['say', 'main', 'read', '/prestart', 'read', '/poststop', 'create', '/main'],
      ...['exit', '0'],
    ],
  } as const;
  const name = 'handlers run before the app starts and after it has ended, in its root';
  await withPod(trial, 'event-handlers', name, wishes, async (pod) => {
    requireSame(endWord(await pod.end(trial.patience)), '0', 'exit code of run');
    const order = ['pre-start', 'main', 'post-stop'];
    requireSame(
      pod.lines.filter((line) => order.includes(line)),
      order,
      'what ran, in this order',
    );
    requireMarkers(pod);
  });
}

/** pre-start finds no /main; main finds /prestart and no /poststop; post-stop finds both. */
function requireMarkers(pod: Pod): void {
  const absent = 'No such file or directory';
  requireSame(pod.values('read:/main'), [absent, 'ok'], '/main before the app and after it');
  requireSame(pod.values('read:/prestart'), ['ok', 'ok'], '/prestart for the app and after it');
  requireSame(pod.values('read:/poststop'), [absent], '/poststop for the app');
  for (const file of ['prestart', 'main', 'poststop']) {
    requireSame(pod.value(`create:/${file}`), 'ok', `making /${file}`);
  }
}
