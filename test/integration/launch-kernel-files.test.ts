import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { LaunchPod, logged, type Step } from './launch/pods.ts';
import { setScene } from './launch/scene.ts';

const scene = setScene();

function run(steps: readonly Step[], pod: readonly Step[] = [], words: readonly string[] = []) {
  const plan = { grace: 1, pod, apps: { web: { do: words, steps } } };
  return new LaunchPod(plan, 'pod', scene.base).run();
}

describe('a process', () => {
  it('has the OOM score of its section', async () => {
    const { stdout } = await run([['oom-score', '17']], [], ['cat', '/proc/self/oom_score_adj']);
    expect(logged(stdout)).toEqual(['web[2]: 17']);
  });

  it('has a limit that the kernel does not let be raised as far as it goes, which is told', async () => {
    const { code, stdout, stderr } = await run(
      // More than fs.nr_open can ever be: not even CAP_SYS_RESOURCE helps.
      [['rlimit', 'nofile', '30', '4294967294']],
      [],
      ['cat', '/proc/self/limits'],
    );
    const own = /^Max open files +\d+ +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`Max open files +30 +${own} `));
    expect(stderr).toBe(
      `gantry: run: app "web": rlimit nofile 30 4294967294: this host allows no more than ${own}\n`,
    );
  });

  it('without a label it should have is not started', async (context) => {
    if (existsSync('/sys/fs/selinux/enforce') || existsSync('/sys/module/apparmor')) {
      context.skip('this host has labels');
    }
    for (const kind of ['selinux', 'apparmor']) {
      const { code, stdout, stderr } = await new LaunchPod(
        { apps: { web: { do: ['say', 'never'], steps: [['label', kind, 'some']] } } },
        kind,
        scene.base,
      ).run();
      expect({ code, stdout }).toEqual({ code: 254, stdout: '' });
      expect(stderr).toContain(`gantry: run: app "web": label ${kind} some: `);
    }
  });

  it('is not started where what is at /proc is not the kernel’s', async () => {
    const fake: Step[] = [
      ['mount', 'tmpfs', '/proc', 'tmpfs', 'nosuid'],
      ['make-directory', '/proc/2', '0755'],
      ['write-file', '/proc/2/oom_score_adj', '0644', '0'],
      ['oom-score', '17'],
    ];
    const { code, stderr } = await run(fake, [], ['say', 'never']);
    expect(code).toBe(254);
    expect(stderr).toBe('gantry: run: app "web": oom-score 17: Invalid argument\n');
  });

  it.each([
    ['oom-score', ['oom-score', '1001']],
    ['oom-score', ['oom-score', '-']],
    ['oom-score', ['oom-score', '--1']],
    ['label', ['label', 'smack', 'x']],
    ['rlimit', ['rlimit', 'files', '1', '1']],
  ])('is not started by a malformed step %s: %s', async (word, step) => {
    const { code, stderr } = await run([step]);
    expect(code).toBe(254);
    expect(stderr).toMatch(
      new RegExp(`^gantry: run: plan: step \\d+: ${word}: argument 1 is wrong\n$`),
    );
  });
});

describe('a kernel parameter', () => {
  it('is the pod’s', async () => {
    const path = '/proc/sys/net/core/somaxconn';
    const before = readFileSync(path, 'utf8');
    const pod: Step[] = [['sysctl', 'net/core/somaxconn', '12']];
    const { stdout } = await run([], pod, ['cat', path]);
    expect(logged(stdout)).toEqual(['web[2]: 12']);
    expect(readFileSync(path, 'utf8')).toBe(before);
  });

  it.each([
    ['that is not there', 'net/none', '1', 'No such file or directory'],
    ['with a value it cannot have', 'net/core/somaxconn', 'x', 'Invalid argument'],
  ])('%s keeps the pod from being started', async (_, key, value, why) => {
    const { code, stdout, stderr } = await run([], [['sysctl', key, value]], ['say', 'never']);
    expect({ code, stdout }).toEqual({ code: 254, stdout: '' });
    expect(stderr).toContain(`gantry: run: pod: sysctl ${key} ${value}: ${why}`);
  });
});
