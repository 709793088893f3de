import { spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { Mount, Volume } from '../../src/image/pod-manifest.ts';
import { findPod, podsIn } from '../../src/pod/find.ts';
import { readManifest } from '../../src/pod/manifest.ts';
import { preparePod } from '../../src/pod/prepare.ts';
import type { PodRequest } from '../../src/pod/request.ts';
import { ended } from '../support/ended.ts';
import { needs, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import {
  addImage,
  createWorld,
  type ImageWishes,
  leaks,
  requestOf,
  runPod,
  UNSIGNED,
  type World,
} from './pod-world.ts';

beforeEach((context) => needs(context, root));

const ABLE = { ...UNSIGNED, capabilities: true, seccomp: true };
const DATA = { app: { mountPoints: [{ name: 'data', path: '/data' }] } };

function host(name: string, source: string, more: object = {}): Volume {
  return { name, kind: 'host', source, readOnly: false, ...more };
}

function at(volume: string, path: string): Mount {
  return { volume, path };
}

interface Wishes {
  readonly image?: ImageWishes;
  readonly mounts?: readonly Mount[];
  readonly ofPod?: readonly Mount[];
}

async function requestFor(
  world: World,
  commands: readonly string[],
  volumes: readonly Volume[],
  { image, mounts = [], ofPod = [] }: Wishes,
): Promise<PodRequest> {
  const record = await addImage(world, image);
  const { network: _, ...request } = requestOf(record, commands);
  return { ...request, volumes, mounts: ofPod, apps: [{ record, args: commands, mounts }] };
}

/** A source on the host, with a file in it. */
function source(): string {
  const directory = temporaryDirectory();
  writeFileSync(join(directory, 'here'), 'host\n');
  return directory;
}

describe.each(['native', 'chroot'])('a volume of the host under %s', (flavour) => {
  async function run(
    commands: readonly string[],
    volumes: readonly Volume[],
    wishes: Wishes = { image: DATA },
  ) {
    const world = createWorld(flavour);
    const request = await requestFor(world, commands, volumes, wishes);
    const ending = await runPod(world, request);
    expect(await leaks(world)).toEqual([]);
    return { ...ending, world };
  }

  /**
   * The same in a mount namespace of its own, in which `script` is run before, with the source, a
   * shared file system, as $S; `after` is run after it.
   */
  async function runAmong(
    script: string,
    commands: readonly string[],
    volume: (source: string) => Volume,
    after = 'true',
  ) {
    const world = createWorld(flavour);
    const directory = temporaryDirectory();
    const request = await requestFor(world, commands, [volume(directory)], { image: DATA });
    const line = `S=$1; shift; mount -t tmpfs t $S; mount --make-shared $S; ${script}; "$@"; ${after}`;
    const child = spawn(
      'unshare',
      [
        ...['-m', '--propagation', 'private', 'sh', '-c', line, 'sh', directory],
        ...[process.execPath, join(import.meta.dirname, 'pod-child.ts'), world.dataDir, 'run'],
        // Or a native app could mount nothing.
        JSON.stringify({ ...request, runsNow: true, insecure: ABLE }),
      ],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, TEST_STAGE1_DIR: world.context.stage1Dir },
      },
    );
    onTestFinished(() => void child.kill('SIGKILL'));
    const [said, complained] = await Promise.all([text(child.stdout), text(child.stderr)]);
    expect(await leaks(world)).toEqual([]);
    const lines = said.split('\n').filter(Boolean);
    return {
      stdout: lines.map((word) => word.replace(/^\[ *\d+\.\d+\] [a-z0-9-]+\[\d+\]: /, '')),
      stderr: complained,
    };
  }

  it('is where the image has a mount point of its name', async () => {
    const path = source();
    const commands = ['cat', '/data/here', 'write', '/data/new'];
    const { stdout } = await run(commands, [host('data', path)]);
    expect(stdout).toEqual(['host', 'write /data/new: ok']);
    expect(readdirSync(path).sort()).toEqual(['here', 'new']);
  });

  it('is where --mount says, which the image need not have, for all apps or for one', async () => {
    const wishes = {
      mounts: [at('data', '/srv/deep/own')],
      ofPod: [at('data', '/srv/all'), at('other', '/srv/deep/own')],
    };
    const volumes = [host('data', source()), host('other', source())];
    const commands = ['cat', '/srv/all/here', 'cat', '/srv/deep/own/here', 'stat', '/srv'];
    const { stdout } = await run(commands, volumes, wishes);
    expect(stdout).toEqual(['host', 'host', 'stat /srv: 40755 0:0']);
  });

  it('takes the place of what would be at the mount point of that path', async () => {
    const volumes = [host('mine', source())];
    const wishes = { image: DATA, mounts: [at('mine', '/data/')] };
    expect((await run(['cat', '/data/here'], volumes, wishes)).stdout).toEqual(['host']);
  });

  it('never leaves the root through a link of the image', async () => {
    const outside = temporaryDirectory();
    const image = { files: { out: { link: outside }, tmp: { directory: true } as const } };
    const wishes = { image, mounts: [at('data', '/out/deep/x')] };
    const { code, stderr } = await run([], [host('data', source())], wishes);
    // Where the link leads there is nothing in the image.
    expect(code).toBe(254);
    expect(stderr).toContain('make-directory /out/deep/x 0755: ');
    expect(readdirSync(outside)).toEqual([]);
  });

  it('may be a file, over one of the image or over nothing', async () => {
    const path = join(source(), 'here');
    const image = { files: { etc: { directory: true } as const, 'etc/conf': 'image\n' } };
    const wishes = { image, mounts: [at('file', '/etc/conf'), at('file', '/opt/x/conf')] };
    const commands = ['cat', '/etc/conf', 'cat', '/opt/x/conf', 'write', '/etc/conf'];
    const { stdout } = await run(commands, [host('file', path)], wishes);
    expect(stdout).toEqual(['host', 'host', 'write /etc/conf: ok']);
  });

  it('may be a device, which can be opened', async () => {
    const wishes = { mounts: [at('zero', '/mine/zero')] };
    const { stdout } = await run(['read', '/mine/zero'], [host('zero', '/dev/zero')], wishes);
    expect(stdout).toEqual(['read /mine/zero: ok']);
  });

  it('has no other devices, unless the app is an agent of the host', async () => {
    const { stdout } = await run(['node', '/data/own'], [host('data', source())]);
    const said = flavour === 'chroot' ? 'ok' : 'Permission denied';
    expect(stdout).toEqual([`node /data/own: ${said}`]);
  });

  it('is read-only where the volume or the mount point says so', async () => {
    const commands = ['write', '/data/new'];
    const readOnly = ['write /data/new: Read-only file system'];
    const volume = host('data', source(), { readOnly: true });
    expect((await run(commands, [volume])).stdout).toEqual(readOnly);
    const image = { app: { mountPoints: [{ name: 'data', path: '/data', readOnly: true }] } };
    const path = source();
    expect((await run(commands, [host('data', path)], { image })).stdout).toEqual(readOnly);
    expect(readdirSync(path)).toEqual(['here']);
  });

  it('comes with what is mounted below it, where it is recursive, and all of that is read-only', async () => {
    const below = 'mkdir $S/below; mount -t tmpfs t $S/below; echo deep > $S/below/file';
    const commands = ['read', '/data/below/file', 'write', '/data/below/new'];
    const seen = async (more: object) =>
      (await runAmong(below, commands, (path) => host('data', path, more))).stdout;
    const nothing = 'read /data/below/file: No such file or directory';
    expect((await seen({ recursive: false }))[0]).toBe(nothing);
    expect(await seen({ recursive: true, readOnly: true })).toEqual([
      'read /data/below/file: ok',
      'write /data/below/new: Read-only file system',
    ]);
    // rkt's defaults.
    const byDefault = flavour === 'chroot' ? nothing : 'read /data/below/file: ok';
    expect((await seen({}))[0]).toBe(byDefault);
  });

  const later =
    '(until [ -e $S/go ]; do sleep 0.02; done; mkdir $S/in; mount -t tmpfs t $S/in; touch $S/in/seen) &';
  const mounted = 'mount /data/out: ok';
  const own = ['write', '/data/go', 'await', '/data/in/seen', 'mount', '/data/out'];
  const list = 'wait; grep -c " $S/out " /proc/self/mountinfo';

  it('lets no mounts travel unless it is asked to', async () => {
    const { stdout } = await runAmong(
      `mkdir $S/out; ${later} true`,
      own,
      (p) => host('data', p),
      list,
    );
    expect(stdout.slice(1)).toEqual(['await /data/in/seen: no', mounted, '0']);
  });

  it('lets the mounts of the host come in as a slave', async () => {
    const volume = (path: string) => host('data', path, { propagation: 'slave' });
    const { stdout } = await runAmong(`mkdir $S/out; ${later} true`, own, volume, list);
    expect(stdout.slice(1)).toEqual(['await /data/in/seen: ok', mounted, '0']);
  });

  it('lets mounts travel both ways when shared', async () => {
    const volume = (path: string) => host('data', path, { propagation: 'shared' });
    const { stdout } = await runAmong(`mkdir $S/out; ${later} true`, own, volume, list);
    expect(stdout.slice(1)).toEqual(['await /data/in/seen: ok', mounted, '1']);
  });

  it('may be shared only where it lies on a shared mount', async () => {
    const volume = (path: string) => host('data', path, { propagation: 'slave' });
    const { stderr } = await runAmong('mount --make-private $S', [], volume);
    expect(stderr).toMatch(
      /^--volume data: propagation=slave: (\S+) lies on no shared mount of the host: make it one with "mount --make-shared \1"$/m,
    );
  });

  it('that has come to lie on no shared mount when the pod starts ends it, not the travelling', async () => {
    const world = createWorld(flavour);
    const directory = temporaryDirectory();
    const volume = host('data', directory, { propagation: 'slave' });
    const request = await requestFor(world, [], [volume], { image: DATA });
    const child = ['$0', join(import.meta.dirname, 'pod-child.ts'), '$D'].join(' ');
    const line = `mount -t tmpfs t $S; mount --make-shared $S
      U=$(${child} prepare "$R") && mount --make-private $S && exec ${child} start "{\\"uuid\\":\\"$U\\"}"`;
    const { code, complained } = await ended(
      spawn('unshare', ['-m', '--propagation', 'private', 'sh', '-c', line, process.execPath], {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: {
          ...process.env,
          TEST_STAGE1_DIR: world.context.stage1Dir,
          S: directory,
          D: world.dataDir,
          R: JSON.stringify(request),
        },
      }),
    );
    expect(complained).toContain('lies on no shared mount any more, so no mounts would travel');
    expect(code).toBe(254);
  });

  it('that is not there is refused, and nothing is left', async () => {
    const world = createWorld(flavour);
    const request = await requestFor(world, [], [host('data', '/none/such')], { image: DATA });
    await expect(preparePod(world.context, request)).rejects.toThrow(
      '--volume data: source "/none/such": there is no such file',
    );
    expect(await leaks(world)).toEqual([]);
    expect(podsIn(world.dataDir, 'prepared')).toEqual([]);
  });

  it('that is a file is not mounted over a directory, nor a directory over a file', async () => {
    const world = createWorld(flavour);
    const image = { files: { dir: { directory: true } as const, file: 'text' } };
    const directory = source();
    const file = join(directory, 'here');
    const refused = async (path: string, target: string) => {
      const wishes = { image, mounts: [at('x', target)] };
      return preparePod(world.context, await requestFor(world, [], [host('x', path)], wishes));
    };
    await expect(refused(file, '/dir')).rejects.toThrow('/dir is a directory in the image');
    await expect(refused(directory, '/file')).rejects.toThrow('/file is no directory in the image');
    await expect(refused(directory, '/')).rejects.toThrow('over which nothing is mounted');
  });
});

describe.each(['native', 'chroot', 'nspawn'])('an empty volume under %s', (flavour) => {
  it('has the owner and mode that were asked for, and is gone with the pod', async () => {
    const world = createWorld(flavour);
    const volume: Volume = {
      ...{ name: 'data', kind: 'empty', readOnly: false },
      ...{ mode: '1770', uid: 33, gid: 44 },
    };
    const commands = ['stat', '/data', 'write', '/data/x'];
    const request = await requestFor(world, commands, [volume], { image: DATA });
    const { stdout } = await runPod(world, request);
    expect(stdout).toEqual(['stat /data: 41770 33:44', 'write /data/x: ok']);
  });

  it('may be read-only', async () => {
    const world = createWorld(flavour);
    const volume: Volume = {
      ...{ name: 'data', kind: 'empty', readOnly: true },
      ...{ mode: '0755', uid: 0, gid: 0 },
    };
    const request = await requestFor(world, ['write', '/data/x'], [volume], { image: DATA });
    const { stdout } = await runPod(world, request);
    expect(stdout).toEqual(['write /data/x: Read-only file system']);
  });
});

describe('the volumes of a pod', () => {
  it('are shared by its apps', async () => {
    const world = createWorld();
    const record = await addImage(world);
    const path = source();
    const request = requestOf(record, []);
    const { code } = await runPod(world, {
      ...request,
      volumes: [host('data', path)],
      mounts: [at('data', '/srv')],
      apps: [
        { record, name: 'a', args: ['write', '/srv/a'] },
        { record, name: 'b', args: ['write', '/srv/b'] },
      ],
    });
    expect(code).toBe(0);
    expect(readdirSync(path).sort()).toEqual(['a', 'b', 'here']);
  });

  it('are in its manifest, with the mounts', async () => {
    const world = createWorld();
    const path = source();
    const volumes = [host('data', path, { recursive: false }), host('more', path)];
    const wishes = { image: DATA, mounts: [at('more', '/more')] };
    const { uuid } = await (async () => {
      using pod = await preparePod(world.context, await requestFor(world, [], volumes, wishes));
      return pod;
    })();
    using pod = findPod(world.dataDir, uuid);
    const manifest = readManifest(pod);
    expect(manifest.volumes).toEqual(volumes);
    expect(manifest.apps[0]?.mounts).toEqual([at('more', '/more'), at('data', '/data')]);
  });

  it('that no app has a place for are told of, and left out', async () => {
    const world = createWorld();
    const request = await requestFor(world, [], [host('lost', '/none')], {});
    using pod = await preparePod(world.context, request);
    expect(world.warnings).toEqual([
      '--volume lost: no app has a mount point of that name: say where it goes with --mount',
    ]);
    expect(readFileSync(pod.file('plan'), 'utf8')).not.toContain('/none');
  });

  it('that --mount names must be there', async () => {
    const world = createWorld();
    const request = await requestFor(world, [], [], { mounts: [at('gone', '/x')] });
    await expect(preparePod(world.context, request)).rejects.toThrow(
      '--mount: app "probe": there is no volume "gone": give it with --volume gone,kind=host,source=PATH',
    );
  });

  it('are one to a path', async () => {
    const world = createWorld();
    const volumes = [host('a', '/tmp'), host('b', '/tmp')];
    const wishes = { mounts: [at('a', '/x'), at('b', '/x/')] };
    const request = await requestFor(world, [], volumes, wishes);
    await expect(preparePod(world.context, request)).rejects.toThrow(
      '--mount: app "probe": two volumes have the target "/x"',
    );
  });

  it('keep the owner and mode of their source', async () => {
    const world = createWorld();
    const path = join(source(), 'own');
    mkdirSync(path);
    chownSync(path, 7, 8);
    chmodSync(path, 0o750);
    const request = await requestFor(world, ['stat', '/data'], [host('data', path)], {
      image: DATA,
    });
    expect((await runPod(world, request)).stdout).toEqual(['stat /data: 40750 7:8']);
    expect(existsSync(path)).toBe(true);
  });
});
