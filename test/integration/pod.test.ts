import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { needs, root } from '../support/requirements.ts';
import { addImage, createWorld, leaks, requestOf, runPod, UNSIGNED } from './pod-world.ts';

beforeEach((context) => needs(context, root));

/** Runs the probe with these commands in a pod of its own, and checks that nothing is left of it. */
async function probe(
  commands: readonly string[],
  image: Parameters<typeof addImage>[1] = {},
  changes: Parameters<typeof requestOf>[2] = {},
) {
  const world = createWorld();
  const record = await addImage(world, image);
  const ending = await runPod(world, requestOf(record, commands, changes));
  expect(await leaks(world)).toEqual([]);
  return { ...ending, world, record };
}

describe('an app in a pod', () => {
  it('ends with its own exit code, and leaves nothing', async () => {
    expect(await probe(['exit', '7'])).toMatchObject({ code: 7, stderr: '' });
  });

  it('ends with 128 and the number of the signal that killed it', async () => {
    expect((await probe(['kill', '9'])).code).toBe(137);
  });

  it('has a host name of its own, which it finds in /etc', async () => {
    const { stdout } = await probe(['uname', 'cat', '/etc/hostname', 'cat', '/etc/hosts']);
    expect(stdout[0]).toMatch(/^uname gantry-[0-9a-f-]{36}$/);
    expect(stdout[0]).not.toContain(hostname());
    expect(stdout[1]).toBe(stdout[0]?.replace('uname ', ''));
    expect(stdout.join('\n')).toContain('127.0.0.1\tlocalhost');
  });

  it('keeps the files about names that its image brings', async () => {
    const files = { etc: { directory: true } as const, 'etc/hosts': 'mine\n' };
    const { stdout } = await probe(['cat', '/etc/hosts', 'link', '/etc/mtab'], { files });
    expect(stdout).toEqual(['mine', 'link /etc/mtab: ../proc/self/mounts']);
  });

  it('gets arguments, user, groups and working directory', async () => {
    const files = {
      etc: { directory: true } as const,
      'etc/passwd': 'web:x:33:33::/srv:/bin/false\n',
      'etc/group': 'staff:x:50:\n',
      srv: { directory: true } as const,
    };
    const app = {
      user: 'web',
      group: 'staff',
      supplementaryGIDs: [7],
      workingDirectory: '/srv',
      environment: [{ name: 'GREETING', value: 'a b' }],
    };
    const { stdout } = await probe(['id', 'pwd', 'env'], { files, app });
    expect(stdout.slice(0, 2)).toEqual(['id 33:50,7', 'pwd /srv']);
    expect(stdout).toEqual(
      expect.arrayContaining([
        'env GREETING=a b',
        'env USER=web',
        'env HOME=/srv',
        'env AC_APP_NAME=probe',
      ]),
    );
  });

  it('sees its own processes and no others', async () => {
    const { stdout } = await probe(['ls', '/proc']);
    const processes = stdout.filter((line) => /^ls \/proc: \d+$/.test(line));
    expect(processes).toHaveLength(2);
  });

  it('has loopback and no other interface, unless it is in the network of the host', async () => {
    const interfaces = readdirSync('/sys/class/net');
    const own = await probe(['ls', '/sys/class/net']);
    expect(own.stdout).toEqual(['ls /sys/class/net: lo']);
    const shared = await probe(['ls', '/sys/class/net'], {}, { network: 'host' });
    expect(shared.stdout).toHaveLength(interfaces.length);
  });

  it("reads the host's resolver configuration in the host's network, and cannot change it", async () => {
    const path = '/etc/resolv.conf';
    const shared = await probe(['cat', path, 'write', path], {}, { network: 'host' });
    expect(shared.stdout.at(-1)).toBe(`write ${path}: Read-only file system`);
    expect(shared.stdout.slice(0, -1).join('\n')).toBe(readFileSync(path, 'utf8').trimEnd());
    expect((await probe(['read', path])).stdout).toEqual([
      `read ${path}: No such file or directory`,
    ]);
  });
});

describe('what the kernel shows an app', () => {
  it('leaves out what belongs to the host', async () => {
    const { stdout } = await probe([
      'cat',
      '/proc/keys',
      'ls',
      '/sys/firmware',
      'write',
      '/proc/sys/kernel/core_pattern',
      'write',
      '/sys/kernel/uevent_helper',
    ]);
    expect(stdout).toEqual([
      'write /proc/sys/kernel/core_pattern: Read-only file system',
      'write /sys/kernel/uevent_helper: Read-only file system',
    ]);
  });

  it('is all there with --insecure-options=paths', async () => {
    const { stdout } = await probe(
      ['read', '/proc/sys/kernel/core_pattern', 'ls', '/sys/module'],
      {},
      { insecure: { ...UNSIGNED, paths: true } },
    );
    expect(stdout.length).toBeGreaterThan(1);
  });

  it('holds the usual devices and lets no other be opened', async () => {
    const { stdout } = await probe([
      'write',
      '/dev/null',
      'read',
      '/dev/zero',
      'read',
      '/dev/urandom',
      'read',
      '/dev/ptmx',
      'node',
      '/own',
      'node',
      '/dev/own',
      'node',
      '/dev/shm/own',
    ]);
    expect(stdout).toEqual([
      'write /dev/null: ok',
      'read /dev/zero: ok',
      'read /dev/urandom: ok',
      'read /dev/ptmx: ok',
      'node /own: Permission denied',
      'node /dev/own: Permission denied',
      'node /dev/shm/own: Permission denied',
    ]);
  });

  it('grants the default capabilities, or those retained, or all', async () => {
    const capabilities = async (app: object, insecure = UNSIGNED) => {
      const { stdout } = await probe(
        ['cat', '/proc/self/status'],
        { app: { ...app } },
        { insecure },
      );
      const word = (name: string) => stdout.find((l) => l.startsWith(name))?.split('\t')[1];
      return [word('CapEff'), word('CapBnd'), word('CapInh'), word('CapAmb'), word('NoNewPrivs')];
    };
    const none = '0000000000000000';
    const standard = '00000000a80425fb';
    expect(await capabilities({})).toEqual([standard, standard, none, none, '0']);
    const set = { name: 'os/linux/capabilities-retain-set', value: { set: ['CAP_KILL'] } };
    const quiet = { name: 'os/linux/no-new-privileges', value: true };
    const kill = '0000000000000020';
    expect(await capabilities({ isolators: [set, quiet] })).toEqual([kill, kill, none, none, '1']);
    expect(await capabilities({ user: '33' })).toEqual([none, standard, none, none, '0']);
    const [all] = await capabilities({}, { ...UNSIGNED, capabilities: true });
    expect(Number.parseInt(all ?? '0', 16)).toBeGreaterThan(2 ** 39);
  });
});

describe('init', () => {
  // One that may trace it would otherwise have them all.
  it.each([{}, { privateUsers: true }])('keeps less than its apps may have (%o)', async (users) => {
    const { stdout } = await probe(['cat', '/proc/1/status'], {}, users);
    const kill = '0000000000000020';
    const none = '0000000000000000';
    expect(stdout.filter((line) => line.startsWith('Cap'))).toEqual([
      `CapInh:\t${none}`,
      `CapPrm:\t${kill}`,
      `CapEff:\t${kill}`,
      `CapBnd:\t${kill}`,
      `CapAmb:\t${none}`,
    ]);
  });
});

describe('user namespaces, in which an app would have every capability', () => {
  const refused = [
    'unshare: Operation not permitted',
    'clone: Operation not permitted',
    'clone3: Function not implemented',
  ];
  const allowed = ['unshare: ok', 'clone: ok', 'clone3: Invalid argument'];

  it('cannot be made, also not by another user than root', async () => {
    expect((await probe(['user-namespaces'])).stdout).toEqual(refused);
    const other = await probe(['user-namespaces'], { app: { user: '33' } });
    expect(other.stdout).toEqual(refused);
  });

  it('can be made with CAP_SYS_ADMIN, which is as much, or without the filter', async () => {
    const set = { name: 'os/linux/capabilities-retain-set', value: { set: ['CAP_SYS_ADMIN'] } };
    const admin = await probe(['user-namespaces'], { app: { isolators: [set] } });
    expect(admin.stdout).toEqual(allowed);
    const insecure = { ...UNSIGNED, seccomp: true };
    expect((await probe(['user-namespaces'], {}, { insecure })).stdout).toEqual(allowed);
  });
});

describe('the root file system of an app', () => {
  it.each([true, false])(
    'takes changes that the image does not see (overlay: %s)',
    async (overlay) => {
      const files = { data: 'data', 'bin/tool': { mode: 0o4755, uid: 5, gid: 6 } };
      const commands = ['write', '/new', 'unlink', '/data', 'stat', '/bin/tool', 'stat', '/'];
      const { stdout, world, record } = await probe(commands, { files }, { overlay });
      expect(stdout).toEqual([
        'write /new: ok',
        'unlink /data: ok',
        'stat /bin/tool: 104755 5:6',
        'stat /: 40755 0:0',
      ]);
      expect(readdirSync(world.store.layout.layer(record.id)).sort()).toEqual(['bin', 'data']);
    },
  );

  it('can be read-only', async () => {
    const world = createWorld();
    const record = await addImage(world);
    const app = { record, args: ['write', '/new', 'write', '/dev/shm/x'], readOnlyRootfs: true };
    const { stdout } = await runPod(world, requestOf(record, [], { apps: [app] }));
    expect(stdout).toEqual(['write /new: Read-only file system', 'write /dev/shm/x: ok']);
    expect(await leaks(world)).toEqual([]);
  });

  it('gets an empty volume for each mount point, with its owner and mode', async () => {
    const files = {
      work: { directory: true, mode: 0o2770, uid: 33, gid: 44 } as const,
      'work/hidden': 'x',
    };
    const mountPoints = [
      { name: 'work', path: '/work' },
      { name: 'more', path: '/a/b', readOnly: true },
    ];
    const commands = [
      'stat',
      '/work',
      'ls',
      '/work',
      'write',
      '/work/x',
      'write',
      '/a/b/x',
      'node',
      '/work/n',
    ];
    const { stdout, stderr } = await probe(commands, { files, app: { mountPoints } });
    expect(stdout).toEqual([
      'stat /work: 42770 33:44',
      'write /work/x: ok',
      'write /a/b/x: Read-only file system',
      'node /work/n: Permission denied',
    ]);
    expect(stderr).toBe('app "probe": volume work hides what the image has at /work\n');
  });

  it('keeps symbolic links of a hostile image inside', async () => {
    const world = createWorld();
    const app = { mountPoints: [{ name: 'work', path: '/work/deep' }] };
    const record = await addImage(world, { app });
    const layer = world.store.layout.layer(record.id);
    const outside = mkdtempSync(join(tmpdir(), 'gantry-outside-'));
    onTestFinished(() => rmSync(outside, { recursive: true }));
    // The store refuses links that climb out; here they are, should one ever get past it.
    for (const name of ['etc', 'work']) {
      mkdirSync(join(layer, outside, name), { recursive: true });
      symlinkSync(`../../../../..${outside}/${name}`, join(layer, name));
    }
    const { stdout, code } = await runPod(world, requestOf(record, ['echo', 'alive']));
    expect({ stdout, code }).toEqual({ stdout: ['alive'], code: 0 });
    expect(readdirSync(outside)).toEqual([]);
    expect(await leaks(world)).toEqual([]);
  });
});

// Laid right, such a link would lead away from the mount once that is there: masks would find nothing to
// mask, and /proc would be there by another name, all of it writable.
describe('an image whose own /proc, /sys or /dev is a link', () => {
  it.each(['proc', 'sys', 'dev'])('is refused (%s)', async (name) => {
    const files = { real: { directory: true }, 'real/l': { link: '/real' } } as const;
    const all = { files: { ...files, [name]: { link: '/real/l' } } };
    const { stderr, code } = await probe(['write', '/real/sys/kernel/core_pattern'], all);
    expect(stderr).toContain(`the image has no directory at /${name}, but something else`);
    expect(code).toBe(254);
  });
});

describe('a pod of several apps', () => {
  it('shares volumes, /dev/shm and processes, and ends with the failing code', async () => {
    const world = createWorld();
    const app = { mountPoints: [{ name: 'work', path: '/work' }] };
    const record = await addImage(world, { app });
    const apps = [
      {
        record,
        name: 'one',
        args: ['write', '/work/one', 'write', '/dev/shm/one', 'sleep', '1', 'exit', '3'],
      },
      { record, name: 'two', args: ['sleep', '0', 'ls', '/', 'sleep', '30'] },
    ];
    const { code } = await runPod(world, requestOf(record, [], { apps }));
    expect(code).toBe(3);
    const [uuid = ''] = readdirSync(join(world.dataDir, 'pods/run'));
    const pod = join(world.dataDir, 'pods/run', uuid);
    expect(readdirSync(join(pod, 'volumes/work'))).toEqual(['one']);
    expect(readFileSync(join(pod, 'apps/one/state'), 'utf8')).toContain('exit=3');
    expect(await leaks(world)).toEqual([]);
  });
});
