import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { leaksSince, readHost } from '../support/host.ts';
import { type Ending, exitCodeOf, type Installation } from '../support/installation.ts';
import { buildProgram } from '../support/program.ts';
import { needs, program, root } from '../support/requirements.ts';
import { sharedInstallation } from '../support/shared-installation.ts';

/** Exits with its first argument; waits for ever without one. */
const app = buildProgram(`
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    if (argc > 1)
        return atoi(argv[1]);
    for (;;)
        pause();
}
`);

let directory: string;
let gantry: Installation;
let reference: string;

beforeAll(async () => {
  if (!root.met) return;
  ({ directory, gantry } = await sharedInstallation());
  reference = await gantry.storeProgram('app', app);
});

beforeEach((context) => needs(context, root));

/** A refusal is one line on standard error that says what failed, and exit code 254. */
function expectRefusal(ending: Ending, command: string, why: RegExp): void {
  expect(ending.stderr).toMatch(why);
  expect(ending.stderr.trim().split('\n')).toHaveLength(1);
  expect(ending.stderr).toMatch(new RegExp(`^gantry: ${command}: `));
  expect(ending.code).toBe(254);
}

const preparePod = (...words: string[]) => gantry.call('prepare', reference, ...words);

const POD_COMMANDS = [
  'cat-manifest',
  'enter',
  'plan',
  'rm',
  'run-prepared',
  'status',
  'status --wait=1s',
  'stop',
];

describe('a pod that cannot be meant', () => {
  it.each(POD_COMMANDS)('is refused by %s when nothing matches', async (command) => {
    const [verb = '', ...words] = command.split(' ');
    const ending = await gantry.run(verb, ...words, 'ffffffff');
    expectRefusal(ending, verb, /no matches found for "ffffffff"/);
  });

  it.each(POD_COMMANDS)('is refused by %s when no UUID is given', async (command) => {
    const [verb = '', ...words] = command.split(' ');
    expectRefusal(await gantry.run(verb, ...words, ''), verb, /UUID cannot be empty/);
  });

  it('is refused by every command when the prefix is ambiguous', async () => {
    const phase = join(gantry.dataDirectory, 'pods/prepared');
    const twins = ['a', 'b'].map((last) => `eeeeeeee-0000-4000-8000-00000000000${last}`);
    for (const uuid of twins) mkdirSync(join(phase, uuid), { recursive: true });
    try {
      for (const command of POD_COMMANDS) {
        const [verb = '', ...words] = command.split(' ');
        expectRefusal(await gantry.run(verb, ...words, 'eeee'), verb, /ambiguous|multiple/);
      }
    } finally {
      for (const uuid of twins) rmSync(join(phase, uuid), { recursive: true });
    }
  });
});

describe('a pod in the wrong phase', () => {
  it('cannot be entered or stopped while it is prepared', async () => {
    const uuid = await preparePod();
    expectRefusal(await gantry.run('enter', uuid, '/app'), 'enter', /(currently|not) running/);
    expectRefusal(await gantry.run('stop', uuid), 'stop', /(currently|not) running/);
    await gantry.call('rm', uuid);
  });

  it('cannot be started twice', async () => {
    const uuid = await preparePod('--', '0');
    expect((await gantry.run('run-prepared', uuid)).code).toBe(0);
    expectRefusal(await gantry.run('run-prepared', uuid), 'run-prepared', /is not prepared/);
    await gantry.call('rm', uuid);
  });

  it('cannot be removed while it runs', async () => {
    const before = readHost(gantry.dataDirectory);
    const child = gantry.start('run', '--net=none', reference);
    const uuid = await runningPod();
    expectRefusal(await gantry.run('rm', uuid), 'rm', /running/);
    expect(await gantry.call('status', uuid)).toMatch(/^state=running$/m);
    await gantry.call('stop', '--force', uuid);
    await exitCodeOf(child);
    await gantry.call('rm', uuid);
    expect(await leaksSince(before, gantry.dataDirectory)).toEqual([]);
  });
});

/** The UUID of the one pod that is running and ready. */
async function runningPod(): Promise<string> {
  for (;;) {
    const pods = JSON.parse(await gantry.call('list', '--format=json')) as {
      name: string;
      state: string;
    }[];
    const running = pods.find((pod) => pod.state === 'running');
    if (running === undefined) continue;
    await gantry.call('status', '--wait-ready=10s', running.name);
    return running.name;
  }
}

describe('the life of a pod', () => {
  it('is prepared, run, shown as exited with its code, and removed', async () => {
    const uuid = await gantry.call('prepare', reference, '--', '0');
    expect(await gantry.call('status', uuid)).toMatch(
      /^state=prepared\ncreated=\S+ \S+ [+-]\d{4} \w+\nsigned-app=[0-9a-f]{40} Gantry test <.+>\nstage1=gantry\/native$/,
    );
    expect((await gantry.run('run-prepared', uuid)).code).toBe(0);
    expect(await gantry.call('status', uuid)).toMatch(
      /^state=exited\ncreated=.+\nstarted=.+\nnetworks=\n(pid=\d+\n)?exited=true\napp-app=0\nsigned-app=.+\nstage1=gantry\/native$/,
    );
    const list = await gantry.call('list', '--no-legend', '--full');
    expect(list.split('\n').find((line) => line.startsWith(uuid))).toMatch(
      /^\S+\tapp\t+example\.com\/app:1\.0\.0\t+sha512-[0-9a-f]{12}\t+exited\t.*\t[0-9a-f]{40} Gantry test <test@example\.com>$/,
    );
    const [found] = JSON.parse(await gantry.call('list', '--format=json')).filter(
      ({ name }: { name: string }) => name === uuid,
    );
    expect(found.apps[0].provenance).toMatchObject({ kind: 'openpgp', name: 'example.com/app' });
    expect(await gantry.call('rm', uuid)).toBe(`"${uuid}"`);
    expect(await gantry.call('list', '--no-legend')).not.toContain(uuid.slice(0, 8));
  });

  it('can be named by a file and waited for', async () => {
    const file = join(directory, 'uuid');
    const child = gantry.start('run', '--net=none', `--uuid-file-save=${file}`, reference);
    const uuid = await runningPod();
    expect(readFileSync(file, 'utf8').trim()).toBe(uuid);
    expectRefusal(
      await gantry.run('status', '--wait=100ms', `--uuid-file=${file}`),
      'status',
      /has not ended|timed? ?out|still running/i,
    );
    const waiting = gantry.call('status', '--wait', `--uuid-file=${file}`);
    await gantry.call('stop', `--uuid-file=${file}`);
    expect(await waiting).toMatch(/^state=exited$/m);
    expect(await exitCodeOf(child)).toBe(128 + 15);
    await gantry.call('rm', `--uuid-file=${file}`);
  });

  it('runs several apps and ends with the code of the one that fails', async () => {
    const words = [reference, '--name=a', '--', '0', '---', reference, '--name=b', '--', '3'];
    const ending = await gantry.run('run', '--net=none', ...words);
    expect(ending.code).toBe(3);
    await gantry.call('gc', '--grace-period=0s');
    await gantry.call('gc', '--grace-period=0s');
  });

  it('prints the plan and the manifest it was made of', async () => {
    const uuid = await preparePod();
    expect(await gantry.call('plan', uuid)).toMatch(
      /^section supervisor\n(.*\n)* {2}exec \/app \/app$/,
    );
    const manifest = JSON.parse(await gantry.call('cat-manifest', uuid)) as object;
    expect(manifest).toMatchObject({ acKind: 'PodManifest', apps: [{ name: 'app' }] });
    await gantry.call('rm', uuid);
  });
});

describe('image rm', () => {
  it('counts an image named twice once, by id and by name', async () => {
    const rootfs = join(directory, 'app-rootfs');
    const image = await gantry.makeImage('twice', rootfs, { exec: ['/app', '2'] });
    const id = await gantry.call('fetch', '--full', image.path);
    const ending = await gantry.run('image rm', id, id.slice(0, 20), image.reference);
    expect(ending.stdout).toBe(`successfully removed aci for image: "${id}"\n`);
    expect(ending.stderr).toBe('rm: 1 image(s) successfully removed\n');
    expect(ending.code).toBe(0);
  });
});

describe('an image that is none', () => {
  it('is named by the refusal', async () => {
    const path = join(directory, 'none.aci');
    expectRefusal(await gantry.run('fetch', path), 'fetch', /none\.aci: no such file/);
    writeFileSync(path, 'none');
    expectRefusal(await gantry.run('fetch', path), 'fetch', /none\.aci\.asc: no such file/);
    const ending = await gantry.run('fetch', '--insecure-options=image', path);
    expect(ending.stderr).toContain(`gantry: fetch: ${path}: image archive: it is truncated`);
    rmSync(path);
    const missing = await gantry.run('fetch', '--insecure-options=image', path);
    expect(missing.stderr).toContain(`${path}: no such file or directory`);
  });
});

describe('a stored image that somebody changed', () => {
  it('is whole again once it is removed and fetched, although a pod still has the changed tree', async () => {
    const { id } = await imageOf(reference);
    const tree = join(gantry.dataDirectory, 'layers', id);
    await gantry.run('run', reference, '--', '0');
    writeFileSync(join(tree, 'evil'), 'x');
    expect((await gantry.run('image verify', id)).stderr).toMatch(/evil is not part of the image/);
    await gantry.call('image rm', id);
    await gantry.call('fetch', join(directory, 'app.aci'));
    expect(await gantry.call('image verify', id)).toContain('successfully verified');
    await gantry.call('gc', '--grace-period=0s');
    await gantry.call('image gc', '--grace-period=1h');
    expect(readdirSync(join(gantry.dataDirectory, 'layers'))).toEqual([id]);
  });

  it('keeps the key that vouched for it when it is fetched again without asking', async () => {
    const again = await gantry.run('--insecure-options=image fetch', join(directory, 'app.aci'));
    expect(again.code).toBe(0);
    expect(again.stderr).not.toContain('signature verified');
    expect(await imageOf(reference)).toMatchObject({ provenance: { kind: 'openpgp' } });
    expect((await gantry.run('run', reference, '--', '0')).code).toBe(0);
  });
});

async function imageOf(name: string): Promise<{ id: string; name: string }> {
  const images = JSON.parse(await gantry.call('image list', '--format=json')) as {
    id: string;
    name: string;
  }[];
  const found = images.find((image) => image.name === name);
  if (found === undefined) throw new Error(`${name} is not stored`);
  return found;
}

it('global options may stand before, between and after the words of a command', () => {
  const program = join(import.meta.dirname, '../../bin/gantry');
  const dir = `--dir=${join(directory, 'data')}`;
  const list = (...words: string[]) => spawnSync(program, words, { encoding: 'utf8' }).stdout;
  const expected = list('image', 'list', '--full', dir);
  expect(expected).toContain('example.com/app:1.0.0');
  expect(list(dir, 'image', 'list', '--full')).toBe(expected);
  expect(list('image', '--dir', join(directory, 'data'), 'list', '--full')).toBe(expected);
});

describe("words of rkt's documentation", () => {
  it('give a negated flag a value', async () => {
    const ending = await gantry.run('run', '--no-overlay=true', reference, '--', '3');
    expect(ending).toMatchObject({ code: 3, stderr: '' });
    expect(await gantry.call('list', '--no-legend=true')).not.toContain('UUID');
    expect(await gantry.call('list', '--no-legend=false')).toContain('UUID');
  });

  it('have an option of the command before it', async () => {
    const ending = await gantry.run('--hostname=web', 'run', reference, '--', '3');
    expect(ending).toMatchObject({ code: 3, stderr: '' });
    expectRefusal(await gantry.run('--bogus=1', 'list'), 'list', /unknown option '--bogus=1'/);
  });
});

describe('words that make no sense', () => {
  it.each([
    ['run', [], /pod must contain at least one application/],
    ['run', ['--nonsense', 'x'], /unknown option/],
    ['run', ['--net=blue', 'x'], /network "blue" is not available/],
    ['fetch', [], /must provide at least one image/],
    ['fetch', ['ftp://example.com/busybox'], /ftp: is not supported/],
    ['image rm', [], /must provide at least one image/],
    ['image cat-manifest', ['sha512-ff'], /no image IDs found|not in the store/],
    ['image cat-manifest', ['sha512-f'], /image ID too short/],
    ['gc', ['--grace-period=soon'], /is no duration/],
    ['trust', ['key.asc'], /--prefix/],
    ['trust', ['--root', '--prefix=a', 'key.asc'], /mutually exclusive/],
    ['trust', ['--prefix=https://example.com'], /must not contain a URL scheme/],
    ['list', ['--format=xml'], /--format: "xml" is unknown/],
    ['trust', ['--prefix=', 'key.asc'], /--prefix/],
    ['trust', ['--prefix=../../x', 'key.asc'], /--prefix/],
    ['gc', ['0123abcd'], /unexpected "0123abcd": gantry gc takes options only/],
    ['image list', ['x'], /unexpected "x"/],
    ['run', ['--nonsense'], /see gantry run --help/],
    ['run', ['--set-env-file=/nowhere', 'x'], /\/nowhere: no such file or directory/],
    ['stop', ['--uuid-file=/nowhere'], /\/nowhere: no such file or directory/],
    ['image cat-manifest', ['sha512-ff'], /begin with sha512-ff: gantry image list/],
    ['completion', ['tcsh'], /bash, zsh or fish/],
  ] as const)('are refused: %s %j', async (verb, words, why) => {
    expectRefusal(await gantry.run(verb, ...words), verb, why);
  });

  it('are refused for a command that does not exist', async () => {
    const { code, stderr } = await gantry.run('nonsense');
    expect(stderr).toMatch(/unknown command "nonsense"/);
    expect(code).toBe(254);
  });
});

describe('help, completions and man pages', () => {
  it.each(['run', 'prepare', 'fetch', 'app add', 'list'])('%s explains itself', async (command) => {
    const { code, stdout, stderr } = await gantry.run(command, '--help');
    expect(stdout).toMatch(new RegExp(`^Usage: gantry ${command} `));
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });

  it('come from the same definitions', async () => {
    const help = await gantry.call('help', 'run');
    const man = join(directory, 'man');
    await gantry.call('man', man);
    const page = readFileSync(join(man, 'gantry-run.1'), 'utf8');
    const bash = await gantry.call('completion', 'bash');
    for (const option of ['--interactive', '--uuid-file-save', '--set-env']) {
      expect(help).toContain(option);
      expect(page.replaceAll('\\-', '-')).toContain(option);
      expect(bash).toContain(option);
    }
    expect(readdirSync(man)).toContain('gantry-image-list.1');
  });

  it('have options by what they are about, in help and man page alike', async () => {
    const help = await gantry.call('help', 'run');
    const man = join(directory, 'grouped');
    await gantry.call('man', man);
    const page = readFileSync(join(man, 'gantry-run.1'), 'utf8');
    const headings = [...help.matchAll(/^([A-Z].*):\n {2}-/gm)].map(([, heading]) => heading);
    expect(headings).toContain('After an image, limits of its app');
    const sections = [...page.matchAll(/^\.SS (.*)$/gm)].map(([, heading]) => heading);
    expect(headings.slice(0, -1)).toEqual(['Options', ...sections]);
    expect(headings.at(-1)).toContain('Global options');
  });

  it('bash takes the completion script', (context) => {
    needs(context, program('bash'));
    const script = join(directory, 'completion.bash');
    const [file, ...words] = gantry.command('completion', 'bash').words;
    writeFileSync(script, spawnSync(file, words).stdout);
    const complete = (...words: string[]) => {
      const probe = `source ${script}; COMP_WORDS=(gantry "$@"); COMP_CWORD=$#; _gantry; echo "\${COMPREPLY[@]}"`;
      const { stdout } = spawnSync('bash', ['-c', probe, 'bash', ...words], { encoding: 'utf8' });
      return stdout.trim();
    };
    expect(complete('im')).toBe('image');
    // The shell takes --option=value for three words.
    expect(complete('--dir', '=', '/x', 'run', '--pod')).toBe('--pod-manifest=');
    expect(complete('--dir', '/x', 'app', 'sand')).toBe('sandbox');
    expect(complete('run', '--pull-policy', '=', 'ne')).toBe('never new');
  });
});
