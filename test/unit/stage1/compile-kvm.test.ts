import { describe, expect, it } from 'vitest';
import { compilePlan } from '../../../src/stage1/compile.ts';
import type { AppSettings, KvmProvision, PodSettings } from '../../../src/stage1/settings.ts';

const web: AppSettings = {
  name: 'web',
  rootfs: { kind: 'overlay', lowers: ['../../../layers/sha512-1'] },
  readOnlyRootfs: false,
  exec: ['/bin/web', 'web'],
  credentials: { uid: 33, gid: 44, gids: [], name: 'web', home: '/', shell: '/bin/sh' },
  capabilities: ['CAP_CHOWN'],
  noNewPrivileges: false,
  userNamespaces: false,
  environment: [['PATH', '/bin']],
  workingDirectory: '/',
  mounts: [{ volume: 'data', path: '/data', readOnly: false }],
  missing: [],
};

const provision: KvmProvision = {
  kind: 'kvm',
  qemu: '/usr/bin/qemu-system-x86_64',
  machine: 'q35,accel=tcg',
  cpu: 'max',
  acceleration: 'tcg',
  console: 'ttyS0',
  kernel: '/boot/vmlinuz-1',
  modules: ['/lib/modules/1/b.ko', '/lib/modules/1/a.ko.xz'],
  memoryMiB: 300,
  cpus: 2,
  programs: [{ path: '/usr' }, { path: '/lib', link: 'usr/lib' }],
};

function plan(changes: Partial<PodSettings> = {}, machine: Partial<KvmProvision> = {}) {
  const compiled = compilePlan({
    uuid: '5bc080ca-7a7a-4d1c-9a2b-0123456789ab',
    plan: 'kvm',
    provision: { ...provision, ...machine },
    hostname: 'pod',
    network: 'none',
    hostResolver: false,
    interactive: false,
    graceSeconds: 10,
    openPaths: false,
    apps: [web],
    volumes: ['data'],
    ...changes,
  });
  const lines = (steps: readonly (readonly string[])[] = []) => steps.map((step) => step.join(' '));
  return { outside: lines(compiled.outside), pod: lines(compiled.pod), apps: compiled.apps };
}

describe('the plan of a pod in a machine', () => {
  it('puts roots and volumes together on the host, in what QEMU shares', () => {
    const { outside } = plan();
    expect(outside.find((line) => line.startsWith('mount overlay'))).toMatch(
      /^mount overlay root\/share\/apps\/web overlay nodev lowerdir=\.\.\/\.\.\/\.\.\/layers\/sha512-1 /,
    );
    expect(outside).toContain('mount volumes/data root/share/volumes/data - bind,nodev');
    expect(outside.at(-1)).toContain(
      '-fsdev local,id=share,path=/share,security_model=passthrough,multidevs=remap',
    );
  });

  it('shares a volume of the host read-only that no app may write to', () => {
    const volume = {
      name: 'data',
      source: '/srv',
      directory: true,
      readOnly: false,
      recursive: true,
      propagation: 'private',
      devices: false,
    } as const;
    const shared = (readOnly: boolean, flags: string) => {
      const apps = [{ ...web, mounts: [{ volume: 'data', path: '/data', readOnly }] }];
      const { outside } = plan({ apps, volumes: [], hostVolumes: [volume] });
      expect(outside).toContain(`mount /srv root/share/volumes/data - ${flags}`);
    };
    shared(false, 'bind,rec,nodev');
    shared(true, 'bind,rec,nodev,ro');
  });

  it('shows QEMU nothing of the host but programs, read-only, and gives up capabilities last', () => {
    const { outside } = plan();
    expect(
      outside.filter((line) => line.startsWith('mount /')).map((line) => line.split(' ')[1]),
    ).toEqual(['/usr', '/dev/null', '/dev/urandom', '/boot/vmlinuz-1']);
    expect(outside).toContain('mount /usr root/usr - bind,rec,ro,nosuid,nodev');
    expect(outside).toContain('symlink usr/lib root/lib');
    expect(outside.slice(-5, -1)).toEqual([
      'mount-attributes root ro',
      'pivot-root root',
      'no-new-privileges',
      'keep-caps chown dac_override fowner fsetid mknod',
    ]);
    expect(plan({}, { acceleration: 'kvm' }).outside).toContain(
      'mount /dev/kvm root/dev/kvm - bind,nosuid,noexec',
    );
  });

  it('has the files served by virtiofsd where there is one, and leaves QEMU no capability', () => {
    const virtiofsd = { path: '/usr/lib/qemu/virtiofsd', kind: 'qemu' } as const;
    const { outside, pod } = plan({}, { virtiofsd });
    expect(outside.slice(-7, -1)).toEqual([
      'pivot-root root',
      'no-new-privileges',
      'keep-caps chown dac_override fowner fsetid mknod setuid setgid setfcap setpcap sys_admin sys_resource',
      'caps-of-every-user',
      'spawn /usr/lib/qemu/virtiofsd virtiofsd --fd=3 -f -o source=/share,sandbox=namespace,cache=auto,announce_submounts,xattr,killpriv_v2,log_level=err',
      'keep-caps',
    ]);
    const qemu = outside.at(-1);
    expect(qemu).toContain(' -machine q35,accel=tcg,memory-backend=memory ');
    expect(qemu).toContain(' -object memory-backend-memfd,id=memory,size=300M,share=on ');
    expect(qemu).toMatch(
      / -chardev socket,id=share,fd=5 -device vhost-user-fs-pci,chardev=share,tag=share$/,
    );
    expect(outside.join('\n')).not.toMatch(/fsdev|proc proc/);
    expect(pod).toContain('mount share share virtiofs nodev');
    expect(pod).toContain('mount share/apps/web/. root/apps/web - bind,nodev');
    expect(pod.join('\n')).not.toContain('9p');

    const rust = plan({}, { virtiofsd: { path: '/usr/libexec/virtiofsd', kind: 'rust' } }).outside;
    expect(rust.at(-3)).toBe(
      'spawn /usr/libexec/virtiofsd virtiofsd --fd=3 --shared-dir=/share --sandbox=namespace --cache=auto --announce-submounts --inode-file-handles=never --xattr --killpriv-v2 --log-level=error',
    );
    expect(rust).not.toContain('caps-of-every-user');
    expect(rust).toContain('symlink /processes/self root/proc/self');
  });

  it('keeps a volume that every app only reads from the machine too', () => {
    const [mount] = web.mounts;
    const reader = { ...web, mounts: mount === undefined ? [] : [{ ...mount, readOnly: true }] };
    const line = 'mount-attributes root/share/volumes/data ro';
    expect(plan({ apps: [reader] }).outside).toContain(line);
    expect(plan({ apps: [reader, { ...web, name: 'writer' }] }).outside).not.toContain(line);
  });

  it('loads modules in order, and gives the machine what was decided', () => {
    const { outside } = plan();
    const initrd = outside.find((line) => line.startsWith('initrd '));
    expect(initrd).toMatch(/machine\/modules\/000-b\.ko \/lib\/modules\/1\/b\.ko /);
    expect(initrd).toMatch(/machine\/modules\/001-a\.ko\.xz \/lib\/modules\/1\/a\.ko\.xz$/);
    expect(outside.at(-1)).toContain(' -machine q35,accel=tcg -cpu max -smp 2 -m 300M ');
  });

  it('has inside what the native flavour has, on what is shared', () => {
    const { pod, apps } = plan({ interactive: true });
    expect(pod[0]).toBe('private-mounts');
    expect(pod).toContain('mount share/apps/web/. root/apps/web - bind,nodev');
    expect(pod.at(-1)).toBe('open-terminal /dev/pts/ptmx');
    const native = compilePlan({
      uuid: '5bc080ca-7a7a-4d1c-9a2b-0123456789ab',
      hostname: 'pod',
      network: 'none',
      hostResolver: false,
      interactive: true,
      graceSeconds: 10,
      openPaths: false,
      apps: [web],
      volumes: ['data'],
    });
    expect(apps).toEqual(native.apps);
  });

  it("is refused in the host's network, and without a machine", () => {
    expect(() => plan({ network: 'host' })).toThrow(/cannot be in the network of the host/);
    expect(() => plan({ provision: { kind: 'nspawn', program: '', cgroups: '' } })).toThrow(
      /no machine was found/,
    );
  });
});
