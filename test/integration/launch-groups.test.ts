import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { groupHost } from '../../src/isolation/control-groups.ts';
import { type AppPlan, LaunchPod, type Step } from './launch/pods.ts';
import { setScene } from './launch/scene.ts';

const scene = setScene();

/** A name for a group that no other test has, in a hierarchy of this version. */
function groupIn(version: 1 | 2, name: string): string | undefined {
  const hierarchy = groupHost().hierarchies.find((one) => one.version === version);
  return hierarchy && join(hierarchy.top, `launch-test-${process.pid}-${name}`);
}

/** Runs a pod with a group of its own, made and removed by the plan. */
async function runWith(
  group: string,
  steps: { supervisor?: Step[]; before?: Step[] },
  app: AppPlan = { do: ['exit', '0'] },
) {
  const plan = {
    apps: { web: app },
    ...steps,
    supervisor: [['make-cgroup', group], ...(steps.supervisor ?? [])],
    teardown: [['remove-cgroup', group]],
  };
  const ending = await new LaunchPod(plan, 'pod', scene.base).run();
  expect(existsSync(group)).toBe(false);
  return ending;
}

describe('set-cgroup', () => {
  it('writes to a control file of a group', async ({ skip }) => {
    const group = groupIn(2, 'set') ?? skip();
    const supervisor: Step[] = [
      ['set-cgroup', group, 'cgroup.max.descendants', '0'],
      ['make-cgroup', join(group, 'more')],
    ];
    const { code, stderr } = await runWith(group, { supervisor });
    expect(code).toBe(254);
    expect(stderr).toContain(`make-cgroup ${group}/more: Resource temporarily unavailable`);
  });

  it('fails with what it was to write, and where', async ({ skip }) => {
    const group = groupIn(2, 'missing') ?? skip();
    const { code, stderr } = await runWith(group, {
      supervisor: [['set-cgroup', group, 'memory.nothing', '16']],
    });
    expect(code).toBe(254);
    expect(stderr).toContain(`set-cgroup ${group} memory.nothing 16: No such file or directory`);
  });

  it('does nothing without the file where that is optional', async ({ skip }) => {
    const group = groupIn(2, 'optional') ?? skip();
    const { code } = await runWith(group, {
      supervisor: [['set-cgroup', group, 'memory.nothing', '16', 'optional']],
    });
    expect(code).toBe(0);
  });

  it('fails where the kernel does not take the value, optional or not', async ({ skip }) => {
    const group = groupIn(2, 'value') ?? skip();
    const { code, stderr } = await runWith(group, {
      supervisor: [['set-cgroup', group, 'cgroup.max.depth', 'deep', 'optional']],
    });
    expect(code).toBe(254);
    expect(stderr).toContain('cgroup.max.depth deep optional: Invalid argument');
  });
});

describe('an app', () => {
  it('enters the group that was opened for it', async ({ skip }) => {
    const group = groupIn(2, 'enter') ?? skip();
    const { stdout } = await runWith(
      group,
      { before: [['open-cgroup', '319', group]] },
      { do: ['cat', '/proc/self/cgroup'], steps: [['enter-cgroup', '319', group]] },
    );
    expect(stdout).toContain(`0::/launch-test-${process.pid}-enter`);
  });

  it('enters none by a slot that nobody filled', async ({ skip }) => {
    const group = groupIn(2, 'empty') ?? skip();
    const app = { do: ['exit', '0'], steps: [['enter-cgroup', '70', group]] };
    const { code, stderr } = await runWith(group, {}, app);
    expect(code).toBe(254);
    expect(stderr).toContain(`app "web": enter-cgroup 70 ${group}: Bad file descriptor`);
  });

  it('is not started when a slot is filled twice', async ({ skip }) => {
    const group = groupIn(2, 'twice') ?? skip();
    const before: Step[] = [
      ['open-cgroup', '70', group],
      ['open-cgroup', '70', group],
    ];
    expect((await runWith(group, { before })).stderr).toContain('open-cgroup 70');
  });
});

describe('remove-cgroup', () => {
  it('kills what is left in a group of v1 and in those below it', async ({ skip }) => {
    const group = groupIn(1, 'kill') ?? skip();
    const below = join(group, 'below');
    mkdirSync(group);
    mkdirSync(below);
    onTestFinished(() => {
      for (const each of [below, group]) if (existsSync(each)) rmdirSync(each);
    });
    const left = [group, below].map((each) => {
      const child = spawn('sleep', ['60'], { stdio: 'ignore' });
      onTestFinished(() => void child.kill('SIGKILL'));
      writeFileSync(join(each, 'cgroup.procs'), String(child.pid));
      return once(child, 'exit');
    });
    expect((await runWith(group, {})).code).toBe(0);
    expect(await Promise.all(left)).toEqual([
      [null, 'SIGKILL'],
      [null, 'SIGKILL'],
    ]);
  });
});
