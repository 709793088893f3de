import { chmodSync, existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ownProgram, runCommand } from '../support/installation.ts';
import { endingOf, type OrdinaryUser, rootless } from '../support/ordinary-user.ts';
import { needs, root } from '../support/requirements.ts';
import { IMAGE, refusal, share, UserWorld, waitingPod } from './user-world.ts';

beforeEach((context) => needs(context, root, rootless));

let users: UserWorld;
let user: OrdinaryUser;

beforeAll(async () => {
  if (!root.met || !rootless.met) return;
  users = await UserWorld.open(52200);
  user = users.user;
});
afterAll(() => users?.close());

describe('is refused in one line', () => {
  it.each([
    ['/proc', '/proc/interrupts'],
    ['/sys', '/sys/firmware'],
  ])('a host that hides part of %s', async (_, hidden) => {
    const cover = hidden === '/sys/firmware' ? 'mount -t tmpfs none' : 'mount --bind /dev/null';
    const other = users.newUser({ asRoot: `${cover} ${hidden}` });
    await share(user, other);
    const ending = await other.run(['run', IMAGE]);
    expect(ending).toEqual(refusal(new RegExp(`${hidden} is mounted over here`)));
    expect(await other.call('list', '--no-legend')).toBe('');
  });

  it('keys in a directory of somebody else', async () => {
    const configuration = join(users.directory, 'theirs');
    mkdirSync(join(configuration, 'trustedkeys/root.d'), { recursive: true });
    const ending = await user.run(['trust', 'list', `--local-config=${configuration}`]);
    expect(ending).toEqual(refusal(/trustedkeys belongs to user 65534, who could change it/));
  });

  it('a user without subordinate ids', async () => {
    const other = users.newUser({ subordinate: null });
    expect(await other.run(['fetch', 'example.com/app'])).toEqual(
      refusal(
        /fetch: cannot run as unprivileged user: \/etc\/subuid has no ids for you: as root run usermod --add-subuids/,
      ),
    );
    expect(existsSync(other.dataDirectory)).toBe(false);
  });

  it('a user whom nobody knows', async () => {
    const other = users.newUser();
    other.writeEtc('passwd', 'root:x:0:0::/root:/bin/sh\n');
    for (const file of ['subuid', 'subgid']) other.writeEtc(file, `${other.uid}:3000000:65536\n`);
    const homeless = await other.run(['list'], { HOME: undefined });
    expect(homeless).toEqual(refusal(/neither XDG_\w+ nor HOME is an absolute path: set HOME/));
    expect(await other.run(['gc'])).toEqual(refusal(/newuidmap: Cannot determine your user name/));
  });

  it('a user without subordinate groups', async () => {
    const other = users.newUser();
    other.writeEtc('subgid', '');
    expect(await other.run(['gc'])).toEqual(refusal(/\/etc\/subgid has no ids for you/));
  });

  it('subordinate ids that are not well formed', async () => {
    const other = users.newUser();
    other.writeEtc(
      'subuid',
      `user${other.uid}:x:65536\nuser${other.uid}:100\n${other.uid}:0:10\nroot:1:2\n`,
    );
    expect(await other.run(['gc'])).toEqual(refusal(/\/etc\/subuid has no ids for you/));
  });

  it('a machine without newuidmap', async () => {
    const other = users.newUser({ asRoot: 'mount --bind /dev/null /usr/bin/newuidmap' });
    expect(await other.run(['gc'])).toEqual(
      refusal(/newuidmap is missing: as root install the package uidmap/),
    );
  });

  it("a newuidmap that is not root's", async () => {
    const copy = join(users.directory, 'newuidmap');
    const take = `cp -p /usr/bin/newuidmap ${copy}; chown 1 ${copy}; mount --bind ${copy} /usr/bin/newuidmap`;
    const other = users.newUser({ asRoot: take });
    expect(await other.run(['gc'])).toEqual(refusal(/newuidmap is missing/));
  });

  it('a newuidmap without its power', async () => {
    const bind = 'mount --bind /usr/bin /usr/bin; mount -o remount,bind,nosuid /usr/bin';
    const other = users.newUser({ asRoot: bind });
    expect(await other.run(['gc'])).toEqual(
      refusal(/newuidmap: .*: newuidmap and newgidmap must be set-user-ID/),
    );
  });

  it('a process that may gain no privileges', async () => {
    const other = users.newUser({ before: ['setpriv', '--no-new-privs'] });
    expect(await other.run(['gc'])).toEqual(refusal(/may gain no privileges \(no_new_privs\)/));
  });

  it('Node without the front', async () => {
    const gantry = join(ownProgram, '../..');
    const child = user.startProgram([
      join(gantry, 'bin/node'),
      join(gantry, 'dist/gantry.js'),
      'gc',
    ]);
    expect(await endingOf(child)).toEqual(refusal(/gc: cannot run as unprivileged user/));
  });

  it.each(['nspawn', 'kvm'])('the flavour %s', async (flavour) => {
    const ending = await user.run(['run', `--stage1-name=${flavour}`, IMAGE]);
    expect(ending).toEqual(refusal(/is for root only/));
  });

  it('a user of an app beyond the ids there are', async () => {
    const ending = await user.run(['run', IMAGE, '--user=70000', '--group=0']);
    expect(ending).toEqual(refusal(/app "probe": user 70000 is beyond your 65537 ids/));
  });

  it("users of a pod's own", async () => {
    const ending = await user.run(['run', '--private-users', IMAGE]);
    expect(ending).toEqual(refusal(/--private-users: .* all users are the user's own already/));
  });

  it('mounts that are to travel', async () => {
    const ending = await user.run([
      'run',
      '--volume=v,kind=host,source=/usr,propagation=slave',
      IMAGE,
      '--mount=volume=v,target=/v',
    ]);
    expect(ending).toEqual(
      refusal(/--volume v: propagation=slave: mounts travel through volumes of root's pods only/),
    );
  });
});

describe("nobody uses what is another user's", () => {
  it.each([
    ['list'],
    ['run', 'a'],
    ['stop', 'a'],
    ['enter', 'a', 'b'],
    ['run-prepared', 'a'],
    ['status', '--wait', 'a'],
    ['gc'],
  ])("%s of root in a user's data directory", async (...words) => {
    const ending = await runCommand({
      words: [ownProgram, `--dir=${user.dataDirectory}`, ...words],
    });
    expect(ending).toEqual(refusal(/the data directory .* belongs to another user/));
  });

  it.each([['list'], ['stop', 'a'], ['gc']])(
    '%s of a user in that of another',
    async (...words) => {
      const other = users.newUser();
      const open = join(users.directory, `open-${other.uid}`);
      mkdirSync(open);
      expect(await other.run([`--dir=${open}`, ...words])).toEqual(
        refusal(/the data directory .* belongs to another user/),
      );
    },
  );

  it.each([['list'], ['stop', 'a'], ['gc']])(
    '%s in a data directory that everybody can write to, such as /tmp',
    async (...words) => {
      const open = mkdtempSync(join(users.directory, 'open-'));
      chmodSync(open, 0o1777);
      expect(await runCommand({ words: [ownProgram, `--dir=${open}`, ...words] })).toEqual(
        refusal(/the data directory .* can be written to by everybody: chmod o-w it/),
      );
    },
  );

  it("and users do not see each other's pods and images", async () => {
    const other = users.newUser();
    const { uuid, ending } = await waitingPod(user, IMAGE, '--', 'sleep', '100');
    expect(await other.call('list', '--no-legend')).toBe('');
    expect(await other.call('image', 'list', '--no-legend')).toBe('');
    expect(await other.run(['stop', uuid])).toMatchObject({ code: 254 });
    await user.call('stop', '--force', uuid);
    await ending;
  });

  it('stage1s in directories of others below /tmp', async () => {
    const other = users.newUser();
    const stage1 = join(users.directory, `stage1-${other.uid}`);
    mkdirSync(stage1);
    writeFileSync(
      join(stage1, 'manifest.json'),
      JSON.stringify({ name: 'x', interfaceVersion: 1, entrypoints: { run: 'run', gc: 'run' } }),
    );
    writeFileSync(join(stage1, 'run'), '#!/bin/sh\n', { mode: 0o755 });
    const ending = await user.run(['run', `--stage1-path=${stage1}`, IMAGE]);
    expect(ending).toEqual(refusal(/belongs to another user: it is run as you/));
  });
});

describe('GANTRY_USER', () => {
  it("of root's environment changes nothing", async () => {
    const own = join(users.directory, 'root-data');
    mkdirSync(own);
    const environment = { GANTRY_USER: String(user.uid), HOME: user.home, XDG_DATA_HOME: own };
    const { stdout } = await runCommand({ words: [ownProgram, 'trust', '--policy'], environment });
    expect(stdout).not.toContain('example.com');
  });

  it("of a user's environment changes nothing", async () => {
    const { stdout } = await user.run(['run', IMAGE, '--', 'cat', '/proc/self/uid_map'], {
      GANTRY_USER: '0',
    });
    expect(stdout).toMatch(new RegExp(`^ *0 +${user.uid} +1\n`));
  });
});
