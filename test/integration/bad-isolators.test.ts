import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { needs, root } from '../support/requirements.ts';
import { createRefusals, type Refusals, type Row, wordsOf } from './refusals.ts';

const HUGE = '9'.repeat(40);
const NUMBER = 'is not a whole number from ';
const LIMIT = 'must be SOFT:HARD or a number for both, each a whole number or unlimited';
const MODE = 'mode=retain or mode=remove must be given';

/** After an image: the options that stand for isolators. */
const OF_APP: readonly Row[] = [
  ...['', 'x', '-1', ' 1G', '1Q', '8Ei', HUGE, '1e99'].map(
    (value): Row => [`--memory=${value}`, `--memory: "${value}" is not a quantity such as 128M`],
  ),
  ['--memory=128', '--memory: memory limit of 128 bytes too low'],
  ['--memory=128m', '--memory: memory limit of 1 bytes too low'],
  ...['', '-1', '1n', '1,5', HUGE, '1e30'].map(
    (value): Row => [`--cpu=${value}`, `--cpu: "${value}" is not a quantity such as 500m`],
  ),
  ['--cpu=0', '--cpu: a limit of 0 lets nothing run: try --cpu=500m'],
  ...['', '1', '2.5', '262145', '1e3', '-2', HUGE].map(
    (value): Row => [`--cpu-shares=${value}`, `--cpu-shares: "${value}" ${NUMBER}2 to 262144`],
  ),
  ...['', '0', '-1', '1k', '4194305'].map(
    (value): Row => [`--pids=${value}`, `--pids: "${value}" ${NUMBER}1 to 4194304`],
  ),
  ...['', '0', '10001', '1.5'].map(
    (value): Row => [`--io-weight=${value}`, `--io-weight: "${value}" ${NUMBER}1 to 10000`],
  ),
  ...['', 'x', '1.5', '1001', '-1001', HUGE].map(
    (value): Row => [`--oom-score-adj=${value}`, `--oom-score-adj: "${value}" ${NUMBER}-1000`],
  ),
  ['--oom-score-adjust=1001', `--oom-score-adjust: "1001" ${NUMBER}-1000 to 1000`],
  [
    ['--oom-score-adj=1', '--oom-score-adjust=2'],
    'cannot use both --oom-score-adj and --oom-score-adjust on the same image',
  ],
  ...['', 'nofile', '=1'].map(
    (value): Row => [`--rlimit=${value}`, `--rlimit: "${value}" is not NAME=SOFT[:HARD]`],
  ),
  ...['files', 'NOFILE', 'RLIMIT_NOFILE', '__proto__'].map(
    (name): Row => [`--rlimit=${name}=1`, `--rlimit: "${name}" is no limit: known are as, core,`],
  ),
  ...['', '-1', '1k', '1:2:3', 'infinity', HUGE].map(
    (value): Row => [`--rlimit=nofile=${value}`, `--rlimit: "nofile=${value}": ${LIMIT}`],
  ),
  ['--rlimit=nofile=5:4', '--rlimit: "nofile=5:4": the soft limit is above the hard one'],
  [['--rlimit=core=1', '--rlimit=core=1'], '--rlimit: core is given twice'],
  ...['', 'u:r:t', ':::', 'u::t:s0'].map(
    (value): Row => [
      `--selinux-context=${value}`,
      `--selinux-context: "${value}" is not USER:ROLE:TYPE:LEVEL`,
    ],
  ),
  ['--apparmor-profile=', '--apparmor-profile: "" is no name of a profile'],
  ['--apparmor-profile=a\nb', '--apparmor-profile: "a\\nb" is no name of a profile'],
  ...['', 'mode', 'mode=', 'mode=keep,open', 'open', 'retain'].map(
    (value): Row => [`--seccomp=${value}`, `--seccomp "${value}": ${MODE}`],
  ),
  ['--seccomp=mode=retain', '--seccomp "mode=retain": no system call is named'],
  ['--seccomp=mode=retain,', '"" is neither a system call nor a set'],
  ['--seccomp=mode=remove,@fly', '"@fly" is neither a system call nor a set'],
  ['--seccomp=mode=remove,@gantry/fly', '--seccomp: unknown set'],
  ['--seccomp=mode=remove,fly', '--seccomp: unknown system call "fly"'],
  ['--seccomp=mode=remove,error=EIO,open', 'unknown word "error": there are mode= and errno='],
  ['--seccomp=mode=remove,mode=retain,open', 'mode= is given twice'],
  ['--seccomp=mode=remove,errno=5,open', '"5" is not the name of an errno'],
  ['--seccomp=mode=remove,errno=ENONE,open', '--seccomp: unknown errno "ENONE"'],
  ['--seccomp=mode=remove,errno=EIO,errno=EIO,open', 'errno= is given twice'],
  ['--seccomp=mode=remove,@appc.io/all', '--seccomp: nothing can run without any system call'],
  ...[
    '--memory=16M',
    '--cpu=1',
    '--cpu-shares=2',
    '--pids=9',
    '--io-weight=1',
    '--oom-score-adj=1',
    '--selinux-context=u:r:t:s0',
    '--apparmor-profile=a',
    '--seccomp=mode=remove,open',
    '--no-new-privileges',
    '--stdin=null',
    '--stdout=null',
    '--stderr=null',
  ].map((word): Row => {
    const name = word.split('=', 1)[0] ?? word;
    return [[word, word], `${name} specified multiple times for the same image: example.com/probe`];
  }),
];

/** Before the image: of the pod, or out of place. */
const OF_POD: readonly Row[] = [
  ...['', 'net.core.somaxconn', '=1'].map(
    (value): Row => [`--sysctl=${value}`, `--sysctl: "${value}" is not KEY=VALUE`],
  ),
  ['--sysctl=kernel.panic=1', '--sysctl kernel.panic: is of the whole host: a pod has those'],
  ['--sysctl=kernel/shmmax/../panic=1', '--sysctl "kernel/shmmax/../panic": is no parameter'],
  ['--sysctl=net..x=1', '--sysctl "net..x": is no parameter such as net.core.somaxconn'],
  [
    '--sysctl=kernel.hostname=x',
    '--sysctl kernel.hostname: names are set otherwise: use --hostname',
  ],
  ['--sysctl=net.core.somaxconn=', '--sysctl net.core.somaxconn: "" is no value'],
  ['--sysctl=net.core.somaxconn=1\n2', '--sysctl net.core.somaxconn: "1\\n2" is no value'],
  [
    ['--sysctl=net.core.somaxconn=1', '--sysctl=net.core.somaxconn=2'],
    '--sysctl net.core.somaxconn: is given twice',
  ],
  [
    ['--sysctl=net.core.somaxconn=1', '--sysctl=net/core/somaxconn=2'],
    '--sysctl net/core/somaxconn: is given twice, by another name',
  ],
  ['--private-users=maybe', '--private-users: "maybe" is neither true nor false'],
  ['--no-overlay=', '--no-overlay: "" is neither true nor false'],
  [['--private-users', '--ipc=parent'], '--ipc=parent: with --private-users nobody in the pod'],
  ...['chroot', 'nspawn', 'kvm'].map(
    (name): Row => [[`--stage1-name=${name}`, '--private-users'], 'lacks private-users'],
  ),
  [['--stage1-name=chroot', '--sysctl=net.core.somaxconn=9'], 'chroot lacks sysctl'],
  ...[
    '--memory=16M',
    '--cpu=1',
    '--cpu-shares=2',
    '--pids=9',
    '--io-weight=1',
    '--oom-score-adj=1',
    '--rlimit=core=1',
    '--selinux-context=u:r:t:s0',
    '--apparmor-profile=a',
    '--seccomp=mode=remove,open',
    '--no-new-privileges',
    '--stdin=null',
  ].map((word): Row => [word, `${word.split('=', 1)[0]} must follow an image`]),
];

let world: Refusals;

beforeAll(async () => {
  if (root.met) world = await createRefusals();
});

afterAll(() => world?.remove());

beforeEach((context) => needs(context, root));

it.each(OF_APP)('%j of an app is refused, and the app is named', async (words, message) => {
  const line = [world.reference, ...wordsOf(words)];
  const stderr = await world.expectRefusal('prepare', line, message);
  expect(stderr).toMatch(/app "probe"|image:? example\.com\/probe/);
  expect(stderr.trim().split('\n')).toHaveLength(1);
});

it.each(OF_POD)('%j of a pod is refused', async (words, message) => {
  const stderr = await world.expectRefusal(
    'prepare',
    [...wordsOf(words), world.reference],
    message,
  );
  expect(stderr.trim().split('\n')).toHaveLength(1);
});

describe('a flag', () => {
  it.each(['--no-new-privileges', '--readonly-rootfs'])('%s is true or false', async (name) => {
    const message = `${name}: "maybe" is neither true nor false`;
    const words = [world.reference, `${name}=maybe`];
    await world.expectRefusal('prepare', words, message);
  });
});

describe('a kernel parameter that is not there', () => {
  it.each(['net.no.such=1', 'kernel.shmmax=x'])(
    '%s ends the pod before it begins',
    async (pair) => {
      const { code, stdout, stderr } = await world.gantry.run(
        'run',
        `--sysctl=${pair}`,
        world.reference,
      );
      expect(stderr).toMatch(/^gantry: run: pod: sysctl \S+ \S: [A-Z].*\n$/);
      expect([code, stdout]).toEqual([254, '']);
      await world.gantry.call('gc', '--grace-period=0s');
    },
  );
});

it('nothing is left of any of them', () => world.expectNothing());
