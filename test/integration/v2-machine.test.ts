import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createInstallation, type Installation } from '../support/installation.ts';
import type { Machine } from '../support/machine.ts';
import { machines, needs, program, root } from '../support/requirements.ts';
import { bootV2Machine } from '../support/v2-machine.ts';
import { buildProbe } from './pod-probe.ts';

const needed = [root, machines, program('mmdebstrap'), program('setpriv')];
/** Of the machine's own: nothing on a share can be the upper layer of an overlay. */
const DATA = '/run/gantry';
const GROUPS = '/sys/fs/cgroup';
const REFUSED = 'Operation not permitted';

let directory: string;
let gantry: Installation;
let machine: Machine;
let reference: string;

beforeAll(async () => {
  if (!needed.every(({ met }) => met)) return;
  directory = mkdtempSync(join(tmpdir(), 'gantry-test-'));
  gantry = await createInstallation(directory);
  const rootfs = join(directory, 'rootfs');
  for (const path of ['', 'mnt']) mkdirSync(join(rootfs, path));
  copyFileSync(buildProbe(), join(rootfs, 'probe'));
  const image = await gantry.makeImage('probe', rootfs, { exec: ['/probe'] });
  await gantry.call('fetch', image.path);
  reference = image.reference;
  machine = await bootV2Machine(directory);
  await machine.call('cp', '-a', gantry.dataDirectory, DATA);
}, 300_000);

afterAll(async () => {
  await machine?.stop();
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

// All in it takes some ten times as long as outside.
vi.setConfig({ testTimeout: 120_000 });
beforeEach((context) => needs(context, ...needed));

/** A command line as it is there. */
function command(verb: string, ...words: readonly string[]): readonly [string, ...string[]] {
  const [file, ...args] = gantry.command(verb, ...words).words;
  return [file, ...args.map((word) => (word.startsWith('--dir=') ? `--dir=${DATA}` : word))];
}

/** Runs a pod of one app with options; its lines come without what stands before them. */
async function run(options: readonly string[], ...commands: readonly string[]) {
  return told(await machine.run(...command('run', reference, ...options, '--', ...commands)));
}

function told({ code, stdout, stderr }: Awaited<ReturnType<Machine['run']>>) {
  const lines = stdout.split(/\r?\n/).filter(Boolean);
  return { code, stderr, lines: lines.map((line) => line.replace(/^\[.*?\] \w+\[\d+\]: /, '')) };
}

/** The pods' groups that there are, anywhere. */
async function groups(): Promise<string> {
  return await machine.call('find', GROUPS, '-type', 'd', '-name', 'gantry-*');
}

it('the machine has control groups of v2 alone', async () => {
  expect(await machine.call('cat', '/proc/self/cgroup')).toBe('0::/system.slice/agent.service');
  const controllers = await machine.call('cat', `${GROUPS}/cgroup.controllers`);
  expect(controllers.split(' ')).toEqual(expect.arrayContaining(['cpu', 'io', 'memory', 'pids']));
});

describe('where all control groups are v2', () => {
  it('an app is killed when it takes more memory than it may', async () => {
    expect(await run(['--memory=16M'], 'hold', '64')).toMatchObject({ code: 137, lines: [] });
    expect(await groups()).toBe('');
  });

  it('an app has no more processes than it may', async () => {
    const { lines } = await run(['--pids=5'], 'forks', '20');
    expect(lines).toEqual(['forks 4: Resource temporarily unavailable']);
    expect(await groups()).toBe('');
  });

  it('an app has no more of a processor than it may', async () => {
    const { lines } = await run(['--cpu=200m'], 'spin', '2000');
    expect(Number(lines[0]?.split(' ')[1])).toBeLessThan(900);
  });

  it('an app that can mount and make devices cannot open those of the host', async () => {
    const caps = '--caps-retain=CAP_SYS_ADMIN,CAP_MKNOD,CAP_SYSLOG';
    const tries = ['c:1:11', 'c:1:3'].flatMap((device) => ['device', `/mnt/node=${device}`]);
    const { lines } = await run([caps], 'mount', '/mnt', ...tries);
    expect(lines).toEqual([
      'mount /mnt: ok',
      `read /mnt/node: ${REFUSED}`,
      `write /mnt/node: ${REFUSED}`,
      'read /mnt/node: ok',
      'write /mnt/node: ok',
    ]);
  });

  it('a device as a volume is read-only where it is to be', async () => {
    const attempt = async (readOnly: boolean) => {
      const volume = `--volume=log,kind=host,source=/dev/kmsg,readOnly=${readOnly}`;
      const mount = '--mount=volume=log,target=/log';
      const words = command('run', volume, reference, mount, '--caps-retain=CAP_SYSLOG', '--');
      return told(await machine.run(...words, 'read', '/log', 'write', '/log')).lines;
    };
    expect(await attempt(true)).toEqual(['read /log: ok', `write /log: ${REFUSED}`]);
    expect(await attempt(false)).toEqual(['read /log: ok', 'write /log: ok']);
  });
});

describe('a pod of a service of systemd', () => {
  const service = async (...properties: string[]) => {
    const words = command('run', reference, '--memory=64M', '--', 'cat', '/proc/self/cgroup');
    const asked = properties.map((property) => `--property=${property}`);
    const unit = ['--quiet', '--wait', '--pipe', '--unit=web.service', ...asked];
    return told(await machine.run('systemd-run', ...unit, '--', ...words));
  };

  it('that was given its group to divide has its groups there', async () => {
    const { lines, stderr } = await service('Delegate=yes');
    expect(stderr).toBe('');
    expect(lines[0]).toMatch(/^0::\/system\.slice\/web\.service\/gantry-[-0-9a-f]{36}\/app-probe$/);
  });

  it('that was not has them at the top', async () => {
    const { lines } = await service();
    expect(lines[0]).toMatch(/^0::\/.*gantry-[-0-9a-f]{36}\/app-probe$/);
    expect(await groups()).toBe('');
  });
});

it('what is left of a pod whose processes were killed is removed by gc', async () => {
  const words = command('run', '--uuid-file-save=/run/uuid', reference, '--memory=64M', '--');
  const ended = machine.run(...words, 'sleep', '1000');
  const ready = 'until test -s /run/uuid; do sleep 0.1; done; cat /run/uuid';
  const uuid = await machine.call('sh', '-c', ready);
  await machine.call(...command('status', '--wait-ready=60s', uuid));
  const pid = /^pid=(\d+)/m.exec(await machine.call(...command('status', uuid)))?.[1] ?? '';
  const supervisor = await machine.call('sh', '-c', `cut -d ' ' -f 1 ${DATA}/pods/run/${uuid}/pid`);
  expect(pid).not.toBe('');
  await machine.call('sh', '-c', `kill -KILL ${supervisor}`);
  await ended;
  expect(await groups()).toContain(uuid);
  await machine.call(...command('gc', '--grace-period=0s'));
  expect(await groups()).toBe('');
});
