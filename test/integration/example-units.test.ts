import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { createInstallation, type Installation } from '../support/installation.ts';
import { bootMachine, type Machine } from '../support/machine.ts';
import { buildProgram } from '../support/program.ts';
import { needs, program, root } from '../support/requirements.ts';

/** Mounts a tmpfs where its argument says, if it has one; on TERM ends with 0. */
const app = buildProgram(`
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
static void end(int number)
{
    (void)number;
    _exit(0);
}
int main(int argc, char **argv)
{
    signal(SIGTERM, end);
    if (argc == 2 && (mkdir(argv[1], 0755) < 0 || mount("tmpfs", argv[1], "tmpfs", 0, "") < 0)) {
        perror("mount");
        return 1;
    }
    puts("there");
    fflush(stdout);
    for (;;)
        pause();
}
`);

const needed = [root, program('systemd-nspawn'), program('mmdebstrap'), program('nsenter')];
const examples = join(import.meta.dirname, '../../examples/systemd');

let directory: string;
let gantry: Installation;
let machine: Machine | undefined;

beforeAll(async () => {
  if (!needed.every(({ met }) => met)) return;
  directory = mkdtempSync(join(tmpdir(), 'gantry-test-'));
  gantry = await createInstallation(directory);
  for (const [name, ...words] of [['agent', '/srv/agent/mounted'], ['web'], ['cache']] as const) {
    const rootfs = join(directory, `${name}-root`);
    mkdirSync(rootfs);
    copyFileSync(app, join(rootfs, 'app'));
    const image = await gantry.makeImage(name, rootfs, { exec: ['/app', ...words] });
    await gantry.call('fetch', image.path);
  }
  machine = await bootMachine(directory);
}, 300_000);

afterAll(async () => {
  await machine?.stop();
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

beforeEach((context) => needs(context, ...needed));

/** Starts the unit as it is, but for the program and the versions of the images; until it says that it is ready. */
async function start(name: string): Promise<Machine> {
  if (machine === undefined) throw new Error('no machine');
  const unit = readFileSync(join(examples, name), 'utf8')
    .replace('/usr/bin/gantry run', gantry.command('run').words.join(' '))
    .replaceAll(/(example\.com\/\w+):[\d.]+/g, '$1:1.0.0');
  writeFileSync(join(directory, name), unit);
  await machine.call('cp', join(directory, name), '/run/systemd/system/');
  await machine.call('mkdir', '-p', '/srv/agent', '/srv/web', '/etc/agent');
  await machine.call('systemctl', 'daemon-reload');
  await machine.call('systemctl', 'start', name);
  onTestFinished(async () => {
    await machine?.run('systemctl', 'kill', '--signal=KILL', name);
  });
  return machine;
}

async function expectEnd({ call }: Machine, name: string): Promise<void> {
  await call('systemctl', 'stop', name);
  const properties = '--property=ActiveState,Result,ExecMainStatus';
  expect((await call('systemctl', 'show', properties, name)).split('\n').sort()).toEqual([
    'ActiveState=inactive',
    'ExecMainStatus=0',
    'Result=success',
  ]);
}

describe('examples/systemd', () => {
  it('agent.service has its mounts appear on the host', async () => {
    const host = await start('agent.service');
    await host.call('mountpoint', '/srv/agent/mounted');
    await expectEnd(host, 'agent.service');
  });

  it('machine.service is a pod that machined knows', async () => {
    const host = await start('machine.service');
    const pod = (await host.call('machinectl', 'list', '--no-legend')).split(/\s/)[0] ?? '';
    expect(pod).toMatch(/^gantry-/);
    const unit = await host.call('machinectl', 'show', '--property=Unit', '--value', pod);
    expect(unit).toBe('machine.service');
    await expectEnd(host, 'machine.service');
  });
});
