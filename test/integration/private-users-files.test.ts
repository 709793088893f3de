import { chownSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { needs, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { buildProbe } from './pod-probe.ts';
import {
  createWorld,
  host,
  mounted,
  owner,
  removePods,
  requestFor,
  run,
  runAmong,
} from './private-users-world.ts';

beforeEach((context) => needs(context, root));
afterEach(removePods);

describe('files of a pod with users of its own', () => {
  it('belong to the same numbers as on the host in its volumes', async () => {
    const source = temporaryDirectory();
    writeFileSync(join(source, 'theirs'), '');
    chownSync(join(source, 'theirs'), 1000, 1001);
    const { stdout } = await run(
      ['stat', '/data/theirs', 'write', '/data/new', 'stat', '/data/new'],
      {
        ...mounted([host('data', source)], ['data', '/data']),
      },
    );
    expect(stdout).toEqual([
      'stat /data/theirs: 100644 1000:1001',
      'write /data/new: ok',
      'stat /data/new: 100644 0:0',
    ]);
    expect(owner(join(source, 'new'))).toBe('0:0');
  });

  it('belong to nobody where the file system of a volume has no idmapped mounts, which is said', async () => {
    const { stdout, stderr } = await run(['stat', '/data/hostname'], {
      ...mounted([host('data', '/proc/sys/kernel', { readOnly: true })], ['data', '/data']),
    });
    expect(stdout).toEqual(['stat /data/hostname: 100644 65534:65534']);
    expect(stderr).toMatch(
      /--volume data: with --private-users its files belong to nobody: .*\/proc/,
    );
  });

  it('are copied for it with --no-overlay', async () => {
    const files = {
      seven: { uid: 7, gid: 8 },
      strange: { uid: 70_000 },
      'bin/su': { content: readFileSync(buildProbe()), mode: 0o4755 },
    };
    const app = { user: '1000', group: '1000', exec: ['/bin/su'] };
    const { stdout, dir, first } = await run(
      ['effective', 'stat', '/seven', 'stat', '/strange'],
      { overlay: false },
      { files, app },
    );
    expect(stdout).toEqual([
      'effective 0:1000',
      'stat /seven: 100644 7:8',
      'stat /strange: 100644 65534:0',
    ]);
    const copy = join(dir, 'apps/probe/rootfs');
    expect(owner(join(copy, 'seven'))).toBe(`${first + 7}:${first + 8}`);
    expect(owner(join(copy, 'strange'))).toBe(`65534:${first}`);
  });

  it('are copied for it where the file system of the store has no idmapped mounts, which is said', async () => {
    const world = createWorld();
    const request = await requestFor(
      world,
      ['stat', '/seven'],
      {},
      { files: { seven: { uid: 7, gid: 8 } } },
    );
    const { said, complained } = await runAmong(
      `mount -t ramfs ramfs $S && cp -a ${world.dataDir} $S/data && exec "$@"`,
      (directory) => join(directory, 'data'),
      () => request,
    );
    expect(said).toContain('stat /seven: 100644 7:8');
    expect(complained).toMatch(/--private-users: the image is copied, .*has no idmapped mounts/);
  });

  it('are theirs in volumes that live with the pod', async () => {
    const app = { user: '1000', group: '1000', mountPoints: [{ name: 'work', path: '/work' }] };
    const files = { work: { directory: true, mode: 0o700, uid: 1000, gid: 1000 } } as const;
    const { stdout, dir, first } = await run(
      ['stat', '/work', 'write', '/work/new'],
      {},
      { app, files },
    );
    expect(stdout).toEqual(['stat /work: 40700 1000:1000', 'write /work/new: ok']);
    expect(owner(join(dir, 'volumes/work/new'))).toBe(`${first + 1000}:${first + 1000}`);
  });

  it('travel from the host to it in a volume with propagation=slave', async () => {
    const world = createWorld();
    const wait = Array.from({ length: 8 }, () => ['await', '/data/in/there']).flat();
    const request = await requestFor(world, ['write', '/data/ready', ...wait]);
    const { said, complained } = await runAmong(
      `mount -t tmpfs t $S; mount --make-shared $S; mkdir $S/in
      (until [ -e $S/ready ]; do sleep 0.02; done; mount -t tmpfs t $S/in; touch $S/in/there) &
      "$@"`,
      () => world.dataDir,
      (directory) => ({
        ...request,
        ...mounted([host('data', directory, { propagation: 'slave' })], ['data', '/data']),
      }),
    );
    expect(complained).toBe('');
    expect(said).toContain('await /data/in/there: ok');
  });
});
