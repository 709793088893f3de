import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type HostState, leaksSince, readHost } from '../support/host.ts';
import { createInstallation, type Ending, type Installation } from '../support/installation.ts';
import { OrdinaryUser, rootless } from '../support/ordinary-user.ts';
import { needs, program, root } from '../support/requirements.ts';
import { buildProbe } from './pod-probe.ts';

/** What pods can ask for, asked for together: each has its own tests elsewhere. */

beforeEach((context) => needs(context, root));

let directory: string;
let gantry: Installation;
const PLAIN = 'example.com/plain:1.0.0';
const HANDLED = 'example.com/handled:1.0.0';

let before: HostState;

beforeAll(async () => {
  if (!root.met) return;
  directory = mkdtempSync(join(tmpdir(), 'gantry-combined-'));
  chmodSync(directory, 0o755);
  gantry = await createInstallation(directory);
  mkdirSync(join(directory, 'tree/bin'), { recursive: true });
  writeFileSync(join(directory, 'tree/bin/probe'), readFileSync(buildProbe()), { mode: 0o755 });
  mkdirSync(join(directory, 'shared/below'), { recursive: true });
  writeFileSync(join(directory, 'shared/file'), 'shared');
  await store('plain');
  await store('handled', [
    { name: 'pre-start', exec: ['/bin/probe', 'echo', 'pre-start', 'id', 'open-files'] },
    { name: 'post-stop', exec: ['/bin/probe', 'echo', 'post-stop', 'id'] },
  ]);
  before = readHost(gantry.dataDirectory);
});
afterAll(() => {
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

/** Locks of users are the host's, and go with the pods. */
afterEach(async () => {
  if (!root.met) return;
  const pods = (await gantry.call('list', '--full', '--no-legend', '--fields=uuid')).split('\n');
  await gantry.call('gc', '--grace-period=0s');
  const left = await leaksSince(before, gantry.dataDirectory);
  // Groups of pods that other tests run at the same time are not ours.
  expect(
    left.filter((line) => !line.startsWith('cgroups:') || pods.some((uuid) => line.includes(uuid))),
  ).toEqual([]);
});

async function store(name: string, eventHandlers: readonly Record<string, unknown>[] = []) {
  const app = { exec: ['/bin/probe'], eventHandlers };
  const { path } = await gantry.makeImage(name, join(directory, 'tree'), app);
  await gantry.call('fetch', path);
}

async function uuidOf(file: string): Promise<string> {
  for (;;) {
    const uuid = existsSync(file) ? readFileSync(file, 'utf8').trim() : '';
    if (uuid !== '') return uuid;
    await sleep(20);
  }
}

/** How a pod ended, its lines without what stands before them. */
function told({ code, stdout, stderr }: Ending) {
  const lines = stdout.split('\n').slice(0, -1);
  return {
    code,
    stdout: lines.map((line) => line.replace(/^\[ *\d+\.\d+\] [a-z0-9-]+\[\d+\]: /, '')),
    stderr,
  };
}

async function run(...words: readonly string[]) {
  return told(await gantry.run('run', ...words));
}

/** Everything that a pod of one app may have in any flavour. */
const BOUNDS = [
  '--memory=64M',
  '--pids=10',
  '--cpu=2',
  '--rlimit=nofile=20:30',
  '--oom-score-adj=300',
  '--seccomp=mode=remove,errno=EPERM,unlink,unlinkat',
  '--user=7',
  '--group=8',
];
const BOUNDED = [
  ...['id', 'open-files', 'forks', '20', 'unlink', '/none'],
  ...['cat', '/proc/self/oom_score_adj', 'exit', '3'],
];
const FOUND = {
  code: 3,
  stdout: [
    ...['pre-start', 'id 7:8', 'files 20: Too many open files'],
    ...['id 7:8', 'files 20: Too many open files'],
    'forks 9: Resource temporarily unavailable',
    'unlink /none: Operation not permitted',
    ...['300', 'post-stop', 'id 7:8'],
  ],
  stderr: '',
};

describe.each([
  { flavour: 'native', pod: [] },
  { flavour: 'native', pod: ['--private-users'] },
  { flavour: 'native', pod: ['--private-users', '--no-overlay'] },
  { flavour: 'chroot', pod: [] },
  { flavour: 'nspawn', pod: [] },
])('an app of flavour $flavour with $pod', ({ flavour, pod }) => {
  beforeEach((context) => {
    if (flavour === 'nspawn') needs(context, program('systemd-nspawn'));
  });
  const words = [`--stage1-name=${flavour}`, ...pod, HANDLED, ...BOUNDS, '--', ...BOUNDED];

  it('has limits, a filter and handlers at once', async () => {
    expect(await run(...words)).toEqual(FOUND);
  });

  it('has them from a pod that was prepared, and from its manifest', async () => {
    const uuid = await gantry.call('prepare', '--quiet', ...words);
    const manifest = join(directory, 'pod.json');
    writeFileSync(manifest, await gantry.call('cat-manifest', uuid));
    expect(told(await gantry.run('run-prepared', uuid))).toEqual(FOUND);
    const again = [`--stage1-name=${flavour}`, ...pod, `--pod-manifest=${manifest}`];
    expect(await run(...again)).toEqual(FOUND);
  });
});

describe('a pod with users of its own', () => {
  const parameters = ['net.core.somaxconn=77', 'kernel.shmmni=99', 'fs.mqueue.msg_max=5'];

  it('has kernel parameters of its own', async () => {
    const paths = parameters.map(
      (word) => `/proc/sys/${word.replace(/=.*/, '').replaceAll('.', '/')}`,
    );
    const host = paths.map((path) => readFileSync(path, 'utf8'));
    const sysctl = parameters.map((word) => `--sysctl=${word}`);
    const reading = paths.flatMap((path) => ['cat', path]);
    const { stdout } = await run('--private-users', ...sysctl, PLAIN, '--', ...reading);
    expect(stdout).toEqual(['77', '99', '5']);
    expect(paths.map((path) => readFileSync(path, 'utf8'))).toEqual(host);
  });

  it('has volumes of the host in which its own directory lies', async () => {
    const volume = (name: string, more = '') =>
      `--volume=${name},kind=host,source=${directory}${more}`;
    const { code, stdout } = await run(
      ...['--private-users', volume('all'), volume('seen', ',readOnly=true'), PLAIN],
      ...['--memory=64M', '--mount=volume=all,target=/all', '--mount=volume=seen,target=/seen'],
      ...['--', 'stat', '/all/shared/file', 'write', '/all/new', 'write', '/seen/new'],
      ...['ls', '/seen/data/pods/run'],
    );
    expect(stdout.slice(0, 3)).toEqual([
      'stat /all/shared/file: 100644 0:0',
      'write /all/new: ok',
      'write /seen/new: Read-only file system',
    ]);
    expect(code).toBe(0);
  });

  it.each(['--private-users', '--no-overlay'])(
    'or without (%s) takes apps with limits and volumes while it runs',
    async (option) => {
      const file = join(directory, `uuid${option}`);
      const words = [option, '--sysctl=kernel.shmmni=99', `--uuid-file-save=${file}`];
      const pod = gantry.start('app sandbox', ...words);
      let output = '';
      pod.stdout?.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
      const closed = new Promise((resolve) => pod.once('close', resolve));
      const uuid = await uuidOf(file);
      await gantry.call('status', '--wait-ready=10s', uuid);
      const source = join(directory, 'shared');
      await gantry.call(
        'app add',
        ...[uuid, PLAIN, '--name=late', '--memory=64M', '--pids=10', '--readonly-rootfs'],
        `--mnt-volume=name=open,kind=host,source=${source},target=/open`,
        `--mnt-volume=name=seen,kind=host,source=${source},readOnly=true,target=/seen`,
        `--mnt-volume=name=own,kind=empty,uid=5,target=/own`,
        ...['--', 'cat', '/proc/sys/kernel/shmmni', 'write', '/new', 'write', '/open/new'],
        ...['write', '/seen/new', 'stat', '/own', 'write', '/own/new', 'hold', '128'],
      );
      await gantry.call('app start', uuid, '--app=late');
      let status = '';
      while (!status.includes('exit_code=')) {
        status = await gantry.call('app status', uuid, '--app=late');
      }
      expect(status).toContain('exit_code=137');
      await gantry.call('app rm', uuid, '--app=late');
      await gantry.call('stop', uuid);
      await closed;
      expect(told({ code: 0, stdout: output, stderr: '' }).stdout).toEqual([
        '99',
        'write /new: Read-only file system',
        'write /open/new: ok',
        'write /seen/new: Read-only file system',
        'stat /own: 40755 5:0',
        'write /own/new: ok',
      ]);
    },
  );
});

describe("an ordinary user's pod", () => {
  beforeEach((context) => needs(context, rootless));

  it('has a filter, handlers, parameters and what limits it can at once', async () => {
    const user = new OrdinaryUser(join(directory, 'user'), { uid: 52970 });
    for (const name of ['plain', 'handled']) {
      const file = user.give(join(directory, `${name}.aci`), `${name}.aci`);
      await user.call('--insecure-options=image', 'fetch', file);
    }
    const bounds = BOUNDS.filter((option) => !/memory|pids|cpu/.test(option));
    const limit = ['--insecure-options=image', 'run', PLAIN, '--pids=9'];
    expect((await user.run(limit)).stderr).toMatch(/app "plain": --pids cannot be enforced: /);
    const words = ['--quiet', '--sysctl=kernel.shmmni=99', '--sysctl=net.core.somaxconn=77'];
    const prepare = ['--insecure-options=image', 'prepare', ...words, HANDLED, ...bounds, '--'];
    const reading = ['/proc/sys/kernel/shmmni', '/proc/sys/net/core/somaxconn'];
    const commands = [...reading.flatMap((path) => ['cat', path]), ...BOUNDED];
    const uuid = await user.call(...prepare, ...commands.filter((word) => !/forks|20/.test(word)));
    expect(told(await user.run(['run-prepared', uuid]))).toEqual({
      code: 3,
      stdout: FOUND.stdout.filter((line) => !line.startsWith('forks')).toSpliced(3, 0, '99', '77'),
      stderr: '',
    });
    expect(await user.call('status', uuid)).toContain('app-handled=3');
    await user.call('rm', uuid);
  });
});
