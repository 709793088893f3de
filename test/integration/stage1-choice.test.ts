import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { machine, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { writeTree } from '../support/file-tree.ts';
import {
  createInstallation,
  type Ending,
  type Installation,
  runCommand,
  type SignedImage,
} from '../support/installation.ts';
import { imageOf, layerOf, writeLayout } from '../support/oci-image.ts';
import { buildProgram } from '../support/program.ts';
import { needs, root } from '../support/requirements.ts';
import { type Stage1Wishes, writeShellStage1 } from '../support/shell-stage1.ts';

let directory: string;
let configuration: string;
let gantry: Installation;
let app: SignedImage;

beforeAll(async () => {
  if (!root.met) return;
  directory = mkdtempSync(join(tmpdir(), 'gantry-test-'));
  configuration = join(directory, 'configuration');
  gantry = await createInstallation(directory);
  const rootfs = join(directory, 'rootfs');
  mkdirSync(join(rootfs, 'bin'), { recursive: true });
  copyFileSync(buildProgram('int main(void) { return 0; }'), join(rootfs, 'bin/app'));
  app = await gantry.makeImage('app', rootfs, { exec: ['/bin/app'] });
  await gantry.call('fetch', app.path);
});

afterAll(() => {
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

beforeEach((context) => needs(context, root));

/** A stage1 of shell scripts in a directory of its own. */
function stage1(name: string, wishes: Stage1Wishes = {}): string {
  return writeShellStage1(join(directory, name), { name: `test/${name}`, ...wishes });
}

/** The same as a signed image. */
function stage1Image(name: string, wishes: Stage1Wishes = {}): Promise<SignedImage> {
  return gantry.makeImage(name, stage1(`${name}-root`, wishes), { exec: ['/run'] });
}

/** Configuration for one test. */
function configure(kind: string, fields: object): void {
  const file = join(configuration, `${kind}.d/test.json`);
  writeTree(configuration, {
    [`${kind}.d/test.json`]: JSON.stringify({ rktKind: kind, rktVersion: 'v1', ...fields }),
  });
  onTestFinished(() => rmSync(file));
}

const run = (...words: string[]) => gantry.run('run', ...words, app.reference);
const prepare = (...words: string[]) => gantry.run('prepare', ...words, app.reference);

function expectRun(ending: Ending): void {
  expect(ending).toMatchObject({ code: 7, stdout: expect.stringMatching(/^ran [0-9a-f-]{36}\n$/) });
}

function expectRefusal(ending: Ending, why: RegExp): void {
  expect(ending.stderr).toMatch(why);
  expect(ending.stderr.trim().split('\n').at(-1)).toMatch(/^gantry: (run|prepare|run-prepared): /);
  expect(ending.code).toBe(254);
  expect(ending.stdout).toBe('');
}

describe('a directory as stage1', () => {
  it('runs pods, which say so', async () => {
    expectRun(await run(`--stage1-path=${stage1('plain')}`));
    const [pod] = JSON.parse(await gantry.call('list', '--format=json'));
    expect(pod).toMatchObject({ state: 'exited', stage1: { name: 'test/plain' } });
    expect(await gantry.call('status', pod.name)).toMatch(/\nstage1=test\/plain$/);
    await gantry.call('rm', pod.name);
  });

  it('may call its programs what it wants', async () => {
    const scripts = {
      enter: 'echo "entered $*"',
      run: 'echo 1 > ready; while [ ! -e over ]; do sleep 0.05; done',
      stop: 'echo > over',
    };
    const programs = { run: 'bin/start it', enter: 'bin/go-in', stop: 'bin/end', gc: 'clean' };
    const path = stage1('names', { scripts, programs });
    const uuid = await gantry.call('prepare', `--stage1-path=${path}`, app.reference);
    const running = gantry.run('run-prepared', uuid);
    await gantry.call('status', '--wait-ready=5s', uuid);
    expect(await gantry.call('enter', uuid, 'sh', '-c', 'x')).toBe('entered app sh -c x');
    expect(await gantry.call('stop', uuid)).toBe(`"${uuid}"`);
    expect((await running).code).toBe(0);
    await gantry.call('rm', uuid);
  });

  it.each<[string, RegExp, (path: string) => void]>([
    ['others can write to', /belongs to others|written to by others/, (at) => chmodSync(at, 0o777)],
    ['lacks a manifest', /there is no manifest.json/, (at) => rmSync(join(at, 'manifest.json'))],
    ['lacks a program', /entry point "gc" \(gc\) is not there/, (at) => rmSync(join(at, 'gc'))],
    [
      'is from the future',
      /interface version 9, this Gantry 1: use a newer Gantry/,
      (at) => writeShellStage1(at, { manifest: { interfaceVersion: 9 } }),
    ],
    [
      'has no run',
      /has no entry point "run"/,
      (at) => writeShellStage1(at, { scripts: { run: undefined } }),
    ],
  ])('is refused when it %s', async (what, why, spoil) => {
    const path = stage1(`bad ${what}`);
    spoil(path);
    expectRefusal(await prepare(`--stage1-path=${path}`), why);
  });

  it('is refused when it is not there', async () => {
    expectRefusal(
      await prepare(`--stage1-path=${directory}/none`),
      /--stage1-path: cannot use \S+none: no such file/,
    );
  });

  it('refuses by name what it lacks, when the pod is prepared and when it is started', async () => {
    const path = stage1('bare', { manifest: { features: ['net-host'] } });
    expectRefusal(
      await prepare(`--stage1-path=${path}`, '--hostname=x'),
      /stage1 test\/bare lacks hostname .* which --hostname asks for/,
    );
    const uuid = await gantry.call('prepare', `--stage1-path=${path}`, app.reference);
    const start = (...words: string[]) => gantry.run('run-prepared', ...words, uuid);
    expectRefusal(
      await start('--net=none'),
      /lacks net-none .* asks for: prepare a pod with another --stage1-name$/m,
    );
    expectRefusal(await start('--hostname=x'), /lacks hostname/);
    expectRefusal(await start('--interactive'), /lacks interactive/);
    expect(await gantry.call('status', uuid)).toMatch(/^state=prepared/);
    await gantry.call('rm', uuid);
  });

  it('leaves the pod prepared when it is gone at its start', async () => {
    const path = stage1('gone');
    const uuid = await gantry.call('prepare', `--stage1-path=${path}`, app.reference);
    rmSync(path, { recursive: true });
    expect((await gantry.run('run-prepared', uuid)).stderr).toMatch(/stage1\/run: No such file/);
    expectRefusal(
      await gantry.run('run-prepared', '--net=host', uuid),
      /there is no manifest.json/,
    );
    expect(await gantry.call('status', uuid)).toMatch(/^state=prepared/);
    await gantry.call('rm', uuid);
  });
});

describe('the options', () => {
  it.each([
    [['--stage1-name=a', '--stage1-path=b'], /--stage1-path and --stage1-name are mutually excl/],
    [['--stage1-hash=a', '--stage1-hash=b'], /--stage1-hash already used/],
    [['--stage1-name='], /--stage1-name: it must not be empty/],
    [['--stage1-name=nspwan'], /no stage1 "nspwan": gantry stage1 list/],
    [['--stage1-name=gantry/fly'], /no stage1 "gantry\/fly": gantry stage1 list/],
    [['--stage1-name=./x.aci'], /--stage1-name: ".\/x.aci" is not the name of an image/],
    [['--stage1-hash=name'], /--stage1-hash: "name" is not the id of an image/],
    [['--stage1-hash=sha512-00ff'], /no image/],
    [['--stage1-url=example.com/x'], /--stage1-url: "example.com\/x" is not an https/],
    [['--stage1-url=file://host/x'], /--stage1-url: file:\/\/host\/x is no file of this host/],
    [['--stage1-url=file:///no/x'], /--stage1-url: cannot use \/no\/x: no such file/],
    [['--stage1-from-dir=../x'], /--stage1-from-dir: "..\/x" is no name of a file/],
    [['--stage1-from-dir=x.aci'], /--stage1-from-dir: cannot use \S+stage1-images\/x.aci: no such/],
  ])('are refused as %j', async (words, why) => {
    expectRefusal(await prepare(...words), why);
  });

  it.each([
    '--stage1-name=gantry/native',
    '--stage1-name=native:0.1.0',
    '--stage1-name=coreos.com/rkt/stage1-coreos:1.30.0',
    '--stage1-from-dir=stage1-coreos.aci',
  ])('mean the shipped flavour with %s', async (word) => {
    const uuid = await gantry.call('prepare', word, app.reference);
    expect(await gantry.call('status', uuid)).toMatch(/\nstage1=gantry\/native$/);
    await gantry.call('rm', uuid);
  });

  it('are explained by --help', async () => {
    const { code, stdout } = await gantry.run('run', '--help');
    expect(code).toBe(0);
    for (const way of ['name', 'path', 'url', 'hash', 'from-dir']) {
      expect(stdout).toContain(`--stage1-${way} <`);
    }
  });

  it('find what is in the stage1 images directory, which stage1 list shows', async () => {
    const images = join(directory, 'images');
    stage1('images/third', { manifest: { features: ['hostname', 'net-none'] } });
    stage1('images/broken', { manifest: { interfaceVersion: 2 } });
    configure('paths', { 'stage1-images': images });
    expectRun(await run('--stage1-from-dir=third'));
    const { stdout, stderr } = await gantry.run('stage1 list');
    expect(stdout).toMatch(/^FEATURE\s+native\s+nspawn\s+chroot\s+kvm\s+third\n/);
    expect(stdout).toMatch(/\nhostname\s+yes\s+yes\s+-\s+yes\s+yes\n/);
    expect(stdout).toMatch(/\nnet-host\s+yes\s+yes\s+yes\s+-\s+-\n/);
    expect(stderr).toMatch(/broken: it speaks interface version 2/);
    const listed = JSON.parse(await gantry.call('stage1 list', '--format=json'));
    expect(listed.map(({ choose }: { choose: string }) => choose)).toEqual([
      '--stage1-name=native',
      '--stage1-name=nspawn',
      '--stage1-name=chroot',
      '--stage1-name=kvm',
      '--stage1-from-dir=third',
    ]);
    expect(listed.at(-1)).toMatchObject({
      name: 'test/images/third',
      features: ['hostname', 'net-none'],
    });
  });
});

describe('a signed image as stage1', () => {
  it('is fetched from a file, kept while a pod has it, and found by its name and id', async () => {
    const image = await stage1Image('signed');
    expectRun(await run(`--stage1-path=${image.path}`));
    expectRun(await run(`--stage1-name=${image.reference}`));
    const [stored] = JSON.parse(await gantry.call('image list', '--format=json')).filter(
      ({ name }: { name: string }) => name.includes('/signed'),
    );
    expectRun(await run(`--stage1-hash=${stored.id.slice(0, 20)}`));
    await gantry.call('gc', '--grace-period=0s');

    const uuid = await gantry.call('prepare', `--stage1-hash=${stored.id}`, app.reference);
    const [pod] = JSON.parse(await gantry.call('list', '--format=json'));
    expect(pod.stage1).toMatchObject({
      name: 'test/signed-root',
      image_id: stored.id,
      image_name: image.reference,
      provenance: { kind: 'openpgp', name: 'example.com/signed' },
    });
    await gantry.call('image gc', '--grace-period=0s');
    await gantry.call('image rm', stored.id);
    expectRun(await gantry.run('run-prepared', uuid));
    await gantry.call('rm', uuid);
    await gantry.call('image gc');
    expectRefusal(await run(`--stage1-hash=${stored.id}`), /no image/);
    await gantry.call('fetch', app.path);
  });

  it('may be an OCI image, whose layers are laid over each other', async () => {
    const program = (text: string) => ({ content: `#!/bin/sh\n${text}\n`, mode: 0o755 });
    const entrypoints = { run: 'bin/run', gc: 'bin/gc' };
    const manifest = JSON.stringify({ name: 'test/oci', interfaceVersion: 1, entrypoints });
    const image = imageOf([
      layerOf([
        { name: 'manifest.json', content: manifest },
        { name: 'bin/', typeflag: '5' },
        { name: 'bin/run', ...program('exit 1') },
        { name: 'bin/gc', ...program('exit 0') },
        { name: 'bin/hidden', content: '' },
      ]),
      layerOf([
        { name: 'bin/run', ...program('[ ! -e stage1/bin/hidden ] && echo "ran $1" && exit 7') },
        { name: 'bin/.wh.hidden', content: '' },
      ]),
    ]);
    const layout = join(directory, 'layout');
    const ref = 'registry.example.com/stage1:1';
    writeLayout(layout, { [ref]: image });
    const key = join(directory, 'oci.key');
    writeFileSync(join(directory, 'passphrase'), 'secret\n', { mode: 0o600 });
    const words = [`--generate-key=${key}`, `--passphrase-file=${directory}/passphrase`];
    expectRefusal(await run(`--stage1-path=${layout}`), /signature|signed/);
    await gantry.call('image sign', ...words, `oci:${layout}:${ref}`);
    expectRefusal(await run(`--stage1-path=${layout}`), /registry.example.com\/stage1/);
    const prefix = '--prefix=registry.example.com/stage1';
    await gantry.call('trust', prefix, '--skip-fingerprint-review', `${key}.pub`);
    expectRun(await run(`--stage1-path=${layout}`));

    // The tree that was made of them stays as long as a pod has it, and goes with the image.
    const trees = () =>
      readdirSync(join(gantry.dataDirectory, 'layers')).filter((name) => /^deps-/.test(name));
    expect(trees()).toHaveLength(2);
    const uuid = await gantry.call('prepare', `--stage1-name=docker://${ref}`, app.reference);
    await gantry.call('image rm', ref);
    await gantry.call('image gc', '--grace-period=1h');
    expectRun(await gantry.run('run-prepared', uuid));
    await gantry.call('gc', '--grace-period=0s');
    await gantry.call('image gc', '--grace-period=1h');
    expect(trees()).toEqual([]);
  });

  it('is fetched from a URL', async () => {
    const image = await stage1Image('served');
    const server = createServer((request, response) => {
      const name = basename(request.url ?? '');
      response.end(name.startsWith('served.aci') ? readFileSync(join(directory, name)) : '');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void server.close());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/served.aci`;
    expect(image.path).toBe(join(directory, 'served.aci'));
    expectRefusal(await run(`--stage1-url=${url}`), /http/);
    expectRun(await run('--insecure-options=http', `--stage1-url=${url}`));
    expectRun(await run(`--stage1-url=file://${image.path}`));
  });

  it('is refused without a signature, unless told otherwise', async () => {
    const image = await stage1Image('unsigned');
    rmSync(`${image.path}.asc`);
    expectRefusal(await run(`--stage1-path=${image.path}`), /signature/);
    expect(await gantry.call('image list')).not.toContain('unsigned');
    expectRun(await run('--insecure-options=image', `--stage1-path=${image.path}`));
    // Stored it is by now; trust is asked again.
    expectRefusal(await run(`--stage1-name=${image.reference}`), /example.com\/unsigned/);
  });

  it('is refused for another architecture, by its label and by its programs', async () => {
    const other = machine() === 'aarch64' ? 'amd64' : 'aarch64';
    const manifest = {
      acKind: 'ImageManifest',
      acVersion: '0.8.11',
      name: 'example.com/foreign',
      labels: Object.entries({ version: '1', os: 'linux', arch: other }).map(([name, value]) => ({
        name,
        value,
      })),
    };
    const [file, path] = ['json', 'aci'].map((end) => join(directory, `foreign.${end}`));
    writeFileSync(String(file), JSON.stringify(manifest));
    const rootfs = stage1('foreign-root');
    await gantry.call('image pack', `--manifest=${file}`, `--rootfs=${rootfs}`, String(path));
    expectRefusal(
      await run('--insecure-options=image', `--stage1-path=${path}`),
      /image example.com\/foreign: bad arch/,
    );

    const elf = Buffer.alloc(64);
    elf.set([0x7f, 0x45, 0x4c, 0x46, 2, 2, 1]);
    elf.writeUInt16BE(22, 18);
    const mainframe = stage1('mainframe');
    writeFileSync(join(mainframe, 'run'), elf);
    expectRefusal(
      await run(`--stage1-path=${mainframe}`),
      /entry point "run" \(run\) is a program of another architecture/,
    );
  });

  it.each<[string, RegExp, (at: string) => void]>([
    [
      'that are writable by others',
      /written to by others/,
      (at) => chmodSync(join(at, 'run'), 0o777),
    ],
    ['that are absent', /entry point "gc" \(gc\) is not there/, (at) => rmSync(join(at, 'gc'))],
  ])('is refused for programs %s', async (what, why, spoil) => {
    const name = what.split(' ').at(-1) === 'absent' ? 'hollow' : 'open';
    spoil(stage1(`${name}-root`));
    const rootfs = join(directory, `${name}-root`);
    const image = await gantry.makeImage(name, rootfs, { exec: ['/run'] });
    expectRefusal(
      await run(`--stage1-path=${image.path}`),
      new RegExp(`cannot use stage1 image example.com/${name}:1.0.0: .*${why.source}`),
    );
  });

  it('is refused once its key is trusted no more', async () => {
    const own = join(directory, 'own');
    const other = await createInstallation(own);
    const image = await other.makeImage('lost', stage1('lost-root'), { exec: ['/run'] });
    const words = ['--insecure-options=none', app.path, `--signature=${app.path}.asc`];
    await other.call('fetch', image.path);
    const [key = ''] =
      (await other.call('trust list', '--format=json')).match(/[0-9a-f]{40}/) ?? [];
    await other.call(
      'trust',
      '--prefix=example.com/app',
      '--skip-fingerprint-review',
      `${directory}/key.asc`,
    );
    await other.call('fetch', ...words);
    await other.call('trust rm', key);
    const ending = await other.run('prepare', `--stage1-name=${image.reference}`, app.reference);
    expectRefusal(ending, /example.com\/lost/);
    expect(await other.call('list', '--no-legend')).toBe('');
  });
});

describe('the configured stage1', () => {
  it('is a directory', async () => {
    configure('stage1', { location: stage1('configured') });
    expectRun(await run());
    expect(await gantry.call('config')).toContain('configured');
  });

  it('is a shipped flavour', async () => {
    configure('stage1', { name: 'coreos.com/rkt/stage1-coreos', version: '1.30.0' });
    const uuid = await gantry.call('prepare', app.reference);
    expect(await gantry.call('status', uuid)).toMatch(/\nstage1=gantry\/native$/);
    await gantry.call('rm', uuid);
  });

  it('is the stored image of its name, and else what is at its location', async () => {
    const image = await stage1Image('chosen');
    const named = { name: 'example.com/chosen', version: '1.0.0' };
    configure('stage1', { ...named, location: image.path });
    expectRun(await run());
    rmSync(image.path);
    expectRun(await run());
  });

  it('is asked of nobody where it can only be a misspelt flavour', async () => {
    configure('stage1', { name: 'gantry/nspwan', version: '1' });
    expectRefusal(
      await run(),
      /stage1.d: there is no stage1 "gantry\/nspwan:1": gantry stage1 list/,
    );
  });

  it('gives way to an option', async () => {
    configure('stage1', { location: '/nonexistent' });
    expectRefusal(await run(), /stage1.d: location: cannot use \/nonexistent: no such file/);
    expectRun(await run(`--stage1-path=${stage1('instead')}`));
  });

  it('is refused when its location holds an image of another name', async () => {
    const image = await stage1Image('actual');
    configure('stage1', { name: 'example.com/wanted', version: '1', location: image.path });
    expectRefusal(await run(), /is example.com\/actual:1.0.0, not example.com\/wanted:1/);
  });
});

describe('the completion of a shell', () => {
  it.each(['--stage1-name na', '--stage1-name=na'])('completes %s', async (line) => {
    const script = join(directory, 'completion');
    writeFileSync(script, await gantry.call('completion', 'bash'));
    const words = ['gantry', 'run', ...line.split(/ |(=)/).filter(Boolean)];
    const program = `. ${script}; COMP_WORDS=(${words.join(' ')}); COMP_CWORD=${words.length - 1}; _gantry; echo "\${COMPREPLY[*]}"`;
    const { stdout } = await runCommand({ words: ['bash', '-c', program] });
    expect(stdout).toBe('native\n');
  });
});
