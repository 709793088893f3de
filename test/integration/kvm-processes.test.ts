import { beforeEach, describe, expect, it } from 'vitest';
import { machines, needs, root } from '../support/requirements.ts';
import { createMachineWorld, withoutWarning } from './kvm-world.ts';

const OPTIONS = ['--insecure-options=image', '--stage1-name=kvm'];
const handler = (name: string, ...words: string[]) => ({ name, exec: ['/bin/probe', ...words] });

describe('a pod in a machine', () => {
  beforeEach((context) => needs(context, root, machines));

  it('has event handlers, limits and kernel parameters as any pod', async () => {
    const world = await createMachineWorld();
    const image = await world.addImage('web', {
      eventHandlers: [
        handler('pre-start', 'write', '/prestart'),
        handler('post-stop', 'open-files', 'exit', '3'),
      ],
    });
    const { code, stdout, stderr } = await world.gantry.run(
      ...['run', ...OPTIONS, '--sysctl=net.core.somaxconn=77', image],
      ...['--rlimit=nofile=25:2000000', '--rlimit=core=unlimited', '--oom-score-adj=-500', '--'],
      ...['read', '/prestart', 'cat', '/proc/self/oom_score_adj'],
      ...['cat', '/proc/sys/net/core/somaxconn', 'open-files', 'exit', '4'],
    );
    expect(stdout.replace(/^.*?\]: /gm, '')).toBe(
      'write /prestart: ok\nread /prestart: ok\n-500\n77\nfiles 25: Too many open files\nfiles 25: Too many open files\n',
    );
    // What the machine's own kernel does not allow is told of as well, here by its fs.nr_open.
    const told = 'rlimit nofile 25 2000000: this host allows no more than 4096';
    expect(withoutWarning(stderr).split('\n')).toEqual([
      ...['app', 'app', 'app'].map(() => `gantry: run: app "web": ${told}`),
      'gantry: run: app "web": its post-stop event handler ended with exit code 3',
      '',
    ]);
    expect(code).toBe(4);
    expect(await world.leaks()).toEqual([]);
  }, 60_000);

  it('has no labels', async () => {
    const world = await createMachineWorld();
    const image = await world.addImage('web', {});
    const label = '--apparmor-profile=x';
    const { code, stderr } = await world.gantry.run('run', ...OPTIONS, image, label);
    expect(code).toBe(254);
    expect(stderr).toContain('stage1 gantry/kvm lacks labels');
  });
});
