import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Installation } from '../support/installation.ts';
import { needs, root } from '../support/requirements.ts';
import { expectRefusal, SandboxWorld } from './sandbox-world.ts';

let world: SandboxWorld;
let gantry: Installation;
let directory: string;
let image: string;

beforeAll(async () => {
  if (!root.met) return;
  world = await SandboxWorld.open();
  ({ gantry, directory, image } = world);
});
afterAll(() => world?.close());

beforeEach((context) => {
  needs(context, root);
  world.begin();
});
afterEach(() => world?.finish());

describe.each(['native', 'nspawn'])('a volume that an app brings under %s', (flavour) => {
  it('is of the host, at its target, while the app has it', async () => {
    const source = join(directory, `source-${flavour}`);
    mkdirSync(source);
    writeFileSync(join(directory, 'name-file'), 'of the host\n');
    const sandbox = await world.start(`--stage1-name=${flavour}`);
    await sandbox.add(
      'one',
      `--mnt-volume=d,kind=host,source=${source},target=/data`,
      `--mnt-volume=name=n,kind=host,source=${directory}/name-file,target=/n,readOnly=true`,
      ...['--', 'written', '0'],
    );
    await sandbox.ask('start', 'one');
    await sandbox.until('one', 'exited');
    expect(readFileSync(join(source, 'log'), 'utf8')).toBe('written\n');
    const volumes = async () =>
      JSON.parse(await gantry.call('cat-manifest', sandbox.uuid)).volumes.map(
        ({ name, kind }: { name: string; kind: string }) => `${name} ${kind}`,
      );
    expect(await volumes()).toEqual(['one-d host', 'one-n host']);
    await sandbox.ask('rm', 'one');
    expect(await volumes()).toEqual([]);
    expect(sandbox.files()).toEqual([]);
    expect(readFileSync(join(source, 'log'), 'utf8')).toBe('written\n');
  });

  it('is empty, of nobody else, and as it was when the app is started again', async () => {
    const sandbox = await world.start(`--stage1-name=${flavour}`);
    for (const name of ['a', 'b']) {
      await sandbox.add(name, '--mnt-volume=d,kind=empty,target=/data,mode=0700', '--', name, '0');
      await sandbox.ask('start', name);
      await sandbox.until(name, 'exited');
    }
    const log = (name: string) =>
      readFileSync(join(sandbox.directory, `volumes/${name}-d/log`), 'utf8');
    expect([log('a'), log('b')]).toEqual(['a\n', 'b\n']);
    expect(statSync(join(sandbox.directory, 'volumes/a-d')).mode & 0o777).toBe(0o700);
    await sandbox.ask('start', 'a');
    await sandbox.until('a', 'exited');
    expect(log('a')).toBe('a\na\n');
    await sandbox.ask('rm', 'a');
    expect(sandbox.files()).toEqual(['apps/b', 'volumes/b-d']);
  });

  it.each([
    [
      'd,kind=host,source=/none/x,target=/x',
      '--mnt-volume worker-d: source "/none/x": there is no such file',
    ],
    ['d,kind=host,source=/tmp', '--mnt-volume d: target= is required'],
    ['d,target=/x', '--mnt-volume d: kind=host or kind=empty must follow'],
    ['kind=empty,target=/x', 'invalid --mnt-volume "kind=empty"'],
    ['d,kind=empty,target=/x,target=/y', '--mnt-volume d: target is given twice'],
    ['d,kind=host,source=/tmp,target=/x,propagation=slave', '--mnt-volume d: propagation= is'],
  ])('is refused as %s', async (words, message) => {
    const sandbox = await world.start(`--stage1-name=${flavour}`);
    const ending = await gantry.run('app add', sandbox.uuid, image, `--mnt-volume=${words}`);
    expect(ending.stderr).toContain(message);
    expectRefusal(ending, 'app add', /--mnt-volume/);
    expect(sandbox.files()).toEqual([]);
  });
});
