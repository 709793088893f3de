import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { leaksSince, readHost } from '../support/host.ts';
import { type Installation, runCommand } from '../support/installation.ts';
import { needs, root } from '../support/requirements.ts';
import { sharedInstallation } from '../support/shared-installation.ts';
import { body, World } from './fetch-world.ts';
import { buildProbe } from './pod-probe.ts';

const UNSIGNED = '--insecure-options=image';
const OCI = 'registry.example.org/team/probe:1.2';

let directory: string;
let gantry: Installation;
let reference: string;
let id: string;
let ociId: string;
let source: string;

beforeAll(async () => {
  if (!root.met) return;
  ({ directory, gantry } = await sharedInstallation());
  reference = await gantry.storeProgram('probe', buildProbe());
  [{ id }] = JSON.parse(await gantry.call('image list', '--format=json'));
  const ociRoot = join(directory, 'oci');
  mkdirSync(join(ociRoot, 'data'), { recursive: true });
  writeFileSync(join(ociRoot, 'data/seed'), 'of the image\n');
  copyFileSync(buildProbe(), join(ociRoot, 'probe'));
  const words = ['--entrypoint=/probe', '--cmd=cat /data/seed pwd', '--volume=/data'];
  ociId = await gantry.call(
    'image import',
    `--name=${OCI}`,
    ...words,
    '--working-dir=/made/here',
    ociRoot,
  );
  source = join(directory, 'source');
  mkdirSync(source);
  writeFileSync(join(source, 'here'), 'host\n');
});

beforeEach((context) => needs(context, root));

const BARE = { acVersion: '0.8.11', acKind: 'PodManifest' };

/** The path of a file with a manifest in it. */
function manifestOf(members: object | string): string {
  const path = join(mkdtempSync(join(directory, 'manifest-')), 'pod.json');
  const text = typeof members === 'string' ? members : JSON.stringify({ ...BARE, ...members });
  writeFileSync(path, text);
  return path;
}

/** An app of the stored probe. */
function probe(name: string, exec: readonly string[], more: object = {}, app: object = {}) {
  return {
    name,
    image: { id },
    app: { exec: ['/probe', ...exec], user: '0', group: '0', ...app },
    ...more,
  };
}

function run(members: object, ...words: readonly string[]) {
  return gantry.run('run', `--pod-manifest=${manifestOf(members)}`, ...words);
}

/** An app's lines, without what stands before them. */
function lines(stdout: string, app: string): string[] {
  const pattern = new RegExp(`^\\[ *[0-9.]+\\] ${app}\\[\\d+\\]: (.*)$`, 'gm');
  return [...stdout.matchAll(pattern)].map(([, line = '']) => line);
}

describe('a pod of a manifest', () => {
  it('runs each app by its section, in place of the image’s', async () => {
    const before = readHost(directory);
    const apps = [
      probe('one', ['id', 'env'], {}, { user: '7', group: '8', supplementaryGIDs: [9] }),
      probe(
        'two',
        ['pwd'],
        {},
        {
          workingDirectory: '/data',
          mountPoints: [{ name: 'data', path: '/data' }],
        },
      ),
      { name: 'three', image: { id: id.slice(0, 20) } },
    ];
    const { code, stdout, stderr } = await run({ apps });
    expect([code, stderr]).toEqual([0, '']);
    expect(lines(stdout, 'one')).toContain('id 7:8,9');
    expect(lines(stdout, 'one')).toContain('env AC_APP_NAME=one');
    expect(lines(stdout, 'two')).toEqual(['pwd /data']);
    expect(await leaksSince(before, directory)).toEqual([]);
  });

  it('mounts its volumes where its mounts say, and an appVolume for that mount alone', async () => {
    const volume = (name: string) => ({ name, kind: 'host', source, readOnly: true });
    const own = { name: 'data', kind: 'empty', mode: '0700', uid: 5 };
    const { code, stdout } = await run({
      volumes: [volume('data')],
      apps: [
        probe('one', ['cat', '/a/here', 'write', '/a/x'], {
          mounts: [{ volume: 'data', path: '/a' }],
        }),
        probe('two', ['stat', '/b', 'list', '/b'], {
          mounts: [{ volume: 'data', path: '/b', appVolume: own }],
        }),
        probe('three', ['stat', '/', 'write', '/x'], { readOnlyRootFS: true }),
      ],
    });
    expect(code).toBe(0);
    expect(lines(stdout, 'one')).toEqual(['host', 'write /a/x: Read-only file system']);
    expect(lines(stdout, 'two')).toEqual(['stat /b: 40700 5:0']);
    expect(lines(stdout, 'three')).toContain('write /x: Read-only file system');
  });

  it('is what cat-manifest prints, annotations, labels, isolators and ports too', async () => {
    const members = {
      apps: [
        probe(
          'one',
          [],
          { annotations: [{ name: 'example.com/a', value: '1' }] },
          {
            userAnnotations: { ua: '2' },
            userLabels: { ul: '3' },
            ports: [{ name: 'http', protocol: 'tcp', port: 80 }],
            isolators: [{ name: 'os/linux/no-new-privileges', value: true }],
          },
        ),
      ],
      annotations: [{ name: 'example.com/p', value: '4' }],
      ports: [{ name: 'http', hostPort: 8080 }],
      userAnnotations: { pa: '5' },
      userLabels: { pl: '6' },
    };
    const uuid = await gantry.call('prepare', `--pod-manifest=${manifestOf(members)}`);
    const printed = JSON.parse(await gantry.call('cat-manifest', uuid));
    expect(printed).toMatchObject({
      ...members,
      apps: [
        {
          name: 'one',
          image: { id },
          annotations: [{ name: 'example.com/a', value: '1' }],
          app: {
            exec: ['/probe'],
            userAnnotations: { ua: '2' },
            userLabels: { ul: '3' },
            isolators: [{ name: 'os/linux/no-new-privileges', value: true }],
          },
        },
      ],
    });
    await gantry.call('rm', uuid);
  });

  it('is read from standard input', async () => {
    const [file, ...words] = gantry.command('prepare', '--pod-manifest=-').words;
    const input = JSON.stringify({ ...BARE, apps: [probe('piped', [])] });
    const { stdout, stderr } = spawnSync(file, words, { input, encoding: 'utf8' });
    expect(stderr).toBe('');
    await gantry.call('rm', stdout.trim());
  });

  it('has the host name, overlay and terminal of the command line', async () => {
    const { stdout } = await run(
      { apps: [probe('named', ['cat', '/proc/sys/kernel/hostname'])] },
      '--hostname=called',
      '--no-overlay',
    );
    expect(lines(stdout, 'named')).toEqual(['called']);
    const two = { apps: [probe('one', []), probe('two', [])] };
    const ending = await run(two, '--interactive');
    expect(ending.stderr).toBe('gantry: run: interactive option only supports one image\n');
  });
});

describe('the round trip of cat-manifest', () => {
  it('makes the same pod of App Container images', async () => {
    const words = [
      `--volume=data,kind=host,source=${source},readOnly=true`,
      '--set-env=A=1',
      '--annotation=example.com/p=1',
      reference,
      ...['--name=one', '--mount=volume=data,target=/d', '--user=7', '--environment=B=2'],
      ...['--annotation=example.com/a=1', '--user-label=l=1', '--readonly-rootfs'],
      ...['--', 'id', 'env', 'cat', '/d/here', 'write', '/x'],
    ];
    await expectSamePod(words, []);
  });

  it('makes the same pod of OCI images', async () => {
    await expectSamePod([OCI, '--name=db'], [UNSIGNED]);
  });

  /** Runs both, and compares what they print and what they are. */
  async function expectSamePod(words: readonly string[], options: readonly string[]) {
    const first = await gantry.call('prepare', ...options, ...words);
    const text = await gantry.call('cat-manifest', first);
    const again = ['--pod-manifest', manifestOf(text)];
    const second = await gantry.call('prepare', ...options, ...again);
    expect(JSON.parse(await gantry.call('cat-manifest', second))).toEqual(JSON.parse(text));
    const outputs: string[][] = [];
    for (const uuid of [first, second]) {
      const { code, stdout } = await gantry.run('run-prepared', '--hostname=same', uuid);
      expect(code).toBe(0);
      outputs.push([...stdout.matchAll(/\]: (.*)$/gm)].map(([, line = '']) => line));
      await gantry.call('rm', uuid);
    }
    expect(outputs[0]?.length).toBeGreaterThan(1);
    expect(outputs[1]).toEqual(outputs[0]);
  }

  it('begins an OCI image’s volume with what the image has there, and makes its working directory', async () => {
    const uuid = await gantry.call('prepare', UNSIGNED, OCI);
    const path = manifestOf(await gantry.call('cat-manifest', uuid));
    await gantry.call('rm', uuid);
    const { stdout } = await gantry.run('run', UNSIGNED, `--pod-manifest=${path}`);
    expect(lines(stdout, 'probe')).toEqual(['of the image', 'pwd /made/here']);
  });
});

describe('an image of a manifest', () => {
  it('is fetched by its name where the id is not stored, and held against the id', async () => {
    const rootfs = join(directory, 'probe-rootfs');
    const { path } = await gantry.makeImage('other', rootfs, { exec: ['/probe', 'pwd'] });
    const fetched = await gantry.call('fetch', '--full', path);
    await gantry.call('image rm', fetched);
    const world = await World.open();
    try {
      const template = 'https://files.example.com/{name}-{version}.{ext}';
      world.serve({
        'example.com/other': body(
          `<meta name="ac-discovery" content="example.com/other ${template}">`,
        ),
        'files.example.com/example.com/other-1.0.0.aci': body(readFileSync(path)),
        'files.example.com/example.com/other-1.0.0.aci.asc': body(readFileSync(`${path}.asc`)),
      });
      const labels = [{ name: 'version', value: '1.0.0' }];
      const runAs = async (wanted: string) => {
        const image = { name: 'example.com/other', id: wanted, labels };
        const manifest = manifestOf({ apps: [{ name: 'x', image }] });
        const { words } = gantry.command('run', `--pod-manifest=${manifest}`);
        return await runCommand({
          words,
          environment: { ...(world.context().env as Record<string, string>) },
        });
      };
      const wrong = await runAs(`sha512-${'0'.repeat(64)}`);
      expect(wrong.stderr).toMatch(
        /apps\[0\]\.image\.id: example\.com\/other is sha512-[0-9a-f]+, and not sha512-0+$/m,
      );
      expect(wrong.code).toBe(254);
      await gantry.call('image rm', fetched);
      const right = await runAs(fetched.slice(0, 40));
      expect(lines(right.stdout, 'x')).toEqual(['pwd /']);
    } finally {
      await world.close();
    }
  });

  it('is not fetched with --pull-policy=never', async () => {
    const image = { name: 'example.com/other', id: `sha512-${'0'.repeat(64)}` };
    const ending = await run({ apps: [{ name: 'x', image }] }, '--pull-policy=never');
    expect(ending.stderr).toMatch(/apps\[0\]\.image\.id: no image sha512-0+ is stored: fetch it$/m);
  });

  it('is trusted as any: one nobody vouches for is refused', async () => {
    const image = { id: ociId };
    const ending = await run({ apps: [{ name: 'x', image }] });
    expect(ending.code).toBe(254);
    expect(ending.stderr).toMatch(/registry\.example\.org\/team\/probe/);
  });
});

describe('a manifest is refused, and starts nothing,', () => {
  const NONE = `sha512-${'0'.repeat(128)}`;
  it.each<[string, () => object | string, string]>([
    ['without apps', () => ({ apps: [] }), 'apps: pod must contain at least one application'],
    [
      'with one name twice',
      () => ({ apps: [probe('a', []), probe('a', [])] }),
      'apps[1].name: multiple apps with same name a',
    ],
    ['that is no JSON', () => '{', 'not valid JSON: '],
    ['of another kind', () => '{"acKind":"ImageManifest"}', 'acKind: must be PodManifest'],
    [
      'with an id that is none',
      () => ({ apps: [{ name: 'a', image: { id: 'sha512-xyz' } }] }),
      'apps[0].image.id: "sha512-xyz" is no image ID',
    ],
    [
      'with an id that is not stored',
      () => ({ apps: [probe('a', []), { name: 'b', image: { id: NONE } }] }),
      `apps[1].image.id: no image ${NONE} is stored: fetch it, or give its name too`,
    ],
    [
      'with an image that is called otherwise',
      () => ({ apps: [{ name: 'a', image: { id, name: 'example.com/x' } }] }),
      'apps[0].image.name: image ',
    ],
    [
      'with another label',
      () => ({
        apps: [{ name: 'a', image: { id, labels: [{ name: 'version', value: '9' }] } }],
      }),
      'apps[0].image.labels: image ',
    ],
    [
      'with a mount of no volume',
      () => ({ apps: [probe('a', [], { mounts: [{ volume: 'v', path: '/v' }] })] }),
      'apps[0].mounts[0].volume: could not find volume "v"',
    ],
    [
      'with a path that leads upwards',
      () => ({ apps: [probe('a', [], {}, { workingDirectory: '/a/../..' })] }),
      'apps[0].app.workingDirectory: must not hold ".."',
    ],
    [
      'with a NUL',
      () => ({ apps: [probe('a', ['\0'])] }),
      'apps[0].app.exec[1]: must not hold a NUL character',
    ],
    [
      'without a program',
      () => ({ apps: [{ ...probe('a', []), app: { exec: [], user: '0', group: '0' } }] }),
      'apps[0].app.exec: must name a program',
    ],
    ['that is too large', () => ' '.repeat(5_000_000), 'is larger than 4194304 bytes'],
  ])('%s', async (_, members, message) => {
    const before = readHost(directory);
    const path = manifestOf(members());
    const ending = await gantry.run('run', `--pod-manifest=${path}`);
    expect(ending.stderr).toContain(`gantry: run: pod manifest ${path}: ${message}`);
    expect(ending.code).toBe(254);
    expect(await leaksSince(before, directory)).toEqual([]);
  });

  it.each([
    ['an image', () => [reference]],
    ['--volume', () => ['--volume=a,kind=empty']],
    ['--mount', () => ['--mount=volume=a,target=/a']],
    ['--inherit-env', () => ['--inherit-env']],
    ['--set-env', () => ['--set-env=A=1']],
    ['--set-env-file', () => ['--set-env-file=/dev/null']],
    ['--annotation', () => ['--annotation=a=b']],
    ['--arch', () => ['--arch=amd64']],
  ])('with %s', async (_, words) => {
    const ending = await run({ apps: [probe('a', [])] }, ...words());
    expect(ending.stderr).toBe(
      'gantry: run: conflicting flags set with --pod-manifest (see --help)\n',
    );
    expect(ending.code).toBe(254);
  });

  it.each([
    ['that is not there', '/none/pod.json', 'no such file or directory'],
    ['that is a directory', '/etc', 'it is a directory'],
  ])('%s', async (_, path, why) => {
    const ending = await gantry.run('prepare', `--pod-manifest=${path}`);
    expect(ending.stderr).toBe(`gantry: prepare: --pod-manifest: cannot read ${path}: ${why}\n`);
    expect(readdirSync(join(gantry.dataDirectory, 'pods/prepare'))).toEqual([]);
  });

  it('read from a device without an end', async () => {
    const ending = await gantry.run('prepare', '--pod-manifest=/dev/zero');
    expect(ending.stderr).toContain('pod manifest /dev/zero: is larger than 4194304 bytes');
  });
});
