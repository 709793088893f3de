import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { leaksSince, readHost } from '../support/host.ts';
import type { Installation } from '../support/installation.ts';
import { needs, root } from '../support/requirements.ts';
import { sharedInstallation } from '../support/shared-installation.ts';
import { buildProbe } from './pod-probe.ts';

let directory: string;
let gantry: Installation;
let reference: string;
let source: string;

beforeAll(async () => {
  if (!root.met) return;
  ({ directory, gantry } = await sharedInstallation());
  reference = await gantry.storeProgram('probe', buildProbe());
  source = join(directory, 'source');
  mkdirSync(source);
  writeFileSync(join(source, 'here'), 'host\n');
});

beforeEach((context) => needs(context, root));

describe.each(['native', 'chroot'])('gantry run --stage1-name=%s', (flavour) => {
  const stage1 = `--stage1-name=${flavour}`;

  it('mounts a volume of the host, for the app or for all', async () => {
    const before = readHost(directory);
    const volume = `--volume=data,kind=host,source=${source},readOnly=true`;
    const app = [
      '--mount',
      'volume=data,target=/own',
      '--',
      'cat',
      '/own/here',
      'cat',
      '/all/here',
    ];
    const { code, stdout, stderr } = await gantry.run(
      'run',
      stage1,
      volume,
      '--mount=volume=data,target=/all',
      reference,
      ...app,
    );
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout.match(/host$/gm)).toHaveLength(2);
    expect(await leaksSince(before, directory)).toEqual([]);
  });

  it.each([
    ['--volume=data,kind=host', /^gantry: run: --volume data: source= is required/],
    ['--mount=volume=data', /^gantry: run: --mount "volume=data": target= is required/],
    [
      '--mount=volume=none,target=/x',
      /^gantry: run: --mount: app "probe": there is no volume "none": give it with --volume none,kind=host,source=PATH$/m,
    ],
    ['--volume=data,kind=host,source=/none', /^warning: --volume data: no app has a mount point/],
  ])('says what is wrong with %s', async (word, message) => {
    const { stderr } = await gantry.run('run', stage1, word, reference);
    expect(stderr).toMatch(message);
  });

  it('shows volumes in cat-manifest, and starts what was prepared with them', async () => {
    const volume = `--volume=data,kind=host,source=${source},propagation=private`;
    const mount = '--mount=volume=data,target=/data';
    const words = [stage1, volume, reference, mount, '--', 'write', '/data/new', 'exit', '9'];
    const uuid = await gantry.call('prepare', ...words);
    const manifest = JSON.parse(await gantry.call('cat-manifest', uuid));
    expect(manifest.volumes).toEqual([
      { name: 'data', kind: 'host', source, readOnly: false, propagation: 'private' },
    ]);
    expect(manifest.apps[0].mounts).toEqual([{ volume: 'data', path: '/data' }]);
    expect((await gantry.run('run-prepared', uuid)).code).toBe(9);
    expect(readFileSync(join(source, 'new'), 'utf8')).toBe('');
    rmSync(join(source, 'new'));
  });
});

describe('the chroot flavour', () => {
  it('is fly by its old name', async () => {
    for (const name of ['fly', 'coreos.com/rkt/stage1-fly']) {
      const words = [`--stage1-name=${name}`, reference, '--', 'echo', 'raw'];
      expect((await gantry.run('run', ...words)).stdout).toBe('raw\n');
    }
  });

  it('says what it lacks', async () => {
    const { code, stderr } = await gantry.run(
      'run',
      '--stage1-name=chroot',
      '--net=none',
      reference,
    );
    expect(code).toBe(254);
    expect(stderr).toMatch(
      /^gantry: run: stage1 gantry\/chroot lacks net-none .*--net=none asks for/,
    );
  });
});
