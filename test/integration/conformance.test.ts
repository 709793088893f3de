import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { ended } from '../support/ended.ts';
import { leaksSince, readHost } from '../support/host.ts';
import {
  machineKernel,
  machines,
  needs,
  program,
  type Requirement,
  root,
} from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const checkout = join(import.meta.dirname, '../..');
const shell = join(checkout, 'examples/stage1-shell');

/** Stage1s that keep the contract, each checked in full: what the check is called with, and what that needs. */
const KEEPERS: Readonly<Record<string, Keeper>> = {
  native: { words: () => ['native'] },
  nspawn: { words: () => ['nspawn'], requirements: [program('systemd-nspawn')] },
  chroot: { words: () => ['chroot'] },
  kvm: {
    words: () => ['--patience=60', `--config=${machineConfiguration()}`, 'kvm'],
    requirements: [machines],
  },
  'stage1-shell': { words: () => [copyOfShell({})] },
};

interface Keeper {
  readonly words: () => readonly string[];
  readonly requirements?: readonly Requirement[];
}
/** Of one stage1 in full: many pods, one of which waits out a grace. */
const IN_FULL = { timeout: 300_000 };
/** Of single topics: a few pods. */
const IN_PART = { timeout: 120_000 };

beforeEach((context) => needs(context, root));

describe('the check of stage1s', () => {
  for (const [name, { words, requirements = [] }] of Object.entries(KEEPERS)) {
    it(`passes ${name}`, IN_FULL, async (context) => {
      needs(context, ...requirements);
      const { output, code } = await check(words());
      expect(output).toMatch(/^\d+ passed, 0 failed/m);
      expect(code).toBe(0);
    });
  }

  it('says which feature a manifest does not claim', async () => {
    const { output } = await check(['--markdown', '--topic=hostname', copyOfShell({})]);
    expect(output).toContain('| hostname | a host name of its own | – |');
  });

  it('leaves nothing when it is interrupted', IN_PART, async () => {
    const scratch = temporaryDirectory();
    const before = readHost(scratch);
    const child = start(scratch, ['native']);
    while (!readdirSync(scratch).some((name) => hasPod(join(scratch, name)))) await sleep(20);
    child.kill('SIGINT');
    expect((await ended(child)).code).toBe(130);
    expect(readdirSync(scratch)).toEqual([]);
    expect(await leaksSince(before, scratch)).toEqual([]);
  });

  it('refuses words it does not know, with its usage', async () => {
    for (const words of [[], ['--topic=nothing', 'native'], ['--nothing', 'native']]) {
      const { errors, code } = await check(words);
      expect(errors).toContain('usage: check.ts');
      expect(code).toBe(2);
    }
  });
});

describe('the check notices', IN_PART, () => {
  it('a stage1 that is none', async () => {
    const { output, code } = await check([temporaryDirectory()]);
    expect(output).toMatch(/Gantry takes the stage1: failed: .*manifest\.json/);
    expect(code).toBe(1);
  });

  it('a run that exits at once', async () => {
    const { output } = await check([copyOfShell({ run: () => '#!/bin/sh\nexit 0\n' })]);
    expect(output).toContain('a pod starts and is ready: failed: run ended with 0 before');
  });

  it('a run that never writes its pid', async () => {
    const run = without('replace pid "$$ $init"');
    const { output } = await check(['--topic=lock', copyOfShell({ run })]);
    expect(output).toContain('`pid` names the run process and an init below it: failed');
  });

  it('a run that closes the lock', async () => {
    const run = withAdded('unset GANTRY_LOCK_FD NOTIFY_SOCKET', 'exec {lock}>&-; lock=99');
    const { output } = await check(['--topic=lock', copyOfShell({ run })]);
    expect(output).toContain('lock: it is held while the pod runs: failed');
  });

  it('a process of the pod that has the lock too', async () => {
    const run = without('exec {lock}>&-');
    const { output } = await check(['--topic=lock', copyOfShell({ run })]);
    expect(output).toMatch(/lock: and by no other process of the pod: failed: .*"init\[/);
  });

  it('a process that is left behind', async () => {
    const line = 'setsid sleep 20 </dev/null >/dev/null 2>&1 {lock}>&- &';
    const run = withAdded('unset GANTRY_LOCK_FD NOTIFY_SOCKET', line);
    const { output } = await check(['--topic=codes', copyOfShell({ run })]);
    expect(output).toMatch(/failed: processes live on: sleep\[\d+\]/);
  });

  it('a wrong exit code', async () => {
    const run = (text: string) => text.replace(/exit "\$code"\n$/, 'exit 0\n');
    const { output } = await check(['--topic=codes', copyOfShell({ run })]);
    expect(output).toContain(
      'codes: an exit code of 77: failed: exit code of run: "0" instead of "77"',
    );
  });

  it('a pod that outlives its run', async () => {
    const run = (text: string) =>
      text.replace('setpriv --pdeathsig KILL setsid', 'setsid').replace(' --kill-child', '');
    const { output } = await check(['--topic=killed', copyOfShell({ run })]);
    expect(output).toMatch(/killed: run killed: .*: failed: processes that live on: \["/);
  });

  it('a feature that is claimed and not there', async () => {
    const manifest = (text: string) => text.replace('"net-host",', '"net-host", "notify",');
    const { output } = await check(['--topic=notify', copyOfShell({ 'manifest.json': manifest })]);
    expect(output).toMatch(
      /^example\.com\/stage1-shell: notify: READY=1 is sent: failed: .* has not heard it$/m,
    );
    expect(output).toMatch(/^notify .*✗$/m);
  });
});

/** Machines without hardware acceleration: whether there is one differs, and so would what is tested. */
function machineConfiguration(): string {
  const directory = temporaryDirectory();
  const kind = { rktKind: 'kvm', rktVersion: 'v1' };
  mkdirSync(join(directory, 'kvm.d'));
  writeFileSync(
    join(directory, 'kvm.d/machine.json'),
    JSON.stringify({ ...kind, ...machineKernel, acceleration: 'tcg' }),
  );
  return directory;
}

type Change = (text: string) => string;

/** A copy of the stage1 in shell, with some of its files changed. */
function copyOfShell(changes: Readonly<Record<string, Change>>): string {
  const directory = join(temporaryDirectory(), 'stage1');
  cpSync(shell, directory, { recursive: true });
  for (const [file, change] of Object.entries(changes)) {
    const path = join(directory, file);
    const before = readFileSync(path, 'utf8');
    const text = change(before);
    if (text === before) throw new Error(`the change of ${file} changes nothing`);
    writeFileSync(path, text);
  }
  return directory;
}

function without(line: string): Change {
  return (text) => text.replace(line, ':');
}

function withAdded(line: string, added: string): Change {
  return (text) => text.replace(line, `${line}\n${added}`);
}

/** Runs the check, which must leave nothing on the host, whatever it checks. */
async function check(words: readonly string[]) {
  const scratch = temporaryDirectory();
  const before = readHost(scratch);
  const child = start(scratch, words);
  const { said, complained, code } = await ended(child);
  expect(await leaksSince(before, scratch)).toEqual([]);
  return { output: said, errors: complained, code };
}

function start(scratch: string, words: readonly string[]) {
  return spawn(join(checkout, 'test/conformance/run'), ['--patience=20', ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TMPDIR: scratch },
  });
}

/** Whether a pod runs in a laboratory of the check. */
function hasPod(laboratory: string): boolean {
  const pods = join(laboratory, 'data/pods/run');
  return (
    existsSync(pods) && readdirSync(pods).some((uuid) => existsSync(join(pods, uuid, 'ready')))
  );
}
