import {
  chmodSync,
  chownSync,
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Isolator } from '../../src/image/isolator.ts';
import { callIsolator, retainIsolator } from '../../src/isolation/isolators.ts';
import { findPod } from '../../src/pod/find.ts';
import { formatPlan } from '../../src/pod/plan.ts';
import { preparePod } from '../../src/pod/prepare.ts';
import type { AppRequest, PodRequest } from '../../src/pod/request.ts';
import { needs, root } from '../support/requirements.ts';
import {
  addImage,
  createWorld,
  type ImageWishes,
  leaks,
  requestOf,
  runChild,
  runPod,
  UNSIGNED,
  type World,
} from './pod-world.ts';

beforeEach((context) => needs(context, root));

/** Numbers of x86_64. */
const CALL = {
  personality: 135,
  chroot: 161,
  mount: 165,
  reboot: 169,
  keyctl: 250,
  unshare: 272,
  clone3: 435,
  mseal: 462,
  socket: 41,
};
const NO_SUCH_CALL = 600;
const REFUSED = 'Operation not permitted';
const UNKNOWN = 'Function not implemented';

/** An image's own isolator. */
function isolator(mode: 'retain' | 'remove', set: string[], errno?: string): Isolator {
  return callIsolator({ mode, set, ...(errno === undefined ? {} : { errno }) });
}

interface Wishes {
  readonly flavour?: string;
  readonly image?: ImageWishes;
  readonly app?: Partial<AppRequest>;
  readonly pod?: Partial<PodRequest>;
}

/** Runs the probe with these commands, and checks that nothing is left of its pod. */
async function probe(commands: readonly (string | number)[], wishes: Wishes = {}) {
  const world = createWorld(wishes.flavour);
  const record = await addImage(world, wishes.image);
  const args = commands.map(String);
  const { network: _, ...request } = requestOf(record, args, wishes.pod);
  const ending = await runPod(world, { ...request, apps: [{ record, args, ...wishes.app }] });
  expect(await leaks(world)).toEqual([]);
  return { ...ending, world };
}

/** Tries calls one after the other, with what each is said to have become of. */
async function outcomes(calls: readonly (string | number)[], wishes: Wishes = {}) {
  const commands = calls.flatMap((call) => ['call', call]);
  const { stdout, stderr } = await probe(commands, wishes);
  expect(stderr).toBe('');
  return stdout.map((line) => line.replace(/^call \S+: /, ''));
}

/** The lines of /proc/self/status that say what a process may do. */
async function privileges(wishes: Wishes) {
  const { stdout } = await probe(['cat', '/proc/self/status'], wishes);
  return stdout.filter((line) => /^(Cap|NoNewPrivs|Uid)/.test(line));
}

describe('an app for which nothing is said', () => {
  it('has calls refused that its capabilities leave no use for', async () => {
    const calls = [CALL.mount, CALL.reboot, CALL.keyctl, `${CALL.unshare}:0x10000000`];
    expect(await outcomes(calls)).toEqual(calls.map(() => REFUSED));
  });

  it('is told that calls which are newer than Gantry, and clone3, do not exist', async () => {
    expect(await outcomes([NO_SUCH_CALL, CALL.clone3])).toEqual([UNKNOWN, UNKNOWN]);
  });

  it('may make the calls of ordinary programs, those of today too', async () => {
    expect(await outcomes([CALL.mseal, `${CALL.personality}:0xffffffff`, 39])).toEqual([
      'ok',
      'ok',
      'ok',
    ]);
    expect(await outcomes([`${CALL.unshare}:0x200`])).toEqual(['ok']);
  });

  it('cannot change its personality into one that the kernel protects less', async () => {
    expect(await outcomes([`${CALL.personality}:0x40000`])).toEqual([REFUSED]);
  });

  it('cannot reach the host by AF_VSOCK, whatever is in the half of the register that nobody reads', async () => {
    const calls = [`${CALL.socket}:40`, `${CALL.socket}:0x100000028`];
    expect(await outcomes(calls)).toEqual([REFUSED, REFUSED]);
  });

  it('may make those that its capabilities are for', async () => {
    const app = { isolators: [retainIsolator(['CAP_SYS_ADMIN'])] };
    const [mount, chroot] = await outcomes([CALL.mount, CALL.chroot], { app });
    expect([mount, chroot]).toEqual(['Bad address', REFUSED]);
    const other = { isolators: [retainIsolator(['CAP_SYS_CHROOT'])] };
    expect(await outcomes([CALL.mount, CALL.chroot], { app: other })).toEqual([
      REFUSED,
      'Bad address',
    ]);
  });

  it('has the same capabilities as without a filter, whoever it runs as', async () => {
    for (const user of ['0', '33']) {
      for (const quiet of [true, false]) {
        const isolators = quiet ? [{ name: 'os/linux/no-new-privileges', value: true }] : [];
        const wishes = { image: { app: { user, isolators } } };
        const insecure = { ...UNSIGNED, seccomp: true };
        const without = await privileges({ ...wishes, pod: { insecure } });
        expect(await privileges(wishes)).toEqual(without);
      }
    }
  });

  it('has no filter with --insecure-options=seccomp', async () => {
    const insecure = { ...UNSIGNED, seccomp: true };
    const { stdout } = await probe(['cat', '/proc/self/status', 'call', CALL.keyctl], {
      pod: { insecure },
    });
    expect(stdout).toContain('Seccomp:\t0');
    expect(stdout.at(-1)).not.toContain(REFUSED);
  });
});

describe('a filter that is named', () => {
  // What needs systemd-nspawn besides is in nspawn.test.ts.
  const flavours = [
    'native',
    'chroot',
    ...(existsSync('/usr/bin/systemd-nspawn') ? ['nspawn'] : []),
  ];

  it.each(flavours)('ends the app at a call that was removed (%s)', async (flavour) => {
    const app = { isolators: [isolator('remove', ['mount', 'umount2'])] };
    const { code, stdout } = await probe(['call', CALL.reboot, 'call', CALL.mount, 'echo', 'on'], {
      flavour,
      app,
    });
    expect({ code, stdout: stdout.length }).toEqual({ code: 159, stdout: 1 });
  });

  it.each(flavours)('has refused calls return the errno that was chosen (%s)', async (flavour) => {
    const app = { isolators: [isolator('remove', ['@systemd/mount'], 'ENOTSUP')] };
    expect(await outcomes([CALL.mount], { flavour, app })).toEqual(['Operation not supported']);
  });

  it('keeps nothing but what is retained, and what a program lives by', async () => {
    const isolators = [isolator('retain', ['write', 'fstat', 'newfstatat', 'brk'], 'EPERM')];
    const calls = [39, CALL.personality, CALL.chroot, NO_SUCH_CALL];
    expect(await outcomes(calls, { image: { app: { isolators } } })).toEqual([
      'ok',
      REFUSED,
      REFUSED,
      REFUSED,
    ]);
  });

  it('ends an app that makes any other call', async () => {
    const isolators = [isolator('retain', ['@rkt/default-whitelist'])];
    const run = (...calls: number[]) =>
      probe(
        calls.flatMap((call) => ['call', call]),
        { image: { app: { isolators } } },
      );
    expect((await run(CALL.chroot, CALL.mseal, NO_SUCH_CALL)).code).toBe(0);
    expect((await run(CALL.mount)).code).toBe(159);
  });

  it('takes the place of the image’s own', async () => {
    const image = { app: { isolators: [isolator('retain', ['read'])] } };
    const app = { isolators: [isolator('remove', ['mount'], 'EBUSY')] };
    expect(await outcomes([CALL.mount], { image, app })).toEqual(['Device or resource busy']);
  });

  it('is none at all with @appc.io/all, and the default with @appc.io/empty', async () => {
    const status = async (one: Isolator) => {
      const { stdout } = await probe(['cat', '/proc/self/status', 'call', CALL.keyctl], {
        app: { isolators: [one] },
      });
      return stdout.at(-1);
    };
    expect(await status(isolator('retain', ['read', '@appc.io/all']))).not.toContain(REFUSED);
    expect(await status(isolator('remove', ['read', '@appc.io/empty']))).toContain(REFUSED);
    expect(await status(isolator('remove', ['@appc.io/empty'], 'EBUSY'))).toContain('busy');
  });

  it('comes with no-new-privileges for another user than root', async () => {
    const isolators = [isolator('remove', ['reboot'])];
    const flag = async (user: string, own: Isolator[]) =>
      (await privileges({ image: { app: { user, isolators: own } } })).find((line) =>
        line.startsWith('NoNewPrivs'),
      );
    expect(await flag('33', isolators)).toBe('NoNewPrivs:\t1');
    expect(await flag('0', isolators)).toBe('NoNewPrivs:\t0');
    expect(await flag('33', [])).toBe('NoNewPrivs:\t0');
  });

  it('leaves no capability behind that loading it took', async () => {
    const app = { isolators: [isolator('remove', ['reboot'])] };
    const without = await privileges({});
    expect(await privileges({ app })).toEqual(without);
  });

  it('holds for the calls of 32-bit programs, and there are none of x32', async () => {
    const app = { isolators: [isolator('remove', ['mount', 'socket', 'mseal'], 'EBUSY')] };
    const { stdout } = await probe(
      [
        ...['call32', 21, 'call32', 359, 'call32', '102:1', 'call32', 462, 'call32', 20],
        ...['call', 0x40000000 | CALL.mount, 'call', 0x40000000 | CALL.mseal],
        ...['call', 0x40000000 | 39],
      ],
      { app },
    );
    expect(stdout.map((line) => line.replace(/^.*: /, ''))).toEqual([
      ...Array<string>(4).fill('Device or resource busy'),
      'ok',
      ...Array<string>(3).fill('Function not implemented'),
    ]);
  });

  it('lets a program of 32 bits run', async () => {
    // mov eax, 21 (mount); int 0x80; neg eax; mov ebx, eax; mov eax, 1 (exit); int 0x80
    const code = Buffer.from('b815000000cd80f7d889c3b801000000cd80', 'hex');
    const image = { files: { 'bin/narrow': { content: narrowProgram(code), mode: 0o755 } } };
    expect((await probe([], { image, app: { exec: '/bin/narrow' } })).code).toBe(1);
  });
});

/** A static i386 program. */
function narrowProgram(code: Buffer): Buffer {
  const header = Buffer.alloc(84);
  header.write('7f454c46010101', 'hex');
  const half = [2, 3];
  half.forEach((value, index) => {
    header.writeUInt16LE(value, 16 + index * 2);
  });
  const words = [1, 0x8048054, 52, 0, 0];
  words.forEach((value, index) => {
    header.writeUInt32LE(value, 20 + index * 4);
  });
  [52, 32, 1, 0, 0, 0].forEach((value, index) => {
    header.writeUInt16LE(value, 40 + index * 2);
  });
  const length = 84 + code.length;
  [1, 0, 0x8048000, 0x8048000, length, length, 5, 0x1000].forEach((value, index) => {
    header.writeUInt32LE(value, 52 + index * 4);
  });
  return Buffer.concat([header, code]);
}

describe('a set that makes no sense', () => {
  it.each<[Isolator, string]>([
    [isolator('remove', ['frobnicate']), 'unknown system call "frobnicate"'],
    [isolator('retain', ['@rkt/nothing']), 'unknown set of system calls "@rkt/nothing"'],
    [isolator('retain', ['read'], 'ENONSENSE'), 'unknown errno "ENONSENSE"'],
    [isolator('remove', ['@appc.io/all']), 'nothing can run without any system call'],
  ])('is refused, with the app and who asked for it (%#)', async (one, message) => {
    const world = createWorld();
    const own = await addImage(world, { app: { isolators: [one] } });
    const plain = await addImage(world, { name: 'example.com/plain' });
    const operator = {
      ...requestOf(plain, []),
      apps: [{ record: plain, args: [], isolators: [one] }],
    };
    await expect(preparePod(world.context, operator)).rejects.toThrow(
      `app "plain": --seccomp: ${message}`,
    );
    await expect(preparePod(world.context, requestOf(own, []))).rejects.toThrow(
      `app "probe": ${one.name} of its image: ${message}`,
    );
    expect(existsSync(join(world.dataDir, 'pods'))).toBe(false);
  });

  it('may name calls that other architectures have', async () => {
    const app = {
      isolators: [isolator('remove', ['s390_pci_mmio_read', 'chown32', 'swapcontext'])],
    };
    expect(await outcomes([39], { app })).toEqual(['ok']);
  });
});

describe('a prepared pod', () => {
  async function prepare(world: World): Promise<string> {
    const record = await addImage(world);
    const { stdout } = await runChild(
      world,
      'prepare',
      requestOf(record, ['uname', 'call', String(CALL.mount)]),
    );
    return stdout[0] ?? '';
  }

  it('has its filter in its plan, where people read what it does, and not in its record', async () => {
    const world = createWorld();
    using pod = findPod(world.dataDir, await prepare(world));
    expect(formatPlan(pod)).toMatch(/^ {2}seccomp {2}# allows \d+ calls; .*EPERM for all others$/m);
    expect(statSync(pod.file('plan')).size).toBeGreaterThan(10_000);
    expect(statSync(pod.file('record.json')).size).toBeLessThan(5000);
  });

  it('keeps it when it is started with another host name', async () => {
    const world = createWorld();
    const uuid = await prepare(world);
    const { stdout } = await runChild(world, 'start', { uuid, hostname: 'other' });
    expect(stdout).toEqual(['uname other', `call ${CALL.mount}: ${REFUSED}`]);
  });
});

describe('compiled filters', () => {
  async function run(world: World) {
    const record = await addImage(world);
    const { stdout, stderr } = await runPod(world, requestOf(record, ['call', String(CALL.mount)]));
    expect({ stdout, stderr }).toEqual({ stdout: [`call ${CALL.mount}: ${REFUSED}`], stderr: '' });
  }

  function entry(world: World): string {
    const directory = join(world.dataDir, 'filters');
    const [name = '', ...others] = readdirSync(directory);
    expect(others).toEqual([]);
    return join(directory, name);
  }

  it('are kept for the pods that come after', async () => {
    const world = createWorld();
    await run(world);
    const { ino } = statSync(entry(world));
    await run(world);
    expect(statSync(entry(world)).ino).toBe(ino);
  });

  it.each<[string, (bytes: Buffer) => Buffer]>([
    ['cut short', (bytes) => bytes.subarray(0, bytes.length - 8)],
    ['empty', () => Buffer.alloc(0)],
    ['never written', (bytes) => Buffer.alloc(bytes.length)],
    [
      'changed',
      (bytes) =>
        Buffer.concat([
          bytes.subarray(0, -8),
          Buffer.from('0600000000ff7f00', 'hex').subarray(0, 8),
        ]),
    ],
  ])('are compiled anew where one was %s', async (_, damage) => {
    const world = createWorld();
    await run(world);
    const path = entry(world);
    const whole = readFileSync(path);
    writeFileSync(path, damage(whole));
    await run(world);
    expect(readFileSync(path).equals(whole)).toBe(true);
  });

  it('are not taken from a file that is somebody else’s', async () => {
    const world = createWorld();
    await run(world);
    const path = entry(world);
    chownSync(path, 33, 33);
    await run(world);
    expect(statSync(path).uid).toBe(0);
  });

  it('are neither taken from nor kept in a directory that others can write to', async () => {
    const world = createWorld();
    await run(world);
    const path = entry(world);
    chmodSync(join(world.dataDir, 'filters'), 0o777);
    writeFileSync(path, 'odd');
    await run(world);
    expect(readFileSync(path, 'utf8')).toBe('odd');
  });

  it('are removed by gc a month later', async () => {
    const world = createWorld();
    await run(world);
    const path = entry(world);
    await runChild(world, 'gc', null);
    expect(existsSync(path)).toBe(true);
    const then = Date.now() / 1000 - 31 * 86_400;
    utimesSync(path, then, then);
    await runChild(world, 'gc', null);
    expect(existsSync(path)).toBe(false);
  });
});
