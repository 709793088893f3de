import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createInstallation, type Installation } from '../support/installation.ts';
import type { Machine } from '../support/machine.ts';
import { findProgram, machines, needs, program, root } from '../support/requirements.ts';
import { bootV2Machine } from '../support/v2-machine.ts';
import { buildProbe } from './pod-probe.ts';

const parser = program('apparmor_parser');
const needed = [root, machines, program('mmdebstrap'), program('setpriv'), parser];
/** Of the machine's own: nothing on a share can be the upper layer of an overlay. */
const DATA = '/run/gantry';

/** Paths are those of the app's root. */
const PROFILE = `profile gantry-test flags=(attach_disconnected) {
  capability, file, network, signal, unix, ptrace, mount,
  deny /secret r,
}
`;

let directory: string;
let gantry: Installation;
let machine: Machine;

/** A signed image with the probe, two files to read, and this app. */
async function makeImage(name: string, app: Readonly<Record<string, unknown>>): Promise<string> {
  const rootfs = join(directory, `${name}-rootfs`);
  mkdirSync(rootfs);
  copyFileSync(buildProbe(), join(rootfs, 'probe'));
  for (const file of ['secret', 'open']) writeFileSync(join(rootfs, file), '');
  const image = await gantry.makeImage(name, rootfs, { exec: ['/probe'], ...app });
  await gantry.call('fetch', image.path);
  return image.reference;
}

let plain: string;
let labelled: string;

beforeAll(async () => {
  if (!needed.every(({ met }) => met)) return;
  directory = mkdtempSync(join(tmpdir(), 'gantry-test-'));
  gantry = await createInstallation(directory);
  plain = await makeImage('plain', {});
  labelled = await makeImage('labelled', {
    isolators: [{ name: 'os/linux/apparmor-profile', value: { profile: 'gantry-test' } }],
    eventHandlers: [{ name: 'post-stop', exec: ['/probe', 'read', '/secret'] }],
  });
  copyFileSync(findProgram('apparmor_parser') ?? '', join(directory, 'parser'));
  writeFileSync(join(directory, 'profile'), PROFILE);
  machine = await bootV2Machine(directory);
  await machine.call('cp', '-a', gantry.dataDirectory, DATA);
  await machine.call(
    join(directory, 'parser'),
    '--replace',
    '--skip-cache',
    join(directory, 'profile'),
  );
}, 300_000);

afterAll(async () => {
  await machine?.stop();
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

beforeEach((context) => needs(context, ...needed));

/** Runs a pod of one app in the machine; its lines come without what stands before them. */
async function run(image: string, options: readonly string[], ...commands: readonly string[]) {
  const [file, ...args] = gantry.command('run', image, ...options, '--', ...commands).words;
  const words = args.map((word) => (word.startsWith('--dir=') ? `--dir=${DATA}` : word));
  const { code, stdout, stderr } = await machine.run(file, ...words);
  const lines = stdout.split(/\r?\n/).filter(Boolean);
  return { code, stderr, lines: lines.map((line) => line.replace(/^\[.*?\] \w+\[\d+\]: /, '')) };
}

const READS = ['cat', '/proc/self/attr/current', 'read', '/secret', 'read', '/open'];
const CONFINED = ['gantry-test (enforce)', 'read /secret: Permission denied', 'read /open: ok'];

describe('on a host with AppArmor', () => {
  it('an app has the profile that the operator chose, and is held to it', async () => {
    const { code, lines, stderr } = await run(plain, ['--apparmor-profile=gantry-test'], ...READS);
    expect({ code, lines, stderr }).toEqual({ code: 0, lines: CONFINED, stderr: '' });
  });

  it('an app without one is not held to any', async () => {
    const { lines } = await run(plain, [], ...READS);
    expect(lines).toEqual(['unconfined', 'read /secret: ok', 'read /open: ok']);
  });

  it('an app has the profile of its image, and so have its event handlers', async () => {
    const { lines, stderr } = await run(labelled, ['--no-new-privileges'], ...READS);
    expect({ lines, stderr }).toEqual({
      lines: [...CONFINED, 'read /secret: Permission denied'],
      stderr: '',
    });
  });

  it('an app in a chroot has it too', async () => {
    const options = ['--apparmor-profile=gantry-test'];
    const [file, ...args] = gantry.command(
      ...['run', '--stage1-name=chroot', plain, ...options, '--', ...READS],
    ).words;
    const words = args.map((word) => (word.startsWith('--dir=') ? `--dir=${DATA}` : word));
    const { stdout } = await machine.run(file, ...words);
    expect(stdout.split(/\r?\n/).filter(Boolean)).toEqual(CONFINED);
  });

  it('a profile that is not loaded, and SELinux, are refused', async () => {
    const absent = await run(plain, ['--apparmor-profile=absent'], 'exit', '0');
    expect(absent.code).toBe(254);
    expect(absent.stderr).toContain('app "plain": AppArmor profile "absent" is not loaded');
    const selinux = await run(plain, ['--selinux-context=u:r:t:s0'], 'exit', '0');
    expect(selinux.code).toBe(254);
    expect(selinux.stderr).toContain('--selinux-context: SELinux is not enabled');
  });
});
