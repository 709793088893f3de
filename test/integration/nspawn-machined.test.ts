import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { createInstallation, type Installation } from '../support/installation.ts';
import { bootMachine, type Machine } from '../support/machine.ts';
import { buildProgram } from '../support/program.ts';
import { needs, program, root } from '../support/requirements.ts';

/**
 * Says that it is there, and on USR1 once more, on TERM that it goes; then ends with 3. With an argument it only
 * says that, or with a number counts up to it.
 */
const app = buildProgram(`
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static void again(int number)
{
    (void)number;
    write(1, "again\\n", 6);
}
static void end(int number)
{
    (void)number;
    write(1, "going\\n", 6);
    _exit(3);
}
int main(int argc, char **argv)
{
    signal(SIGTERM, end);
    signal(SIGUSR1, again);
    for (int i = 1; argc > 1 && i < atoi(argv[1]); i++)
        printf("%d\\n", i);
    puts(argc > 1 ? argv[1] : "there");
    fflush(stdout);
    while (argc == 1)
        pause();
    return 0;
}
`);

const needed = [root, program('systemd-nspawn'), program('mmdebstrap'), program('nsenter')];

let directory: string;
let gantry: Installation;
let machine: Machine | undefined;
let reference: string;

beforeAll(async () => {
  if (!needed.every(({ met }) => met)) return;
  directory = mkdtempSync(join(tmpdir(), 'gantry-test-'));
  gantry = await createInstallation(directory);
  const rootfs = join(directory, 'rootfs');
  mkdirSync(rootfs);
  copyFileSync(app, join(rootfs, 'app'));
  const image = await gantry.makeImage('app', rootfs, { exec: ['/app'] });
  await gantry.call('fetch', image.path);
  reference = image.reference;
  machine = await bootMachine(directory);
}, 300_000);

afterAll(async () => {
  await machine?.stop();
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

beforeEach((context) => needs(context, ...needed));

function inMachine(): Machine {
  if (machine === undefined) throw new Error('no machine');
  return machine;
}

const command = (...words: string[]) =>
  gantry.command('run', '--stage1-name=nspawn', reference, '--name=web', ...words).words;

let units = 0;

/** Starts a service in the machine, and waits until the pod it starts is known to machined and its app there. */
async function startService(...words: readonly string[]) {
  const unit = `pod${++units}`;
  const others = new Set(await machines());
  await inMachine().call(
    'systemd-run',
    '--quiet',
    `--unit=${unit}`,
    '--remain-after-exit',
    ...words,
  );
  const pod = await eventually(async () => {
    return (await machines()).find((name) => name.startsWith('gantry-') && !others.has(name));
  });
  // Of a test that failed.
  onTestFinished(async () => {
    await inMachine().run('systemctl', 'kill', '--signal=KILL', unit);
  });
  await eventually(async () => ((await journal(pod)).includes('web') ? true : undefined));
  return { unit, pod };
}

async function machines(): Promise<string[]> {
  const lines = await inMachine().call('machinectl', 'list', '--no-legend');
  return lines
    .split('\n')
    .filter(Boolean)
    .map((line) => line.split(/\s/)[0] ?? '');
}

/** Of journalctl -M: SYSLOG_IDENTIFIER and message of each line. */
async function journal(pod: string): Promise<string> {
  return (await inMachine().run('journalctl', `--machine=${pod}`, '--output=short', '--no-pager'))
    .stdout;
}

async function supervisorOf(pod: string): Promise<string> {
  const pids = `${directory}/data/pods/run/${pod.slice('gantry-'.length)}/pid`;
  return (await inMachine().call('cat', pids)).split(' ')[0] ?? '';
}

async function property(unit: string, name: string): Promise<string> {
  return await inMachine().call('systemctl', 'show', '--value', `--property=${name}`, unit);
}

/** How the service ended, when it has. */
async function codeOf(unit: string): Promise<string> {
  return await eventually(async () => {
    const state = await property(unit, 'ActiveState');
    const sub = await property(unit, 'SubState');
    if (state === 'active' && sub === 'running') return undefined;
    return await property(unit, 'ExecMainStatus');
  });
}

async function eventually<T>(look: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + 15_000;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error('waited in vain');
    await sleep(50);
  }
}

/** Nothing of any pod is left in the machine. */
async function expectNothingLeft(): Promise<void> {
  await eventually(async () => ((await machines()).length === 0 ? true : undefined));
  const look = `cat /proc/[0-9]*/comm | grep -E '^(gantry|gantry-init|systemd-nspawn|app)$';
    cat /proc/[0-9]*/mountinfo | grep ${directory}/data/pods;
    find /sys/fs/cgroup -name 'gantry-*' -o -name 'machine-gantry*'; ls /run/systemd/nspawn/propagate`;
  await eventually(async () => {
    const { stdout } = await inMachine().run('sh', '-c', look);
    return stdout === '' ? true : undefined;
  });
  const { stdout } = await inMachine().run(
    'sh',
    '-c',
    'cat /proc/[0-9]*/comm | grep -c systemd-journal',
  );
  expect(stdout.trim()).toBe('1');
}

const RUNS = [
  ['as a service', (words: readonly string[]) => words],
  // A shell is what the unit consists of; the pod gets a unit of its own.
  ['from a shell', (words: readonly string[]) => ['sh', '-c', `${words.join(' ')}; exit $?`]],
] as const;

describe.each(RUNS)('a pod run where machined runs, %s', (_how, through) => {
  it('is known to machined, which knows its root and its processes', async () => {
    const { unit, pod } = await startService(...through(command()));
    const status = await inMachine().call('machinectl', 'status', '--no-pager', pod);
    expect(status).toMatch(/Leader: \d+ \(gantry-init\)/);
    expect(status).toContain('class container');
    expect(status).toMatch(/Root: .*\/pods\/run\/[0-9a-f-]{36}\/root/);
    expect(status).toMatch(/\d+ \/app$/m);
    await inMachine().call('systemctl', 'stop', unit);
    await inMachine()
      .call('machinectl', 'terminate', pod)
      .catch(() => {});
    await expectNothingLeft();
  });

  it('is ended in order by machinectl terminate, with its own exit code', async () => {
    const { unit, pod } = await startService(...through(command()));
    await inMachine().call('machinectl', 'terminate', pod);
    expect(await codeOf(unit)).toBe('3');
    await expectNothingLeft();
  });

  it('is not ended by machinectl reboot, nor by the end of its journald', async () => {
    const { unit, pod } = await startService(...through(command()));
    const times = async () => {
      const { stdout } = await inMachine().run('journalctl', '--no-pager', '--output=cat');
      return stdout.split('\n').filter((line) => / web\[\d+\]: again$/.test(line)).length;
    };
    const before = await times();
    const find = `cat /proc/[0-9]*/stat | awk '$2 == "(systemd-journal)" && $4 != 1 { print $1 }'`;
    const journald = await inMachine().call('sh', '-c', find);
    await inMachine().call('sh', '-c', `kill -KILL ${journald}`);
    await inMachine().call('machinectl', 'reboot', pod);
    await inMachine().call('sh', '-c', `kill -USR1 ${await supervisorOf(pod)}`);
    await eventually(async () => ((await times()) === before + 1 ? true : undefined));
    await inMachine().call('machinectl', 'terminate', pod);
    expect(await codeOf(unit)).toBe('3');
    await expectNothingLeft();
  });

  it('is ended in order by machinectl poweroff', async () => {
    const { unit, pod } = await startService(...through(command()));
    await inMachine().call('machinectl', 'poweroff', pod);
    expect(await codeOf(unit)).toBe('3');
    await expectNothingLeft();
  });

  it('has its lines in a journal that journalctl -M reads, by app and at their times', async () => {
    const { unit, pod } = await startService(...through(command()));
    const words = ['journalctl', `--machine=${pod}`, '--output=json', '--no-pager'] as const;
    const line = await inMachine().call(...words, 'SYSLOG_IDENTIFIER=web');
    const entry = JSON.parse(line) as Record<string, string>;
    expect(entry).toMatchObject({ MESSAGE: 'there', SYSLOG_IDENTIFIER: 'web' });
    // Not always 2: machined looks into the pod by processes in it.
    expect(entry['SYSLOG_PID']).toMatch(/^[2-9]$/);
    expect(entry['_MACHINE_ID']).toBe(pod.slice('gantry-'.length).replaceAll('-', ''));
    expect(Math.abs(Number(entry['__REALTIME_TIMESTAMP']) / 1000 - Date.now())).toBeLessThan(
      20_000,
    );
    await inMachine().call('machinectl', 'terminate', pod);
    expect(await codeOf(unit)).toBe('3');
    await expectNothingLeft();
  });

  it('takes everything with it when its supervisor is killed', async () => {
    const { unit, pod } = await startService(...through(command()));
    await inMachine().call('sh', '-c', `kill -KILL ${await supervisorOf(pod)}`);
    await codeOf(unit);
    await expectGone(pod);
  });

  it.each([
    ['one', 'brief', ['brief']],
    ['more than fit into a socket', '4000', Array.from({ length: 4000 }, (_, i) => String(i + 1))],
  ])('keeps the lines of an app that ends at once: %s', async (_many, argument, expected) => {
    const before = new Set(readdirSync(join(directory, 'data/pods/run')));
    const line = through([...command(), '--', argument]);
    const { code } = await inMachine().run('systemd-run', '--quiet', '--wait', ...line);
    expect(code).toBe(0);
    const uuid = readdirSync(join(directory, 'data/pods/run')).find((name) => !before.has(name));
    const folder = join(directory, 'data/pods/run', uuid ?? '', 'journal');
    const words = ['journalctl', `--directory=${folder}`, '--output=cat', '--no-pager'] as const;
    const entries = await inMachine().call(...words, 'SYSLOG_IDENTIFIER=web');
    expect(entries.split('\n')).toEqual(expected);
    await expectNothingLeft();
  });

  /** A killed service leaves its group to the flavour's gc. */
  async function expectGone(pod: string): Promise<void> {
    await inMachine().call('systemctl', 'reset-failed');
    const words = gantry.command('gc', '--grace-period=0s').words;
    await eventually(async () => {
      await inMachine().run(...words);
      const uuid = pod.slice('gantry-'.length);
      return readdirSync(join(directory, 'data/pods/run')).includes(uuid) ? undefined : true;
    });
    await expectNothingLeft();
  }
});
