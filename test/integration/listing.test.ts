import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { newUuid } from '../../src/system/uuid.ts';
import type { Installation } from '../support/installation.ts';
import { buildProgram } from '../support/program.ts';
import { needs, program, root } from '../support/requirements.ts';
import { sharedInstallation } from '../support/shared-installation.ts';

/** Exits with its first argument. */
const app = buildProgram(`
#include <stdlib.h>
int main(int argc, char **argv) { return argc > 1 ? atoi(argv[1]) : 0; }
`);

const COLUMNS = ['UUID', 'APP', 'IMAGE NAME', 'STATE', 'CREATED', 'STARTED', 'NETWORKS'];

let directory: string;
let gantry: Installation;
/** A pod of two apps that has ended with 0 and 7, and one that is prepared. */
let ended: string;
let prepared: string;

beforeAll(async () => {
  if (!root.met) return;
  ({ directory, gantry } = await sharedInstallation());
  const reference = await gantry.storeProgram('app', app);
  const [volume, mount] = [`--volume=data,kind=host,source=${directory},readOnly=true`, 'data'];
  ended = await gantry.call(
    'prepare',
    volume,
    ...[reference, '--name=one', `--mount=volume=${mount},target=/data`, '--', '0'],
    ...['---', reference, '--name=two', '--', '7'],
  );
  await gantry.run('run-prepared', ended);
  prepared = await gantry.call('prepare', reference);
});

beforeEach((context) => needs(context, root));

const cellsOf = (text: string) => text.split('\n').map((line) => line.split(/\t+/));
const lines = async (...words: string[]) => (await gantry.call('list', ...words)).split('\n');

describe('list', () => {
  it('has rkt’s columns; what is of the pod stands in its first line', async () => {
    const [header, ...rows] = cellsOf(await gantry.call('list'));
    expect(header).toEqual(COLUMNS);
    const name = 'example.com/app:1.0.0';
    expect(rows[0]?.slice(0, 4)).toEqual([ended.slice(0, 8), 'one', name, 'exited']);
    expect(rows[1]?.slice(0, 3)).toEqual(['', 'two', name]);
    expect(rows[2]?.slice(0, 4)).toEqual([prepared.slice(0, 8), 'app', name, 'prepared']);
  });

  it('has rkt’s columns first with --full, which says whole what is short', async () => {
    const [header, row] = cellsOf(await gantry.call('list', '--full'));
    expect(header).toEqual([...COLUMNS.toSpliced(3, 0, 'IMAGE ID'), 'SIGNED BY']);
    expect(row?.[0]).toBe(ended);
    expect(row?.[3]).toMatch(/^sha512-[0-9a-f]{12}$/);
    expect(row?.[5]).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,3})? [+-]\d{4} \w+$/);
  });

  it('shows the fields that are asked for, a line a pod where none is of an app', async () => {
    expect(await lines('--fields=state,uuid')).toEqual([
      'STATE\t\tUUID',
      `exited\t\t${ended.slice(0, 8)}`,
      `prepared\t${prepared.slice(0, 8)}`,
    ]);
    expect(await lines('--no-legend', '--fields=app')).toEqual(['one', 'two', 'app']);
  });

  it('sorts by what is meant, in either direction, with the apps of a pod together', async () => {
    const apps = ['--no-legend', '--fields=app'];
    expect(await lines(...apps, '--order=desc')).toEqual(['app', 'one', 'two']);
    expect(await lines(...apps, '--sort=app')).toEqual(['app', 'one', 'two']);
    expect(await lines(...apps, '--sort=state,uuid')).toEqual(['one', 'two', 'app']);
    const uuids = JSON.parse(await gantry.call('list', '--format=json', '--sort=uuid'));
    expect(uuids.map(({ name }: { name: string }) => name)).toEqual([ended, prepared].sort());
  });

  it.each([
    ['--fields=', /^gantry: list: --fields: no field "": use uuid, app, /],
    ['--fields=uuid,size', /^gantry: list: --fields: no field "size"/],
    ['--fields=uuid,UUID', /^gantry: list: --fields: field "uuid" is there twice/],
    ['--sort=networks', /^gantry: list: --sort: no field "networks"/],
    ['--order=', /^gantry: list: --order: "" is unknown: use asc or desc/],
    ['--format=JSON', /^gantry: list: --format: "JSON" is unknown: use json or json-pretty/],
  ])('refuses %s', async (option, why) => {
    const { code, stdout, stderr } = await gantry.run('list', option);
    expect(stderr).toMatch(why);
    expect(stdout).toBe('');
    expect(code).toBe(254);
  });

  it('prints rkt’s pod object, its members in rkt’s order, without what is empty', async () => {
    const [pod, other] = JSON.parse(await gantry.call('list', '--format=json'));
    expect(Object.keys(pod)).toEqual([
      ...['name', 'state', 'app_names', 'apps', 'created_at', 'started_at', 'stage1'],
    ]);
    expect(pod).toMatchObject({ name: ended, state: 'exited', app_names: ['one', 'two'] });
    expect(Object.keys(pod.apps[0])).toEqual([
      ...['name', 'state', 'created_at', 'started_at', 'finished_at', 'exit_code', 'image_id'],
      ...['mounts', 'provenance'],
    ]);
    expect(pod.apps[0].mounts).toEqual([
      { name: 'data', container_path: '/data', host_path: directory, read_only: true },
    ]);
    expect(Object.keys(other)).toEqual([
      'name',
      'state',
      'app_names',
      'apps',
      'created_at',
      'stage1',
    ]);
  });

  it('has the times of pods in seconds and of apps in nanoseconds, as rkt does', async () => {
    const [{ created_at, apps }] = JSON.parse(await gantry.call('list', '--format=json'));
    expect(Math.abs(created_at - Date.now() / 1000)).toBeLessThan(3600);
    expect(Math.floor(apps[0].created_at / 1e9)).toBe(created_at);
  });

  it('indents with tabs as json-pretty', async () => {
    const text = await gantry.call('list', '--format=json-pretty');
    expect(text).toMatch(/^\[\n\t\{\n\t\t"name": "/);
    expect(JSON.parse(text)).toHaveLength(2);
  });

  it('ends quietly when its reader is gone', async () => {
    const [file, ...words] = gantry.command('list', '--format=json-pretty').words;
    const child = spawn(file, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.destroy();
    const said: string[] = [];
    child.stderr.setEncoding('utf8').on('data', (text: string) => said.push(text));
    const code = await new Promise((resolve) => child.once('close', resolve));
    expect(said.join('')).toBe('');
    expect(code).toBe(128 + 13);
  });
});

describe('status', () => {
  it('prints rkt’s lines of a pod that has ended', async () => {
    const text = await gantry.call('status', ended);
    expect(text).toMatch(
      /^state=exited\ncreated=\S+ \S+ \S+ \S+\nstarted=.+\nnetworks=\nexited=true\napp-one=\d+\napp-two=7\nsigned-one=/,
    );
  });

  it('prints the object that list has of the pod', async () => {
    const [listed] = JSON.parse(await gantry.call('list', '--format=json'));
    expect(JSON.parse(await gantry.call('status', '--format=json', ended))).toEqual(listed);
  });

  it.each(['1', 't', 'True', '', '-1s', '1h'])('takes --wait=%s', async (word) => {
    expect(await gantry.call('status', `--wait=${word}`, ended)).toMatch(/^state=exited\n/);
  });

  it.each(['0', 'f', 'FALSE', '0s', '+0'])('does not wait with --wait=%s', async (word) => {
    expect(await gantry.call('status', `--wait=${word}`, prepared)).toMatch(/^state=prepared\n/);
  });

  it.each(['--wait=yes', '--wait-ready=5', '--wait=--1s', '--wait=+', '--wait=1s1'])(
    'refuses %s',
    async (word) => {
      const { code, stderr } = await gantry.run('status', word, ended);
      expect(stderr).toMatch(/^gantry: status: --wait(-ready)?: ".*" is no duration/);
      expect(code).toBe(254);
    },
  );
});

describe('app status', () => {
  it('prints rkt’s lines, times to the nanosecond', async () => {
    const text = await gantry.call('app status', ended, '--app=one');
    expect(text.split('\n').map((line) => line.split('=')[0])).toEqual([
      ...['name', 'state', 'image_id', 'created_at', 'started_at', 'finished_at', 'exit_code'],
      'mounts',
    ]);
    expect(text).toMatch(/^started_at=\S+ \d\d:\d\d:\d\d\.\d{4,9} /m);
    expect(text).toContain(`\nmounts=${directory}:/data:(read_only:true)`);
  });
});

describe('image list', () => {
  it('takes rkt’s fields in any order', async () => {
    const words = ['--fields=Size,id', '--no-legend', '--full'];
    expect(await gantry.call('image list', ...words)).toMatch(/^\d+\t+sha512-[0-9a-f]{128}$/);
  });

  it.each([
    ['--fields=id,id', /--fields: field "id" is there twice/],
    ['--sort=id', /--sort: no field "id": use name, size, importtime, lastused/],
    ['--order=upwards', /--order: "upwards" is unknown/],
  ])('refuses %s', async (option, why) => {
    const { code, stderr } = await gantry.run('image list', option);
    expect(stderr).toMatch(why);
    expect(code).toBe(254);
  });
});

describe('with 1,000 pods', () => {
  let crowd: string;
  /** In milliseconds of processor time: other tests are at work beside this one. */
  const time = (...words: readonly string[]) => {
    const script = 'TIMEFORMAT="%U %S"; time "$@"';
    const command = [...gantry.command('list').words, ...words];
    const { stdout, stderr } = spawnSync('bash', ['-c', script, 'bash', ...command], {
      encoding: 'utf8',
    });
    const [user = Number.NaN, system = Number.NaN] = stderr.split(' ').map(Number);
    return { took: (user + system) * 1000, lines: stdout.split('\n') };
  };

  beforeAll(() => {
    if (!root.met) return;
    crowd = mkdtempSync('/dev/shm/gantry-test-');
    cpSync(gantry.dataDirectory, crowd, { recursive: true, verbatimSymlinks: true });
    for (const [phase, uuid, count] of [
      ['run', ended, 799],
      ['prepared', prepared, 199],
    ] as const) {
      const from = join(crowd, 'pods', phase, uuid);
      for (let pod = 0; pod < count; pod++) {
        cpSync(from, join(crowd, 'pods', phase, newUuid()), {
          recursive: true,
          verbatimSymlinks: true,
        });
      }
    }
  });
  afterAll(() => {
    if (crowd !== undefined) rmSync(crowd, { recursive: true, force: true });
  });

  // On the reference machine 0.09 s; test/bench has it by the clock.
  it('list takes under 0.25 s more than of none', { retry: 4 }, (context) => {
    needs(context, program('bash'));
    const none = Math.min(...[1, 2, 3].map(() => time(`--dir=${join(crowd, 'none')}`).took));
    const all = [1, 2, 3].map(() => time(`--dir=${crowd}`));
    expect(all[0]?.lines).toHaveLength(1 + 800 * 2 + 200 + 1);
    expect(Math.min(...all.map(({ took }) => took)) - none).toBeLessThan(250);
  });

  it('one that is named is found without a look into the others', (context) => {
    needs(context, program('strace'));
    const [other = ''] = readdirSync(join(crowd, 'pods/prepared')).filter((id) => id !== prepared);
    writeFileSync(join(crowd, 'pods/prepared', other, 'record.json'), 'no record');
    const { words } = gantry.command('status', `--dir=${crowd}`, ended);
    const log = join(directory, 'opened');
    const traced = spawnSync('strace', ['-f', '-o', log, '-e', 'trace=%file', ...words]);
    expect(traced.status).toBe(0);
    const opened = spawnSync('grep', ['-c', '/pods/[a-z-]*/[0-9a-f-]\\{36\\}', log], {
      encoding: 'utf8',
    });
    expect(Number(opened.stdout)).toBeLessThan(10);
  });
});
