import { chownSync, existsSync, mkdirSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { rootCgroup } from '../../src/isolation/cgroup.ts';
import { leaksSince, readHost } from '../support/host.ts';
import { exitCodeOf, ownProgram } from '../support/installation.ts';
import { endingOf, OrdinaryUser, rootless } from '../support/ordinary-user.ts';
import { needs, program, root } from '../support/requirements.ts';
import { IMAGE, refusal, share, UserWorld, uuidIn, waitingPod } from './user-world.ts';

beforeEach((context) => needs(context, root, rootless));

let users: UserWorld;
let user: OrdinaryUser;

beforeAll(async () => {
  if (!root.met || !rootless.met) return;
  users = await UserWorld.open(52000);
  user = users.user;
});
afterAll(() => users?.close());

describe('an ordinary user', () => {
  it('has keys, images and pods below their home', async () => {
    expect(statSync(join(user.home, '.config/gantry/trustedkeys')).uid).toBe(user.uid);
    expect(statSync(user.dataDirectory).uid).toBe(user.uid);
  });

  it('lets no group into the images and pods, whose set-user-ID programs are the user', async () => {
    await user.run(['run', IMAGE]);
    for (const name of ['.', 'images', 'layers', 'pods', 'pods/exited-garbage']) {
      expect(statSync(join(user.dataDirectory, name)).mode & 0o777).toBe(0o700);
    }
  });

  it('runs a signed image, as root of namespaces of their own', async () => {
    const before = readHost(user.dataDirectory);
    const { code, stdout } = await user.run([
      'run',
      IMAGE,
      '--',
      'id',
      'cat',
      '/proc/self/uid_map',
      'exit',
      '7',
    ]);
    expect(
      stdout
        .trim()
        .split('\n')
        .map((line) => line.trim().split(/\s+/)),
    ).toEqual([
      ['id', '0:0'],
      ['0', String(user.uid), '1'],
      ['1', '1000000', '65536'],
    ]);
    expect(code).toBe(7);
    expect(await leaksSince(before, user.dataDirectory)).toEqual([]);
  });

  it('gives its apps devices, and lets them make none', async () => {
    const { stdout } = await user.run([
      'run',
      IMAGE,
      '--',
      'write',
      '/dev/null',
      'read',
      '/dev/urandom',
      'node',
      '/node',
    ]);
    expect(stdout).toBe(
      'write /dev/null: ok\nread /dev/urandom: ok\nnode /node: mknod: Operation not permitted\n',
    );
  });

  it('has apps run as other users, who are theirs on the host', async () => {
    const { stdout } = await user.run([
      'run',
      '--volume=v,kind=empty,uid=33,gid=34',
      IMAGE,
      '--mount=volume=v,target=/v',
      '--user=33',
      '--group=34',
      '--',
      'id',
      'write',
      '/v/file',
      'stat',
      '/v/file',
    ]);
    expect(stdout).toBe('id 33:34\nwrite /v/file: ok\nstat /v/file: 100644 33:34\n');
    const uuid =
      (await user.call('list', '--full', '--no-legend')).split('\n').at(-1)?.split('\t')[0] ?? '';
    expect(statSync(join(user.dataDirectory, 'pods/run', uuid, 'volumes/v/file')).uid).toBe(
      1_000_032,
    );
  });

  it('has the network of the host with --net=host, and nothing of the host in /sys that can be written to', async () => {
    const { stdout } = await user.run([
      'run',
      '--net=host',
      IMAGE,
      '--',
      'write',
      '/sys/kernel/profiling',
      'ls',
      '/sys/fs',
      'stat',
      '/proc/1/ns',
    ]);
    expect(stdout).toMatch(
      /^write \/sys\/kernel\/profiling: (Read-only file system|Permission denied|No such file or directory)\nstat \/proc\/1\/ns: /,
    );
  });

  it('has the flavour chroot too, in which the app is who the user is', async () => {
    const words = [
      'run',
      '--stage1-name=chroot',
      IMAGE,
      '--',
      'id',
      'read',
      '/etc/shadow',
      'exit',
      '4',
    ];
    const { code, stdout } = await user.run(words);
    expect({ code, stdout }).toEqual({ code: 4, stdout: expect.stringMatching(/^id 0:0\nread /) });
  });

  it('enters and stops a pod of the flavour chroot', async () => {
    const words = ['--stage1-name=chroot', IMAGE, '--', 'sleep', '100'];
    const { uuid, ending } = await waitingPod(user, ...words);
    expect(await user.call('enter', uuid, '/bin/probe', 'id')).toBe('id 0:0');
    await user.call('stop', uuid);
    expect((await ending).code).toBe(143);
  });

  it('has volumes of the host, with the rights the user has there', async () => {
    const shared = join(users.directory, 'shared');
    mkdirSync(shared);
    writeFileSync(join(shared, 'file'), 'theirs');
    const volume = `--volume=v,kind=host,source=${shared}`;
    const words = ['run', volume, IMAGE, '--mount=volume=v,target=/v', '--', 'cat', '/v/file'];
    const { stdout } = await user.run([
      ...words,
      'echo',
      '',
      'write',
      '/v/other',
      'write',
      '/v/file',
    ]);
    expect(stdout).toBe(
      'theirs\nwrite /v/other: Permission denied\nwrite /v/file: Permission denied\n',
    );
  });

  it('copies the image with --no-overlay', async () => {
    const { stdout } = await user.run([
      'run',
      '--no-overlay',
      IMAGE,
      '--',
      'write',
      '/a',
      'stat',
      '/a',
    ]);
    expect(stdout).toBe('write /a: ok\nstat /a: 100644 0:0\n');
  });

  it('runs what was prepared before, and apps of a sandbox', async () => {
    const uuid = await user.call('prepare', IMAGE, '--', 'exit', '5');
    expect(await user.run(['run-prepared', uuid])).toMatchObject({ code: 5, stderr: '' });
    const file = join(user.home, 'sandbox');
    const sandbox = user.start(['app', 'sandbox', `--uuid-file-save=${file}`]);
    const ending = endingOf(sandbox);
    const pod = await uuidIn(file);
    await user.call('status', '--wait-ready=10s', pod);
    await user.call('app', 'add', pod, IMAGE, '--name=a', '--', 'echo', 'here', 'sleep', '100');
    await user.call('app', 'start', pod, '--app=a');
    expect(await user.call('app', 'list', '--no-legend', pod)).toMatch(/^a\s+running$/);
    expect(await user.call('enter', '--app=a', pod, '/bin/probe', 'id')).toBe('id 0:0');
    await user.call('app', 'rm', pod, '--app=a');
    await user.call('stop', pod);
    expect(await ending).toMatchObject({ code: 0, stdout: 'here\n' });
  });

  it('enters, sees and stops a running pod, and collects what is left of it', async () => {
    const before = readHost(user.dataDirectory);
    const { uuid, ending } = await waitingPod(user, IMAGE, '--', 'trap', '15', 'sleep', '100');
    const inside = await user.run([
      'enter',
      uuid,
      '/bin/probe',
      'id',
      'ls',
      '/proc/self/fdinfo',
      'exit',
      '9',
    ]);
    expect(inside).toMatchObject({ code: 9, stdout: expect.stringMatching(/^id 0:0\n/) });
    expect(await user.call('status', uuid)).toMatch(/^state=running\n(.*\n)*pid=\d+$/m);
    expect(await user.run(['rm', uuid])).toMatchObject(refusal(/is currently running/));
    expect(await user.call('stop', uuid)).toBe(`"${uuid}"`);
    expect((await ending).code).toBe(7);
    await user.call('gc', '--grace-period=0s');
    expect(await user.call('list', '--no-legend')).toBe('');
    expect(await leaksSince(before, user.dataDirectory)).toEqual([]);
  });

  it('stops a pod by force', async () => {
    const { uuid, child } = await waitingPod(user, IMAGE, '--', 'sleep', '100');
    await user.call('stop', '--force', uuid);
    expect(await exitCodeOf(child)).toBe(137);
  });

  it('takes the pod along, should its process be killed', async () => {
    const before = readHost(user.dataDirectory);
    const { child, ending } = await waitingPod(user, IMAGE, '--', 'sleep', '100');
    child.kill('SIGKILL');
    await ending;
    expect(await leaksSince(before, user.dataDirectory)).toEqual([]);
  });

  it('finds their home without HOME', async () => {
    const { code, stdout } = await user.run(['image', 'list', '--no-legend'], { HOME: undefined });
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringContaining(IMAGE) });
  });

  it('has directories where XDG variables say, unless those are relative', async () => {
    const data = join(user.home, 'elsewhere');
    expect((await user.run(['image', 'list', '--no-legend'], { XDG_DATA_HOME: data })).stdout).toBe(
      '',
    );
    expect(
      (await user.run(['image', 'list', '--no-legend'], { XDG_DATA_HOME: 'elsewhere' })).stdout,
    ).toContain(IMAGE);
  });

  it('may be told help and version without a namespace', async () => {
    const other = users.newUser({ subordinate: null });
    expect(await other.call('version')).toContain('gantry Version:');
    expect(await other.call('run', '--help')).toContain('Usage: gantry run');
  });
});

describe('an interactive pod of an ordinary user', () => {
  it('has a terminal', async (context) => {
    needs(context, program('script'));
    const line = `${ownProgram} run --interactive ${IMAGE} -- stat /dev/console exit 6`;
    const { code, stdout } = await endingOf(
      user.startProgram(['script', '-qec', line, '/dev/null']),
    );
    expect({ code, stdout: stdout.trim() }).toEqual({
      code: 6,
      stdout: expect.stringMatching(/stat \/dev\/console: 20\d{3} 0:\d+$/),
    });
  });
});

describe('the control group of an ordinary user', () => {
  const top = rootCgroup();
  const hierarchy = {
    what: 'a cgroup v2 hierarchy that can be written to',
    met: top !== undefined,
  };

  it('that was delegated has a group for each pod, which enter joins where it may', async (context) => {
    needs(context, hierarchy);
    const group = join(top ?? '', `rootless-${process.pid}`);
    const other = users.newUser({ asRoot: `echo $$ >${group}/cgroup.procs` });
    mkdirSync(group);
    try {
      for (const name of ['', 'cgroup.procs', 'cgroup.subtree_control']) {
        chownSync(join(group, name), other.uid, other.uid);
      }
      await share(user, other);
      const { uuid, ending } = await waitingPod(other, IMAGE, '--', 'sleep', '100');
      expect(existsSync(join(group, `gantry-${uuid}`))).toBe(true);
      const inside = await other.call('enter', uuid, '/bin/probe', 'cat', '/proc/self/cgroup');
      expect(inside).toContain(`/rootless-${process.pid}/gantry-${uuid}`);
      const elsewhere = new OrdinaryUser(dirname(other.home), { uid: other.uid });
      const outside = await elsewhere.call('enter', uuid, '/bin/probe', 'cat', '/proc/self/cgroup');
      expect(outside).not.toContain('rootless-');
      await other.call('stop', uuid);
      await ending;
      expect(existsSync(join(group, `gantry-${uuid}`))).toBe(false);
    } finally {
      rmdirSync(group);
    }
  });
});
