import { chmodSync, chownSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GantryError } from '../../../src/error.ts';
import { requireRunnable } from '../../../src/stage1/entry-point.ts';
import { openFlavour } from '../../../src/stage1/flavour.ts';
import { needs, root } from '../../support/requirements.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

const SCRIPT = '#!/bin/sh\nexit 0\n';
const entrypoints = { run: 'run', gc: 'bin/gc' };
const manifest = { name: 'x/y', interfaceVersion: 1, entrypoints };

/** A stage1 with the programs `run` and `bin/gc`, and a manifest as it should be but for these fields. */
function stage1(changes: object = {}): string {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, 'bin'));
  for (const name of ['run', 'bin/gc']) writeProgram(join(directory, name), SCRIPT);
  writeManifest(directory, JSON.stringify({ ...manifest, ...changes }));
  return directory;
}

function writeProgram(path: string, content: string | Uint8Array): void {
  writeFileSync(path, content, { mode: 0o755 });
}

function writeManifest(directory: string, text: string): void {
  writeFileSync(join(directory, 'manifest.json'), text);
}

/** Refused in one line that names the stage1. */
function expectRefusal(directory: string, why: RegExp, act: () => unknown): void {
  let caught: unknown;
  try {
    act();
  } catch (error) {
    caught = error;
  }
  expect(caught).toBeInstanceOf(GantryError);
  const { message } = caught as GantryError;
  expect(message).toMatch(why);
  expect(message).toContain(directory);
  expect(message).not.toContain('\n');
}

/** The head of an ELF program (elf(5)): 64 bits, little-endian unless `order` says 2. */
function elf(machine: number, order = 1): Buffer {
  const head = Buffer.alloc(64);
  head.set([0x7f, 0x45, 0x4c, 0x46, 2, order, 1]);
  if (order === 2) head.writeUInt16BE(machine, 18);
  else head.writeUInt16LE(machine, 18);
  return head;
}

describe('a stage1 flavour', () => {
  it('says where its entry points are', () => {
    const directory = stage1();
    const flavour = openFlavour(directory);
    expect(flavour.name).toBe('x/y');
    expect(flavour.entryPoint('gc')).toBe(`${directory}/bin/gc`);
    expect([...flavour.programs]).toEqual([
      ['run', 'run'],
      ['gc', 'bin/gc'],
    ]);
    expect(() => flavour.entryPoint('stop')).toThrow('stage1 x/y has no entry point "stop"');
  });

  it('takes no notice of entry points and features of later versions', () => {
    const later = {
      entrypoints: { ...entrypoints, freeze: '/x' },
      features: ['hostname', 'freeze'],
    };
    const flavour = openFlavour(stage1(later));
    expect(flavour.programs.size).toBe(2);
    expect([...flavour.features]).toEqual(['hostname']);
  });

  it('may do more than pods can ask for', () => {
    const features = ['private-processes', 'own-kernel'];
    expect([...openFlavour(stage1({ plan: 'chroot', features })).features]).toEqual(features);
  });

  it.each([
    [{ interfaceVersion: 2 }, /interface version 2, this Gantry 1: use a newer Gantry/],
    [{ interfaceVersion: 0 }, /interface version 0, this Gantry 1: use a newer stage1/],
    [{ interfaceVersion: '1' }, /"interfaceVersion" must be a whole number/],
    [{ interfaceVersion: undefined }, /"interfaceVersion" must be a whole number/],
    [{ name: undefined }, /"name" must be a string/],
    [{ name: '' }, /"name" must be a string of 1 to 255/],
    [{ name: 'a\nb' }, /"name" must be a string of 1 to 255 printable/],
    [{ entrypoints: undefined }, /no entry points: name the programs run and gc as "entrypoints"/],
    [
      { entrypoints: ['run', 'gc'] },
      /no entry points: name the programs run and gc as "entrypoints"/,
    ],
    [{ entrypoints: { gc: 'bin/gc' } }, /it has no entry point "run"/],
    [{ entrypoints: { run: 'run' } }, /it has no entry point "gc"/],
    [{ entrypoints: { ...entrypoints, run: '' } }, /entry point "run" must be the path/],
    [{ entrypoints: { ...entrypoints, run: '/bin/sh' } }, /entry point "run" must be the path/],
    [{ entrypoints: { ...entrypoints, run: '../run' } }, /entry point "run" must be the path/],
    [{ entrypoints: { ...entrypoints, stop: 'a\nb' } }, /entry point "stop" must be the path/],
    [{ entrypoints: { ...entrypoints, stop: 7 } }, /entry point "stop" must be the path/],
    [{ plan: 'jail' }, /"plan" must be one of native/],
    [{ features: 'all' }, /"features" must be a list/],
    [
      { plan: 'chroot', features: ['net-none'] },
      /"net-none", which no plan of kind "chroot" carries/,
    ],
    [{ plan: 'kvm', features: ['net-host'] }, /"net-host", which no plan of kind "kvm" carries/],
    [{ features: ['stop'] }, /the feature "stop" without an entry point "stop"/],
    [{ features: ['mutable'] }, /the feature "mutable" without an entry point "app-add"/],
  ])('is refused for a manifest with %j', (changes, why) => {
    const directory = stage1(changes);
    expectRefusal(directory, why, () => openFlavour(directory));
  });

  it.each([
    ['{', /manifest.json is no JSON/],
    ['[]', /manifest.json is no object/],
    ['"x"', /manifest.json is no object/],
    [`"${'x'.repeat(70_000)}"`, /manifest.json has more than 65536 bytes/],
  ])('is refused for a manifest that is no manifest', (text, why) => {
    const directory = stage1();
    writeManifest(directory, text);
    expectRefusal(directory, why, () => openFlavour(directory));
  });

  it('is refused without a manifest, or with one that is no file of its own', () => {
    const directory = stage1();
    rmSync(join(directory, 'manifest.json'));
    expectRefusal(directory, /there is no manifest.json/, () => openFlavour(directory));
    mkdirSync(join(directory, 'manifest.json'));
    expectRefusal(directory, /manifest.json is no regular file/, () => openFlavour(directory));
    rmSync(join(directory, 'manifest.json'), { recursive: true });
    symlinkSync('/etc/passwd', join(directory, 'manifest.json'));
    expectRefusal(directory, /only relative links inside/, () => openFlavour(directory));
  });
});

describe('an entry point', () => {
  /** Puts something else in the place of `run`. */
  function withRun(put: (path: string) => void): string {
    const directory = stage1();
    const path = join(directory, 'run');
    rmSync(path);
    put(path);
    return directory;
  }

  it('may be a link to a program inside', () => {
    const directory = withRun((path) => symlinkSync('bin/../bin/gc', path));
    expect(openFlavour(directory).entryPoint('run')).toBe(`${directory}/run`);
  });

  it.each<[string, RegExp, (path: string) => void]>([
    ['is absent', /entry point "run" \(run\) is not there/, () => undefined],
    ['is a directory', /is no regular file/, (path) => mkdirSync(path)],
    ['is not executable', /is not executable/, (path) => writeFileSync(path, SCRIPT)],
    ['is a link to the host', /only relative links/, (path) => symlinkSync('/bin/sh', path)],
    [
      'is a link upwards',
      /lies outside of it/,
      (path) => symlinkSync('bin/../../../../bin/sh', path),
    ],
    ['is a link to itself', /link that never ends/, (path) => symlinkSync('run', path)],
    ['is a link to nothing', /is not there/, (path) => symlinkSync('bin/none', path)],
    ['goes through a file', /is not there/, (path) => symlinkSync('manifest.json/run', path)],
    ['is empty', /neither an ELF program nor a script/, (path) => writeProgram(path, '')],
    ['is no program', /neither an ELF program nor a script/, (path) => writeProgram(path, 'exit')],
    ['is of s390x', /ELF machine 22/, (path) => writeProgram(path, elf(22, 2))],
    ['is cut off', /ELF machine -1/, (path) => writeProgram(path, elf(62).subarray(0, 12))],
    [
      'needs an interpreter the host lacks',
      /a script of "\/no\/sh", which this host lacks/,
      (path) => writeProgram(path, '#! /no/sh -e\n'),
    ],
  ])('is refused when it %s', (_, why, put) => {
    const directory = withRun(put);
    expectRefusal(directory, why, () => openFlavour(directory).entryPoint('run'));
  });

  it.each([
    ['x64', 62, 1, true],
    ['x64', 3, 1, true],
    ['x64', 183, 1, false],
    ['x64', 62, 2, false],
    ['arm64', 183, 1, true],
    ['arm64', 62, 1, false],
    ['s390x', 22, 2, true],
    ['mips', 8, 1, false],
  ])('for %s may be of ELF machine %d in byte order %d: %s', (machine, number, order, runs) => {
    const path = join(temporaryDirectory(), 'run');
    writeProgram(path, elf(number, order));
    const file = { path, stats: { mode: 0o755 }, directories: [] };
    const check = () =>
      requireRunnable(file as never, 'run', (why) => new GantryError('launch', why), machine);
    if (runs) check();
    else expect(check).toThrow(/of another architecture/);
  });
});

describe('a stage1 from outside the installation', () => {
  const check = (directory: string) => openFlavour(directory).requireSound({ above: true });

  it('is taken when only root can change it', (context) => {
    needs(context, root);
    check(stage1());
  });

  it.each<[string, RegExp, (directory: string) => void]>([
    ['its directory', /can be written to by others than root/, (at) => chmodSync(at, 0o777)],
    ['its manifest', /manifest.json belongs to user 1000/, (at) => chown(at, 'manifest.json')],
    ['a program', /entry point "run" belongs to user 1000/, (at) => chown(at, 'run')],
    ['a folder', /bin can be written to by others/, (at) => chmodSync(join(at, 'bin'), 0o775)],
    [
      'a folder that a link goes through',
      /etc belongs to user 1000/,
      (at) => {
        mkdirSync(join(at, 'etc'));
        symlinkSync('../bin/gc', join(at, 'etc/run'));
        rmSync(join(at, 'run'));
        symlinkSync('etc/run', join(at, 'run'));
        chown(at, 'etc');
      },
    ],
  ])('is refused when others can change %s', (_, why, spoil) => {
    if (!root.met) return;
    const directory = stage1();
    spoil(directory);
    expectRefusal(directory, why, () => check(directory));
  });

  it('is refused below a directory that others can change', (context) => {
    needs(context, root);
    const parent = temporaryDirectory();
    chmodSync(parent, 0o777);
    const directory = join(parent, 'stage1');
    mkdirSync(directory);
    writeProgram(join(directory, 'run'), SCRIPT);
    writeManifest(
      directory,
      JSON.stringify({ ...manifest, entrypoints: { run: 'run', gc: 'run' } }),
    );
    expectRefusal(directory, /can be written to by others/, () => check(directory));
    chmodSync(parent, 0o1777);
    check(directory);
  });

  function chown(directory: string, name: string): void {
    chownSync(join(directory, name), 1000, 1000);
  }
});
