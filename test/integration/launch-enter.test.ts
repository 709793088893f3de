import { execFileSync } from 'node:child_process';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { compileCalls } from '../../src/isolation/system-call-program.ts';
import { endingOf, LaunchPod } from './launch/pods.ts';
import { setScene } from './launch/scene.ts';

const scene = setScene();

/** A pod of two apps that wait, started. */
async function startWaiting() {
  const pod = new LaunchPod(
    {
      grace: 1,
      apps: {
        one: {
          do: ['wait', ''],
          steps: [['no-user-namespaces'], ['keep-caps', 'chown'], ['env', 'COLOUR', 'blue']],
        },
        two: { do: ['wait', ''], steps: [['write-file', '/two', '0644', 'yes']] },
      },
    },
    'pod',
    scene.base,
  );
  const child = pod.start();
  const ending = endingOf(child);
  await pod.ready();
  return { pod, child, ending };
}

describe('enter', () => {
  it('leaves the session keyring of whoever enters outside', async () => {
    const { pod, ending } = await startWaiting();
    const words = ['keyring', ''];
    const ours = execFileSync(join(pod.image, 'bin/probe'), words, { encoding: 'utf8' });
    const { stdout } = await pod.call('enter', 'one', '/bin/probe', ...words);
    expect(stdout).toMatch(/^keyring \d+\n$/);
    expect(stdout).not.toBe(ours);
    await pod.call('stop');
    await ending;
  });

  it('has none of the groups of whoever enters', async () => {
    const { pod, ending } = await startWaiting();
    const program = join(pod.directory, 'stage1/enter');
    const words = ['--groups=6,7', program, 'one', '/bin/probe', 'groups', ''];
    const said = execFileSync('setpriv', words, { cwd: pod.directory, encoding: 'utf8' });
    expect(said).toBe('groups 0\n');
    await pod.call('stop');
    await ending;
  });

  // CVE-2017-5226: a program of the image must not type into the shell of whoever enters.
  it('lets the command type nothing into the terminal', async () => {
    const { pod, ending } = await startWaiting();
    const { stdout } = await pod.call('enter', 'one', '/bin/probe', 'type', '');
    expect(stdout).toBe('type: Operation not permitted\n');
    await pod.call('stop');
    await ending;
  });

  it('runs a command in the app, with its environment and capabilities', async () => {
    const { pod, ending } = await startWaiting();
    const words = ['env', '', 'id', '', 'cat', '/proc/self/status', 'descriptors', ''];
    const { code, stdout, stderr } = await pod.call('enter', 'one', 'probe', ...words);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('COLOUR=blue\n');
    expect(stdout).toContain('uid=0 gid=0');
    expect(stdout).toMatch(/CapEff:\s+0000000000000001\n/);
    expect(stdout).toMatch(/CapBnd:\s+0000000000000001\n/);
    expect(stdout).toMatch(/Seccomp:\s+2\n/);
    expect(stdout).toMatch(/fd 0\nfd 1\nfd 2\n$/);
    const two = await pod.call('enter', 'two', '/bin/probe', 'cat', '/two');
    expect(two.stdout).toBe('yes');
    await pod.call('stop');
    await ending;
  });

  it('lets the command make no call that the app may not', async () => {
    const filter = compileCalls({
      otherwise: 'allow',
      rules: [{ action: 'EBUSY', calls: ['mount'] }],
    }).toString('base64');
    const steps = [
      ['seccomp', filter],
      ['keep-caps', 'chown'],
    ];
    const pod = new LaunchPod(
      { grace: 1, apps: { one: { do: ['wait', ''], steps } } },
      'pod',
      scene.base,
    );
    const ending = endingOf(pod.start());
    await pod.ready();
    const words = ['mount', '/tmp', 'cat', '/proc/self/status'];
    const { stdout } = await pod.call('enter', 'one', 'probe', ...words);
    expect(stdout).toContain('mount: Device or resource busy\n');
    // What loading it took is gone.
    expect(stdout).toMatch(/CapEff:\s+0000000000000001\n/);
    await pod.call('stop');
    await ending;
  });

  it('passes on exit codes and signals', async () => {
    const { pod, ending } = await startWaiting();
    expect((await pod.call('enter', 'one', 'probe', 'exit', '19')).code).toBe(19);
    expect((await pod.call('enter', 'one', 'probe', 'raise', '15')).code).toBe(143);
    const missing = await pod.call('enter', 'one', '/bin/missing');
    expect(missing.code).toBe(254);
    expect(missing.stderr).toBe('gantry: enter: /bin/missing: No such file or directory\n');
    expect((await pod.call('enter', 'three', 'probe')).stderr).toBe(
      'gantry: enter: three: no such app in this pod\n',
    );
    await pod.call('stop', '--force');
    await ending;
  });

  it('ends with the pod', async () => {
    const { pod, ending } = await startWaiting();
    const entered = pod.call('enter', 'one', 'probe', 'ignore', '15', 'wait', '');
    await sleep(100);
    await pod.call('stop');
    expect((await entered).code).toBe(137);
    await ending;
  });

  it('refuses a pod that does not run', async () => {
    const { pod, ending } = await startWaiting();
    await pod.call('stop');
    await ending;
    const { code, stderr } = await pod.call('enter', 'one', 'probe');
    expect([code, stderr]).toEqual([254, 'gantry: enter: the pod: is not running\n']);
  });
});

describe('stop', () => {
  it('asks the apps to end', async () => {
    const { pod, ending } = await startWaiting();
    expect(await pod.call('stop')).toEqual({ code: 0, stdout: '', stderr: '' });
    expect((await ending).code).toBe(143);
    expect(pod.locked).toBe(false);
  });

  it('by force ends the run process by a signal, and still clears up', async () => {
    const { pod, child, ending } = await startWaiting();
    expect((await pod.call('stop', '--force')).code).toBe(0);
    await ending;
    expect(child.signalCode).toBe('SIGKILL');
    expect(pod.status('exit')).toBe('137\n');
    expect(pod.status('apps/one/state')).toContain('exit=137');
  });

  it('by force ends a supervisor that is itself stopped', async () => {
    const { pod, child, ending } = await startWaiting();
    child.kill('SIGSTOP');
    expect((await pod.call('stop', '--force')).code).toBe(0);
    await ending;
    expect(child.signalCode).toBe('SIGKILL');
  });

  it('never signals a stranger that has a recorded PID', async () => {
    const { pod, child, ending } = await startWaiting();
    const other = new LaunchPod({ apps: { web: { do: ['wait', ''] } } }, 'other', scene.base);
    const stranger = other.start();
    const strangersEnding = endingOf(stranger);
    await other.ready();
    const pids = pod.status('pid') ?? '';
    copyFileSync(join(other.directory, 'pid'), join(pod.directory, 'pid'));
    expect((await pod.call('enter', 'one', 'probe')).code).toBe(254);
    writeFileSync(join(pod.directory, 'pid'), pids);
    expect(stranger.exitCode).toBeNull();
    child.kill('SIGTERM');
    stranger.kill('SIGTERM');
    await Promise.all([ending, strangersEnding]);
  });
});
