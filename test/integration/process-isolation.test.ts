import { existsSync, readFileSync } from 'node:fs';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Isolator } from '../../src/image/isolator.ts';
import { hardLimits, maySysResource } from '../../src/isolation/process-host.ts';
import type { PodRequest } from '../../src/pod/request.ts';
import { needs, program, type Requirement, root } from '../support/requirements.ts';
import {
  addImage,
  createWorld,
  type ImageWishes,
  leaks,
  type PodEnding,
  requestOf,
  runChild,
  runPod,
} from './pod-world.ts';

beforeEach((context) => needs(context, root));

interface Run {
  readonly flavour?: string;
  readonly image?: ImageWishes;
  /** Those of options after the image. */
  readonly isolators?: readonly Isolator[];
  readonly pod?: Partial<PodRequest>;
}

/** Runs the probe in a pod, and checks that nothing is left of it. */
async function probe(commands: readonly string[], run: Run = {}): Promise<PodEnding> {
  const { flavour = 'native', image = {}, isolators, pod = {} } = run;
  const world = createWorld(flavour);
  const record = await addImage(world, image);
  const { network: _, ...request } = requestOf(record, []);
  const app = { record, args: commands, ...(isolators === undefined ? {} : { isolators }) };
  const ending = await runPod(world, { ...request, apps: [app], ...pod });
  expect(await leaks(world)).toEqual([]);
  return ending;
}

const rlimits = (value: Record<string, string>): Isolator => ({ name: 'os/unix/rlimits', value });
const oomScore = (value: number): Isolator => ({ name: 'os/linux/oom-score-adj', value });
const ofImage = (...isolators: Isolator[]): ImageWishes => ({ app: { isolators } });
const handlers = (before: readonly string[], after: readonly string[]) => [
  { name: 'pre-start', exec: ['/bin/probe', ...before] },
  { name: 'post-stop', exec: ['/bin/probe', ...after] },
];

/** What each flavour needs of the host. */
const FLAVOURS: readonly (readonly [string, readonly Requirement[]])[] = [
  ['native', []],
  ['nspawn', [program('systemd-nspawn')]],
  ['chroot', []],
];

describe.each(FLAVOURS)('in a pod of flavour %s', (flavour, requirements) => {
  beforeEach((context) => needs(context, ...requirements));

  it('event handlers run before and after the app, in its root', async () => {
    const eventHandlers = handlers(
      ['write', '/prestart', 'unlink', '/old'],
      ['cat', '/main', 'echo', 'after'],
    );
    const files = { old: 'there', main: 'of the image\n' };
    const { code, stdout, stderr } = await probe(
      ['read', '/prestart', 'read', '/old', 'exit', '4'],
      {
        flavour,
        image: { app: { eventHandlers }, files },
      },
    );
    expect(stderr).toBe('');
    expect(stdout).toEqual([
      'write /prestart: ok',
      'unlink /old: ok',
      'read /prestart: ok',
      'read /old: No such file or directory',
      'of the image',
      'after',
    ]);
    expect(code).toBe(4);
  });

  it('an event handler that fails keeps the app from being started', async () => {
    const eventHandlers = handlers(['exit', '5'], ['exit', '6']);
    const { code, stdout, stderr } = await probe(['echo', 'never'], {
      flavour,
      image: { app: { eventHandlers } },
    });
    expect(stdout).toEqual([]);
    expect(code).toBe(5);
    expect(stderr).toBe(
      `gantry: run: app "probe": its pre-start event handler ended with exit code 5: the app is not started
gantry: run: app "probe": its post-stop event handler ended with exit code 6
`,
    );
  });

  it('resource limits are what they were asked to be, also of handlers', async () => {
    const { stdout, stderr } = await probe(['open-files', 'grow', '40960', 'crash'], {
      flavour,
      image: {
        app: {
          isolators: [rlimits({ nofile: '30:40', core: '0' })],
          eventHandlers: [{ name: 'post-stop', exec: ['/bin/probe', 'open-files'] }],
        },
      },
      isolators: [rlimits({ nofile: '25:40', fsize: '20480' })],
    });
    expect(stderr).toBe('');
    expect(stdout).toEqual([
      'files 25: Too many open files',
      'grow: File size limit exceeded',
      'crash: no core',
      'files 25: Too many open files',
    ]);
  });

  it('the OOM score is what it was asked to be', async () => {
    const { stdout, stderr } = await probe(['cat', '/proc/self/oom_score_adj'], {
      flavour,
      isolators: [oomScore(321)],
    });
    expect({ stdout, stderr }).toEqual({ stdout: ['321'], stderr: '' });
  });
});

describe('what this host does not allow', () => {
  const limits = hardLimits(readFileSync('/proc/self/limits', 'utf8'));
  const most = limits.get('nofile');
  const raises = maySysResource(readFileSync('/proc/self/status', 'utf8'));
  beforeEach((context) => {
    if (raises || most === undefined) context.skip('limits can be raised here');
  });
  const above = [rlimits({ nofile: `10:${(most ?? 0n) + 1n}` })];

  it('of a limit is left out of a pod that runs at once, and told of', async () => {
    const { code, stdout, stderr } = await probe(['cat', '/proc/self/limits'], {
      isolators: above,
    });
    expect(code).toBe(0);
    expect(stdout.find((line) => line.startsWith('Max open files'))).toMatch(
      new RegExp(`^Max open files +10 +${most} `),
    );
    expect(stderr).toBe(
      `app "probe": rlimit nofile: a hard limit of ${(most ?? 0n) + 1n} is more than this host allows: it has ${most}\n`,
    );
  });

  it('of a limit is left out by the launcher where a prepared pod is started', async () => {
    const world = createWorld();
    const record = await addImage(world, {});
    const request = requestOf(record, []);
    const apps = [{ record, args: ['open-files'], isolators: above }];
    const prepared = await runChild(world, 'prepare', { ...request, apps });
    expect(prepared.stderr).toContain('started from here it will have');
    const { code, stdout, stderr } = await runChild(world, 'start', { uuid: prepared.stdout[0] });
    expect({ code, stdout }).toEqual({ code: 0, stdout: ['files 10: Too many open files'] });
    expect(stderr).toBe(
      `gantry: run: app "probe": rlimit nofile 10 ${(most ?? 0n) + 1n}: this host allows no more than ${most}\n`,
    );
  });

  it('of an OOM score is left out, and told of', async () => {
    const low = { isolators: [oomScore(-999)] };
    const { code, stdout, stderr } = await probe(['cat', '/proc/self/oom_score_adj'], low);
    const own = readFileSync('/proc/self/oom_score_adj', 'utf8').trim();
    expect({ code, stdout }).toEqual({ code: 0, stdout: [own] });
    expect(stderr).toBe(
      `app "probe": an OOM score of -999 is lower than this host allows: it stays at ${own}\n`,
    );
  });
});

describe('labels on a host that has none', () => {
  const context = { user: 'u', role: 'r', type: 't', level: 's0:c1' };
  const selinux: Isolator = { name: 'os/linux/selinux-context', value: context };
  const apparmor: Isolator = { name: 'os/linux/apparmor-profile', value: { profile: 'p' } };
  const has = existsSync('/sys/fs/selinux/enforce') || existsSync('/sys/module/apparmor');
  beforeEach((context) => {
    if (has) context.skip('this host has labels');
  });

  it('are refused where the operator asks for them', async () => {
    for (const [isolator, words] of [
      [selinux, '--selinux-context: SELinux'],
      [apparmor, '--apparmor-profile: AppArmor'],
    ] as const) {
      const { code, stdout, stderr } = await probe(['echo', 'never'], { isolators: [isolator] });
      expect({ code, stdout }).toEqual({ code: 254, stdout: [] });
      expect(stderr).toBe(
        `app "probe": ${words} is not enabled where the pod runs: leave it out\n`,
      );
    }
  });

  it('are refused of a pod too', async () => {
    const { code, stderr } = await probe([], { pod: { isolators: [apparmor] } });
    expect(code).toBe(254);
    expect(stderr).toContain('AppArmor is not enabled');
  });

  it('are left out, and told of, where only the image asks for them', async () => {
    const { code, stdout, stderr } = await probe(['echo', 'up'], {
      image: ofImage(selinux, apparmor),
    });
    expect({ code, stdout }).toEqual({ code: 0, stdout: ['up'] });
    expect(stderr.split('\n')).toEqual([
      'app "probe": isolator os/linux/selinux-context is not enforced: SELinux is not enabled where the pod runs',
      'app "probe": isolator os/linux/apparmor-profile is not enforced: AppArmor is not enabled where the pod runs',
      '',
    ]);
  });
});

describe('kernel parameters', () => {
  const sysctl = (value: Record<string, string>): Isolator => ({ name: 'os/unix/sysctl', value });
  const parameters = {
    'net.core.somaxconn': '77',
    'kernel.shmmni': '99',
    'fs.mqueue.msg_max': '5',
  };
  const read = Object.keys(parameters).flatMap((key) => [
    'cat',
    `/proc/sys/${key.replaceAll('.', '/')}`,
  ]);

  it.for([
    { flavour: 'native', requirements: [] },
    { flavour: 'nspawn', requirements: [program('systemd-nspawn')] },
  ])('are set in a pod of flavour $flavour, not on the host', async (given, context) => {
    const { flavour, requirements } = given;
    needs(context, ...requirements);
    const before = Object.keys(parameters).map((key) =>
      readFileSync(`/proc/sys/${key.replaceAll('.', '/')}`, 'utf8'),
    );
    const pod = { isolators: [sysctl(parameters)] };
    const { stdout, stderr } = await probe(read, { flavour, pod });
    expect({ stdout, stderr }).toEqual({ stdout: ['77', '99', '5'], stderr: '' });
    expect(
      Object.keys(parameters).map((key) =>
        readFileSync(`/proc/sys/${key.replaceAll('.', '/')}`, 'utf8'),
      ),
    ).toEqual(before);
  });

  it('of the network are refused in that of the host, also when a prepared pod is started', async () => {
    const isolators = [sysctl({ 'net.core.somaxconn': '77' })];
    const message =
      "sysctl net.core.somaxconn: is the host's in this pod: leave it out, or do without --net=host\n";
    const run = await probe([], { pod: { isolators, network: 'host' } });
    expect(run).toEqual({ code: 254, stdout: [], stderr: message });
    const world = createWorld();
    const record = await addImage(world, {});
    const request = requestOf(record, [], { isolators });
    const { stdout } = await runChild(world, 'prepare', request);
    const start = await runChild(world, 'start', { uuid: stdout[0], network: 'host' });
    expect(start).toEqual({ code: 254, stdout: [], stderr: message });
  });

  it('are refused by a flavour that has none', async () => {
    const pod = { isolators: [sysctl({ 'net.core.somaxconn': '77' })] };
    const { code, stderr } = await probe([], { flavour: 'chroot', pod });
    expect(code).toBe(254);
    expect(stderr).toContain('lacks sysctl');
  });
});
