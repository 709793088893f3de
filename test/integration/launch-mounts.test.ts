import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LaunchPod, type PodPlan } from './launch/pods.ts';
import { setScene } from './launch/scene.ts';

const scene = setScene();

const pod = (plan: PodPlan) => new LaunchPod(plan, 'pod', scene.base);
const app = (...words: string[]) => pod({ apps: { web: { do: words } } });

describe('a hostile image', () => {
  it('cannot lead mounts and files out of its root by symbolic links', async () => {
    const made = app('cat', '/proc/self/status');
    for (const [name, target] of [
      ['dev', '/../../../../../tmp'],
      ['proc', scene.base],
      ['etc', '/proc/1/root/etc'],
    ] as const) {
      symlinkSync(target, join(made.image, name));
    }
    const { code } = await made.run();
    expect(code).toBe(254);
    expect(existsSync(join(scene.base, 'null'))).toBe(false);
    expect(lstatSync('/dev/null').isCharacterDevice()).toBe(true);
  });

  it('cannot name a file through init’s root', async () => {
    const made = pod({
      apps: { web: { do: [], steps: [['write-file', '/etc/hosts', '0644', 'x']] } },
    });
    symlinkSync('/proc/1/root', join(made.image, 'etc'));
    const { code, stderr } = await made.run();
    expect(code).toBe(254);
    expect(stderr).toContain('write-file /etc/hosts 0644: Too many levels of symbolic links');
  });

  it('cannot write to the launcher', async () => {
    const made = pod({ apps: { web: { do: ['open', '/proc/1/exe', 'open', '/launcher'] } } });
    const { stdout } = await made.run();
    expect(stdout).toMatch(/\/proc\/1\/exe: (Read-only file system|Text file busy)/);
  });

  it('gets a file where a dangling link was', async () => {
    const made = pod({
      apps: {
        web: {
          do: ['cat', '/etc/resolv.conf'],
          steps: [
            ['make-file', '/etc/resolv.conf', '0644'],
            ['write-file', '/etc/resolv.conf', '0644', 'nameserver 192.0.2.1\n'],
          ],
        },
      },
    });
    mkdirSync(join(made.image, 'etc'));
    symlinkSync('../run/systemd/resolve/stub-resolv.conf', join(made.image, 'etc/resolv.conf'));
    expect((await made.run()).stdout).toContain('nameserver 192.0.2.1');
  });
});

describe('mounts', () => {
  it('stay in the pod also where the host shares its own', async () => {
    const made = app('mount', '/tmp', 'bind', '/');
    mkdirSync(join(made.image, 'tmp'));
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8');
    const script = `
      mount --make-rshared / && mount -t tmpfs shared "$1/shared" && mount --make-shared "$1/shared"
      cp /proc/self/mountinfo "$1/before"
      cd "$1/pod" && exec 3< . && flock -x 3 && GANTRY_LOCK_FD=3 stage1/run test
      cmp /proc/self/mountinfo "$1/before"`;
    mkdirSync(join(scene.base, 'shared'));
    const { status, stderr } = spawnSync(
      'unshare',
      ['-m', '--propagation', 'private', 'sh', '-ec', script, 'sh', scene.base],
      { encoding: 'utf8' },
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).toBe(mounts);
  });

  it.each(['mask', 'read-only'])('are not led past what they %s by a link', async (word) => {
    const steps = [
      ['make-directory', '/there', '0755'],
      ['symlink', '/there', '/link'],
      [word, '/link/secret'],
    ];
    const { code, stderr } = await pod({ apps: { web: { do: [], steps } } }).run();
    expect(code).toBe(254);
    expect(stderr).toContain(`${word} /link/secret: Too many levels of symbolic links`);
  });

  it('mask and protect what the plan says', async () => {
    const made = pod({
      apps: {
        web: {
          do: [
            ...['cat', '/proc/kcore', 'stat', '/proc/acpi', 'open', '/proc/sys/kernel/hostname'],
            ...['open', '/word'],
          ],
          steps: [
            ['mask', '/proc/kcore'],
            ['mask', '/proc/acpi'],
            ['mask', '/proc/no-such'],
            ['read-only', '/proc/sys'],
            ['read-only', '/no/such'],
            ['write-file', '/word', '0666', 'word'],
            ['mount-attributes', '/', 'ro'],
          ],
        },
      },
    });
    const { stdout } = await made.run();
    expect(stdout).toContain('/proc/sys/kernel/hostname: Read-only file system');
    expect(stdout).toContain('/word: Read-only file system');
    expect(stdout).not.toContain('ELF');
  });

  it('come into several apps as one volume', async () => {
    const steps = (slot: string) => [
      ['make-directory', '/data', '0755'],
      ['move-tree', slot, '/data'],
    ];
    const made = pod({
      pod: [
        ['make-directory', '/volume', '0755'],
        ['mount', 'tmpfs', '/volume', 'tmpfs', 'nosuid,nodev'],
        ['write-file', '/volume/word', '0644', 'shared\n'],
        ['open-tree', '5', '/volume'],
        ['open-tree', '6', '/volume'],
        ['tree-attributes', '6', 'ro'],
      ],
      apps: {
        one: { do: ['cat', '/data/word'], steps: steps('5') },
        two: { do: ['cat', '/data/word', 'open', '/data/word'], steps: steps('6') },
      },
    });
    const { stdout } = await made.run();
    expect(stdout).toMatch(/one\[\d+\]: shared/);
    expect(stdout).toMatch(/two\[\d+\]: \/data\/word: Read-only file system/);
  });
});
