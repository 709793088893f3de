import { existsSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { leaksSince, readHost } from '../support/host.ts';
import { exitCodeOf, type Installation, runCommand } from '../support/installation.ts';
import { buildProgram } from '../support/program.ts';
import { needs, root } from '../support/requirements.ts';
import { sharedInstallation } from '../support/shared-installation.ts';

/** Says what is asked for, each argument by itself. */
const program = buildProgram(`
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        char word[256];
        struct stat st;
        if (strncmp(argv[i], "key=", 4) == 0)
            printf("key %s\\n", shmget(atoi(argv[i] + 4), 0, 0) >= 0 ? "there" : "none");
        else if (argv[i][0] == '/')
            printf("%s %s\\n", argv[i], stat(argv[i], &st) == 0 ? "there" : "none");
        else if (strcmp(argv[i], "read") == 0)
            printf("read %s\\n", fgets(word, sizeof word, stdin) ? "something" : "nothing");
        else if (strcmp(argv[i], "complain") == 0)
            fprintf(stderr, "complaint\\n");
        else if (strcmp(argv[i], "reopen") == 0)
            printf("reopen %s\\n", open("/dev/stdout", O_WRONLY) >= 0 ? "ok" : "refused");
        else
            printf("%s=%s\\n", argv[i], getenv(argv[i]) ? getenv(argv[i]) : "(none)");
        fflush(stdout);
    }
    return 0;
}
`);

let directory: string;
let gantry: Installation;
let reference: string;

beforeAll(async () => {
  if (!root.met) return;
  ({ directory, gantry } = await sharedInstallation());
  reference = await gantry.storeProgram('teller', program);
});

beforeEach((context) => needs(context, root));

/** What an app says, without what stands before its lines. */
async function say(before: readonly string[], after: readonly string[], what: readonly string[]) {
  const words = [...before, reference, ...after, '--', ...what];
  const { code, stdout, stderr } = await gantry.run('run', ...words);
  return { code, stderr, lines: linesOf(stdout) };
}

function linesOf(text: string): string[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.replace(/^\[.*?\]: /, ''));
}

describe('the environment of an app', () => {
  it('ranks what is inherited, of files, of every app, and of the app', async () => {
    const [first, second] = ['first', 'second'].map((name) => join(directory, name));
    writeFileSync(first ?? '', '# a file\nFILE=1\nBOTH=1\nALL=file\nAPP=file\n');
    writeFileSync(second ?? '', 'BOTH=2\n\n; another\nVALUE=a=b c\n');
    const { words } = gantry.command(
      'run',
      '--inherit-env',
      `--set-env-file=${first}`,
      `--set-env-file=${second}`,
      '--set-env=ALL=all',
      '--set-env=APP=all',
      reference,
      '--environment=APP=app',
      ...['--', 'OUTER', 'FILE', 'BOTH', 'VALUE', 'ALL', 'APP'],
    );
    const environment = { OUTER: 'outer', FILE: 'outer', APP: 'outer' };
    const { stdout } = await runCommand({ words, environment });
    expect(linesOf(stdout)).toEqual([
      ...['OUTER=outer', 'FILE=1', 'BOTH=2', 'VALUE=a=b c', 'ALL=all', 'APP=app'],
    ]);
  });
});

describe('the options of rkt that have gone out of use', () => {
  it('do what those in their place do, and say which', async () => {
    const text = 'has been deprecated: use';
    const words = ['--store-only', reference, '--cap-retain=CAP_KILL'];
    const { stderr } = await gantry.run('prepare', ...words);
    expect(stderr.trim().split('\n').sort()).toEqual([
      `warning: --cap-retain ${text} --caps-retain instead`,
      `warning: --store-only ${text} --pull-policy=never instead`,
    ]);
    const uuid = await gantry.call('prepare', reference, '--cap-remove=CAP_KILL');
    const manifest = JSON.parse(await gantry.call('cat-manifest', uuid));
    expect(manifest.apps[0].app.isolators).toEqual([
      { name: 'os/linux/capabilities-remove-set', value: { set: ['CAP_KILL'] } },
    ]);
  });

  it('are not shown', async () => {
    const help = await gantry.call('run', '--help');
    expect(help).not.toMatch(/--(cap-retain|cap-remove|store-only|no-store)/);
  });
});

describe('what is said of a pod and its apps', () => {
  it('stands in the manifest where it belongs', async () => {
    const uuid = await gantry.call(
      'prepare',
      '--annotation=example.com/pod=1',
      reference,
      ...['--name=one', '--annotation=example.com/app=2', '--user-annotation=a=3'],
      ...['--user-label=l=4', '--user-label=m=5'],
      reference,
      '--name=two',
    );
    const manifest = JSON.parse(await gantry.call('cat-manifest', uuid));
    expect(manifest.annotations).toEqual([{ name: 'example.com/pod', value: '1' }]);
    const [one, two] = manifest.apps;
    expect(one.annotations).toEqual([{ name: 'example.com/app', value: '2' }]);
    expect(one.app).toMatchObject({ userAnnotations: { a: '3' }, userLabels: { l: '4', m: '5' } });
    expect(two.annotations).toBeUndefined();
    expect(two.app.userLabels).toBeUndefined();
  });

  it('writes the UUID before the pod runs', async () => {
    const file = join(directory, 'uuid');
    const { code } = await gantry.run('run', `--uuid-file-save=${file}`, reference);
    expect(code).toBe(0);
    expect(await gantry.call('status', readFileSync(file, 'utf8').trim())).toMatch(/state=exited/);
  });

  it('takes empty words for no host name, file, manifest and mode, as rkt does', async () => {
    const empty = ['--hostname=', '--uuid-file-save=', '--pod-manifest=', '--ipc='];
    expect((await gantry.run('run', ...empty, reference)).code).toBe(0);
  });
});

describe.each(['native', 'nspawn', 'chroot'])('streams of an app under %s', (flavour) => {
  const stage1 = `--stage1-name=${flavour}`;

  it('lead nowhere where it is asked for', async () => {
    const before = readHost(directory);
    const out = await say([stage1], ['--stdout=null', '--user=7'], ['A', 'reopen', 'complain']);
    expect([out.lines, linesOf(out.stderr)]).toEqual([[], ['complaint']]);
    const errors = await say([stage1], ['--stderr=null', '--stdout=log'], ['A', 'complain']);
    expect([errors.lines, errors.stderr]).toEqual([['A=(none)'], '']);
    const all = ['--stdin=null', '--stdout=null', '--stderr=null'];
    expect(await say([stage1], all, ['read'])).toEqual({ code: 0, lines: [], stderr: '' });
    expect((await say([stage1], ['--stdin=null'], ['read'])).lines).toEqual(['read nothing']);
    expect(await leaksSince(before, directory)).toEqual([]);
  });
});

describe('--ipc', () => {
  const key = String(0x6b000000 + process.pid);
  const file = `/dev/shm/gantry-test-${process.pid}`;
  const memory = buildProgram(`
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
int main(int argc, char **argv)
{
    if (strcmp(argv[1], "make") == 0)
        return shmget(atoi(argv[2]), 4096, IPC_CREAT | 0600) < 0;
    return shmctl(shmget(atoi(argv[2]), 0, 0), IPC_RMID, NULL) < 0;
}
`);

  beforeAll(async () => {
    if (!root.met) return;
    writeFileSync(file, '');
    expect((await runCommand({ words: [memory, 'make', key] })).code).toBe(0);
  });

  afterAll(async () => {
    if (!root.met) return;
    rmSync(file, { force: true });
    await runCommand({ words: [memory, 'remove', key] });
  });

  const seen = (word: string) => [`key ${word}`, `${file} ${word}`, '/dev/mqueue there'];
  const look = [`key=${key}`, file, '/dev/mqueue'];

  it.each(['native', 'nspawn'])(
    'parent shows %s the host’s, auto and private do not',
    async (flavour) => {
      const before = readHost(directory);
      const stage1 = `--stage1-name=${flavour}`;
      expect((await say([stage1, '--ipc=parent'], [], look)).lines).toEqual(seen('there'));
      expect((await say([stage1, '--ipc=private'], [], look)).lines).toEqual(seen('none'));
      expect((await say([stage1, '--ipc=auto'], [], look)).lines).toEqual(seen('none'));
      expect(await leaksSince(before, directory)).toEqual([]);
    },
  );

  it('is the host’s under chroot, whatever is said but private', async () => {
    const { lines } = await say(['--stage1-name=chroot', '--ipc=parent'], [], look.slice(0, 2));
    expect(lines).toEqual(seen('there').slice(0, 2));
    const refused = await say(['--stage1-name=chroot', '--ipc=private'], [], look);
    expect(refused.code).toBe(254);
    expect(refused.stderr).toContain('lacks private-ipc');
  });

  it('is for enter what it is for the app', async () => {
    const waiting = buildProgram(`
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    char target[64] = {0};
    if (argc > 1 && readlink("/proc/self/ns/ipc", target, sizeof target - 1) > 0)
        return printf("%s\\n", target) < 0;
    for (;;)
        pause();
}
`);
    const image = await gantry.storeProgram('waiting', waiting);
    const file = join(directory, 'waiting-uuid');
    const child = gantry.start('run', '--ipc=parent', `--uuid-file-save=${file}`, image);
    while (!existsSync(file)) await sleep(20);
    const uuid = readFileSync(file, 'utf8').trim();
    await gantry.call('status', '--wait-ready=10s', uuid);
    const { stdout } = await gantry.run('enter', uuid, '/waiting', 'look');
    expect(stdout.trim()).toBe(readlinkSync('/proc/self/ns/ipc'));
    await gantry.call('stop', '--force', uuid);
    await exitCodeOf(child);
  });

  it('is chosen anew for a prepared pod', async () => {
    const uuids: string[] = [];
    for (const word of ['auto', 'parent', 'parent']) {
      uuids.push(await gantry.call('prepare', `--ipc=${word}`, reference, '--', ...look));
    }
    const [first = '', second = '', third = ''] = uuids;
    const start = async (uuid: string, ...words: string[]) =>
      linesOf((await gantry.run('run-prepared', ...words, uuid)).stdout);
    expect(await start(first, '--ipc=parent')).toEqual(seen('there'));
    expect(await start(second, '--ipc=private')).toEqual(seen('none'));
    expect(await start(third, '--hostname=x')).toEqual(seen('there'));
  });

  it('is refused where the pod has a kernel of its own', async () => {
    const { stderr } = await say(['--ipc=parent', '--stage1-name=kvm'], [], look);
    expect(stderr).toContain('stage1 gantry/kvm lacks host-ipc');
  });
});
