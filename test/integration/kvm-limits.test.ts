import { beforeEach, describe, expect, it } from 'vitest';
import { machines, needs, root } from '../support/requirements.ts';
import { createMachineWorld, startMachine, withoutWarning } from './kvm-world.ts';

beforeEach((context) => needs(context, root, machines));

/** What a pod in a machine is run with here: nothing is signed. */
const OPTIONS = ['--insecure-options=image', '--stage1-name=kvm'];

describe('the limits of a pod in a machine', () => {
  it('bound each app, and a command that is entered into one', async () => {
    const world = await createMachineWorld();
    const image = await world.addImage('bounded', {});
    const pod = await startMachine(
      world,
      ...[image, '--name=web', '--pids=10', '--memory=32M', '--', 'sleep', '60', '---'],
      ...[image, '--name=free', '--', 'forks', '50', 'hold', '64', 'sleep', '60'],
    );
    const enter = (app: string, ...words: string[]) =>
      world.gantry.run('enter', `--app=${app}`, pod.uuid, '/bin/probe', ...words);
    expect((await enter('web', 'forks', '50')).stdout).toBe(
      'forks 8: Resource temporarily unavailable\n',
    );
    expect((await enter('free', 'forks', '50')).stdout).toBe('forks 50: ok\n');
    expect((await enter('web', 'hold', '64')).code).toBe(137);
    await world.gantry.call('stop', pod.uuid);
    await pod.ended;
    expect(await world.leaks()).toEqual([]);
  });

  it('are not those of a disk', async () => {
    const world = await createMachineWorld();
    const image = await world.addImage('weighty', {});
    const ending = await world.gantry.run('run', ...OPTIONS, image, '--io-weight=10');
    expect({ ...ending, stderr: withoutWarning(ending.stderr) }).toMatchObject({
      code: 254,
      stderr: expect.stringContaining(
        'app "weighty": --io-weight cannot be enforced: a machine has no disk of its own',
      ),
    });
  });
});
