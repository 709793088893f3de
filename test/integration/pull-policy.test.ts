import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type LocalServer, startHttpServer } from '../../examples/quickstart/https-server.ts';
import { podsIn } from '../../src/pod/find.ts';
import { PHASES } from '../../src/pod/phase.ts';
import { createInstallation, type Installation } from '../support/installation.ts';
import { buildProgram } from '../support/program.ts';
import { needs, root } from '../support/requirements.ts';

/** A program that ends with `code`: which image ran. */
const endsWith = (code: number) => buildProgram(`int main(void) { return ${code}; }`);

let directory: string;
let gantry: Installation;
let server: LocalServer;
/** The image behind the URL is the one in `offered`. */
let offered: string;
let url: string;
let scratch: string;

beforeAll(async () => {
  if (!root.met) return;
  directory = mkdtempSync(join(tmpdir(), 'gantry-test-'));
  gantry = await createInstallation(directory);
  offered = join(directory, 'offered');
  mkdirSync(offered);
  for (const [name, code] of [
    ['one', 1],
    ['two', 2],
  ] as const) {
    const rootfs = join(directory, `${name}-rootfs`);
    mkdirSync(rootfs);
    copyFileSync(endsWith(code), join(rootfs, 'app'));
    await gantry.makeImage(name, rootfs, { exec: ['/app'] });
  }
  server = await startHttpServer((request, response) => {
    const file = join(offered, (request.url ?? '').replace(/[^a-z.]/g, ''));
    if (existsSync(file)) response.end(readFileSync(file));
    else response.writeHead(404).end();
  });
  url = `http://localhost:${server.port}/app.aci`;
});

afterAll(async () => {
  await server?.close();
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

beforeEach((context) => {
  needs(context, root);
  scratch = mkdtempSync(join(directory, 'data-'));
  offer('one');
});

/** Puts an image and its signature, or that of another, behind the URL. */
function offer(name: string, signature = name): void {
  copyFileSync(join(directory, `${name}.aci`), join(offered, 'app.aci'));
  copyFileSync(join(directory, `${signature}.aci.asc`), join(offered, 'app.aci.asc'));
}

const gantryAt = (verb: string, ...words: readonly string[]) =>
  gantry.run(verb, `--dir=${scratch}`, '--insecure-options=http', ...words);

/** What `run` ends with, and whether the server was asked. */
async function runAgain(...options: readonly string[]): Promise<[code: number, asked: boolean]> {
  const before = server.requests.length;
  const { code } = await gantryAt('run', ...options, url);
  return [code, server.requests.length > before];
}

const pods = () => PHASES.flatMap((phase) => podsIn(scratch, phase));

describe('an image that is stored', () => {
  beforeEach(async () => {
    expect((await gantryAt('fetch', url)).code).toBe(0);
    offer('two');
  });

  it('is run as it is, and nobody asked', async () => {
    expect(await runAgain()).toEqual([1, false]);
    expect(await runAgain('--pull-policy=new')).toEqual([1, false]);
  });

  it('is run as it is with never', async () => {
    expect(await runAgain('--pull-policy=never')).toEqual([1, false]);
    expect(await runAgain('--store-only')).toEqual([1, false]);
  });

  it.each(['--pull-policy=update', '--no-store'])(
    'gives way to a newer one with %s',
    async (option) => {
      expect(await runAgain(option)).toEqual([2, true]);
    },
  );

  it('is prepared by the same rules', async () => {
    const requests = server.requests.length;
    expect((await gantryAt('prepare', '--pull-policy=never', url)).code).toBe(0);
    expect(server.requests.length).toBe(requests);
    const { stdout } = await gantryAt('prepare', '--pull-policy=update', url);
    expect(server.requests.length).toBeGreaterThan(requests);
    expect((await gantry.run('run-prepared', `--dir=${scratch}`, stdout.trim())).code).toBe(2);
  });
});

describe('an image that is not stored', () => {
  it('is fetched with new', async () => {
    expect(await runAgain('--pull-policy=new')).toEqual([1, true]);
  });

  it.each(['--pull-policy=never', '--store-only'])(
    'is refused with %s, and nobody asked',
    async (option) => {
      const requests = server.requests.length;
      const { code, stderr } = await gantryAt('prepare', option, url);
      expect(stderr).toMatch(/^gantry: prepare: .*(not in the store|pull-policy)/m);
      expect(code).toBe(254);
      expect(server.requests.length).toBe(requests);
      expect(pods()).toEqual([]);
    },
  );
});

describe('words that make no sense', () => {
  it.each([
    [['--pull-policy='], /--pull-policy: "" is unknown: use never, new or update/],
    [['--pull-policy=always'], /--pull-policy: "always" is unknown/],
    [['--pull-policy=New'], /--pull-policy: "New" is unknown/],
    [['--store-only', '--no-store'], /both --store-only and --no-store specified/],
  ])('%j are refused, and nothing is fetched or prepared', async (words, why) => {
    const requests = server.requests.length;
    for (const verb of ['run', 'prepare', 'fetch']) {
      const { code, stderr } = await gantryAt(verb, ...words, url);
      expect(stderr).toMatch(why);
      expect(code).toBe(254);
    }
    expect(server.requests.length).toBe(requests);
    expect(pods()).toEqual([]);
  });
});

describe('--signature', () => {
  const image = (name: string) => join(directory, `${name}.aci`);
  const moved = (name: string) => join(directory, `moved-${name}.asc`);
  beforeEach(() => {
    for (const name of ['one', 'two']) cpSync(`${image(name)}.asc`, moved(name));
  });

  it('is of the image before it, of several each its own', async () => {
    const words = ['one', 'two'].flatMap((name) => [
      image(name),
      `--signature=${moved(name)}`,
      `--name=${name}`,
    ]);
    const { code, stdout, stderr } = await gantryAt('prepare', ...words);
    expect(stderr.match(/signature verified/g)).toHaveLength(2);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^[0-9a-f-]{36}\n$/);
  });

  it('of another image is refused, and nothing prepared', async () => {
    const words = [
      image('one'),
      `--signature=${moved('one')}`,
      image('two'),
      `--signature=${moved('one')}`,
    ];
    const { code, stderr } = await gantryAt('prepare', ...words);
    expect(stderr).toMatch(/^gantry: prepare: .*two.*signature/m);
    expect(code).toBe(254);
    expect(pods()).toEqual([]);
  });

  it.each([
    [['--signature=x.asc', 'IMAGE'], /--signature must follow an image/],
    [['IMAGE', '--signature=a', '--signature=b'], /--signature specified multiple times/],
    [['IMAGE', '--signature=/nowhere'], /\/nowhere: no such file/],
  ])('%j is refused', async (words, why) => {
    const given = words.map((word) => (word === 'IMAGE' ? image('one') : word));
    const { code, stderr } = await gantryAt('prepare', ...given);
    expect(stderr).toMatch(why);
    expect(code).toBe(254);
  });
});

describe('--quiet', () => {
  it('says nothing of what goes well', async () => {
    const { code, stdout, stderr } = await gantryAt('prepare', '--quiet', url);
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^[0-9a-f-]{36}\n$/);
    expect(code).toBe(0);
  });

  it('says what goes wrong all the same', async () => {
    offer('one', 'two');
    const { code, stderr } = await gantryAt('prepare', '--quiet', url);
    expect(stderr).toMatch(/^gantry: prepare: .+\n$/);
    expect(code).toBe(254);
  });
});
