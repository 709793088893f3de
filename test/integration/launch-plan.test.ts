import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { needs, root } from '../support/requirements.ts';
import { encodeSteps, LaunchPod, type PodPlan, podSteps, type Step } from './launch/pods.ts';

const checkout = join(import.meta.dirname, '../..');
/** The launchers under the address and undefined-behaviour sanitizers. */
const sanitized = join(checkout, 'dist/sanitized');
const sanitizers = { ASAN_OPTIONS: 'detect_leaks=0:exitcode=99', UBSAN_OPTIONS: 'exitcode=99' };

const plan: PodPlan = { apps: { web: { do: ['say', 'ran', 'exit', '3'] } } };

beforeEach((context) => needs(context, root));

/** The plan of a good pod, changed. */
function changed(pod: LaunchPod, change: (steps: Step[]) => Step[]): Buffer {
  return encodeSteps(change(podSteps(pod.image, plan)));
}

const without = (word: string) => (steps: Step[]) => steps.filter(([first]) => first !== word);
const replaced = (word: string, by: Step) => (steps: Step[]) =>
  steps.map((step) => (step[0] === word ? by : step));

const outside =
  (...added: Step[]) =>
  (steps: Step[]) =>
    steps.flatMap((step) =>
      step[0] === 'section' && step[1] === 'pod'
        ? [['section', 'outside'], ...added, step]
        : [step],
    );

/** Has the pod be in a user namespace. */
function withUsers(steps: Step[]): Step[] {
  return steps.flatMap((step): Step[] => {
    if (step[0] === 'loopback') return [step, ['become-root']];
    if (step[0] !== 'namespaces') return [step];
    return [
      [...step, 'user'],
      ['map-users', '0', '600000', '65536'],
      ['map-groups', '0', '600000', '65536'],
    ];
  });
}

describe('a plan is refused before anything is done', () => {
  it.each([
    ['an unknown step', replaced('loopback', ['dance']), 'loopback|dance: unknown step'],
    ['a missing argument', replaced('hostname', ['hostname']), 'hostname: argument 1 is missing'],
    [
      'an argument too many',
      replaced('loopback', ['loopback', 'x']),
      'loopback: argument 1 is wrong',
    ],
    ['a mode that is none', replaced('make-file', ['make-file', '/x', '8']), 'argument 2 is wrong'],
    [
      'a flag that is none',
      replaced('mount', ['mount', '-', '/', 'x', 'nope']),
      'argument 4 is wrong',
    ],
    [
      'a slot beyond the last',
      replaced('open-tree', ['open-tree', '320', '/']),
      'argument 1 is wrong',
    ],
    [
      'a control file that is no plain name',
      replaced('grace', ['set-cgroup', '/c', '../x', '1']),
      'set-cgroup: argument 2 is wrong',
    ],
    [
      'a control group by a relative path',
      replaced('grace', ['set-cgroup', 'c', 'x', '1']),
      'set-cgroup: argument 1 is wrong',
    ],
    [
      'a group entered by the pod',
      replaced('loopback', ['enter-cgroup', '0', '/c']),
      'misplaced step',
    ],
    ['a capability that is none', replaced('umask', ['keep-caps', 'magic']), 'argument 1 is wrong'],
    ['a stop signal that is none', replaced('umask', ['stop-signal', '0']), 'argument 1 is wrong'],
    ['a stream that is none', replaced('umask', ['silence', 'inputs']), 'argument 1 is wrong'],
    ['no stream', replaced('umask', ['silence']), 'argument 1 is missing'],
    [
      'a stop signal beyond the last',
      replaced('umask', ['stop-signal', '65']),
      'argument 1 is wrong',
    ],
    [
      'a filter of half an instruction',
      replaced('umask', ['seccomp', 'BgAAAA==']),
      'argument 1 is wrong',
    ],
    [
      'a filter in no base64',
      replaced('umask', ['seccomp', 'BgAAAAAA/38.AAA=']),
      'argument 1 is wrong',
    ],
    ['an empty filter', replaced('umask', ['seccomp', '']), 'argument 1 is wrong'],
    [
      'a filter that is too long',
      replaced('umask', ['seccomp', Buffer.alloc(4097 * 8).toString('base64')]),
      'argument 1 is wrong',
    ],
    [
      'a filter of the pod',
      replaced('loopback', ['seccomp', 'BgAAAAAA/38=']),
      'misplaced step seccomp',
    ],
    ...[
      'x:1:3:rw',
      'c:1:3',
      'c:1:3:',
      'c:1:3:rx',
      'c:4096:0:r',
      'c:-1:3:r',
      'c:1:*3:r',
      'c::3:r',
    ].map((rule): [string, ReturnType<typeof replaced>, string] => [
      `the rule ${rule} for devices`,
      replaced('grace', ['device-access', '/sys/fs/cgroup/x', rule]),
      'device-access: argument 2 is wrong',
    ]),
    ['a step of another section', replaced('loopback', ['umask', '0022']), 'misplaced step umask'],
    ['a helper inside', replaced('loopback', ['spawn', '/x', 'x']), 'misplaced step spawn'],
    [
      'a section outside that nothing ends',
      replaced('grace', ['section', 'outside']),
      'misplaced step|section outside must begin with private-mounts',
    ],
    [
      'a section outside that ends in no program',
      outside(['private-mounts'], ['make-directory', 'x', '0755']),
      'section outside must end in its one exec',
    ],
    [
      'a user namespace without a map',
      replaced('namespaces', ['namespaces', 'mount', 'user']),
      'namespaces user, map-users and map-groups go together',
    ],
    [
      'a map without a user namespace',
      replaced('grace', ['map-users', '0', '600000', '1']),
      'namespaces user, map-users and map-groups go together',
    ],
    [
      'a user namespace in which nobody becomes root',
      (steps: Step[]) => without('become-root')(withUsers(steps)),
      'namespaces user and one become-root go together',
    ],
    [
      'root of no user namespace',
      replaced('loopback', ['become-root']),
      'namespaces user and one become-root go together',
    ],
    [
      'a section outside that hands nothing to a user namespace',
      (steps: Step[]) => outside(['private-mounts'])(withUsers(steps)),
      'section outside must end in join-users and then open-tree',
    ],
    [
      'mounts made once the users are joined',
      (steps: Step[]) =>
        outside(
          ['private-mounts'],
          ['join-users'],
          ['mount', '-', '/', 'tmpfs', ''],
        )(withUsers(steps)),
      'section outside must end in join-users and then open-tree',
    ],
    [
      'a copy taken before the users are joined',
      (steps: Step[]) =>
        outside(
          ['private-mounts'],
          ['open-tree', '1', '/'],
          ['join-users'],
          ['open-tree', '0', '/'],
        )(withUsers(steps)),
      'section outside must end in join-users and then open-tree',
    ],
    [
      'a program outside of a user namespace',
      (steps: Step[]) => outside(['private-mounts'], ['exec', '/x', 'x'])(withUsers(steps)),
      'misplaced step exec',
    ],
    ['no private mounts', without('private-mounts'), 'section pod must begin with private-mounts'],
    ['an app without exec', without('exec'), 'exec must be the one last step of app web'],
    ['no mount namespace', replaced('namespaces', ['namespaces', 'pid']), 'must include mount'],
    [
      'a terminal without one',
      replaced('umask', ['terminal', '/dev/console']),
      'without output terminal',
    ],
    ['an app name that is a path', replaced('section', ['section', 'app', '../x']), 'is wrong'],
  ])('with %s', async (_, change, message) => {
    const pod = new LaunchPod(plan);
    pod.writePlan(changed(pod, change));
    const { code, stderr } = await pod.run();
    expect(code).toBe(254);
    expect(stderr).toMatch(new RegExp(`^gantry: run: plan: .*(${message})`));
    expect(stderr.split('\n')).toHaveLength(2);
    expect(pod.status('pid')).toBeUndefined();
  });

  it('never with some of its users only, where they are more than can be mapped at once', async () => {
    const pod = new LaunchPod(plan);
    const many = (step: Step): Step[] =>
      step[0] === 'map-users' ? Array.from({ length: 200 }, () => step) : [step];
    pod.writePlan(changed(pod, (steps) => withUsers(steps).flatMap(many)));
    const { code, stderr } = await pod.run();
    expect(code).toBe(254);
    expect(stderr).toBe('gantry: run: users of the pod: Argument list too long\n');
  });

  it('that another user could have written, or that is a link', async () => {
    const pod = new LaunchPod(plan);
    chmodSync(join(pod.directory, 'plan'), 0o666);
    expect((await pod.run()).stderr).toContain('that only its owner may write');
    const real = join(pod.directory, 'real');
    writeFileSync(real, encodeSteps(podSteps(pod.image, plan)));
    rmSync(join(pod.directory, 'plan'));
    symlinkSync(real, join(pod.directory, 'plan'));
    expect((await pod.run()).code).toBe(254);
  });
});

describe('under the sanitizers', () => {
  beforeAll(() => {
    execFileSync('make', ['-s', '-C', join(checkout, 'stage1'), 'SANITIZE=1', `OUT=${sanitized}`], {
      stdio: 'inherit',
    });
  }, 120_000);

  const options = { environment: sanitizers, stage1: join(sanitized, 'stage1/native') };

  it('a pod runs', async () => {
    const pod = new LaunchPod(plan);
    const { code, stdout, stderr } = await pod.run(options);
    expect({ code, stderr }).toEqual({ code: 3, stderr: '' });
    expect(stdout).toContain('web[2]: ran');
  });

  it('a pod runs whose devices are listed', async () => {
    const line = readFileSync('/proc/self/mountinfo', 'utf8').match(/^.* - cgroup2 /m)?.[0];
    if (line === undefined) return;
    const group = join(line.split(' ')[4] ?? '', `launch-plan-test-${process.pid}`);
    const pod = new LaunchPod({
      ...plan,
      supervisor: [
        ['make-cgroup', group],
        ['device-access', group, 'c:*:*:m', 'b:*:*:m', 'c:1:3:rw'],
        ['join-cgroup', group],
      ],
      teardown: [['remove-cgroup', group]],
    });
    const { code, stderr } = await pod.run(options);
    expect({ code, stderr }).toEqual({ code: 3, stderr: '' });
  });

  it('a plan cut anywhere is refused', async () => {
    const pod = new LaunchPod(plan);
    const whole = readFileSync(join(pod.directory, 'plan'));
    for (let length = 0; length < whole.length; length += 1 + Math.floor(length / 16)) {
      pod.writePlan(whole.subarray(0, length));
      const { code, stderr } = await pod.run(options);
      expect([length, code, stderr]).toEqual([
        length,
        254,
        expect.stringMatching(/^gantry: run: /),
      ]);
    }
  });

  // gc reads and checks the plan as run does, and this plan's teardown is empty: a changed path must
  // not be carried out on the host.
  it('a plan with any bytes changed is read or refused', async () => {
    const pod = new LaunchPod(plan);
    const whole = readFileSync(join(pod.directory, 'plan'));
    const gc = join(options.stage1, 'gc');
    let seed = 1;
    const random = (below: number) => {
      seed = (seed * 48271) % 2147483647;
      return seed % below;
    };
    for (let round = 0; round < 300; round++) {
      const bytes = Buffer.from(whole);
      for (let change = 0; change <= random(4); change++) {
        bytes[random(bytes.length)] = random(3) === 0 ? 0 : random(256);
      }
      pod.writePlan(bytes);
      const { status, stderr } = spawnSync(gc, ['test'], {
        cwd: pod.directory,
        encoding: 'utf8',
        env: sanitizers,
      });
      expect([0, 254], stderr).toContain(status);
      expect(stderr).toMatch(/^(gantry: gc: plan.*\n)?$/);
    }
  });
});
