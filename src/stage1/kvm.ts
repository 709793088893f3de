import { spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type KvmSettings, loadKvm } from '../config/kvm.ts';
import { GantryError } from '../error.ts';
import { executableAt, findOnPath, requireRootsProgram } from './host-program.ts';
import { hasModule, modulesFor } from './kernel-modules.ts';
import { ENTRY_PATH } from './launch.ts';
import type { ProvisionRequest } from './provision.ts';
import type { HostPath, KvmProvision, Virtiofsd } from './settings.ts';
import { findVirtiofsd } from './virtiofsd.ts';

/** What a machine needs of its kernel beside what every kernel has. */
const DRIVERS = ['virtio_pci', 'virtio_console'];
/** And what its files come by. */
const VIRTIOFS = 'virtiofs';
const NINEP = ['9pnet_virtio', '9p'];
/** The first with every option the plan uses (`hpet=off` of a machine). */
const OLDEST_QEMU = [5, 2] as const;
/** Where programs and what they load lie: all that QEMU sees of the host. */
const PROGRAM_FOLDERS = [
  '/usr',
  '/bin',
  '/sbin',
  '/lib',
  '/lib32',
  '/lib64',
  '/libx32',
  '/nix',
  '/gnu',
];
/** Where the loader finds libraries in other than its own folders. */
const LIBRARY_CACHE = '/etc/ld.so.cache';

interface Architecture {
  /** As QEMU names it. */
  readonly name: string;
  readonly machine: string;
  /** The kernel's console on the machine's serial port. */
  readonly console: string;
}

const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  x64: {
    name: 'x86_64',
    machine: 'q35,usb=off,vmport=off,sata=off,smbus=off,hpet=off',
    console: 'ttyS0',
  },
  arm64: { name: 'aarch64', machine: 'virt,gic-version=max', console: 'ttyAMA0' },
};

/**
 * Finds everything a machine is made of: QEMU, the kernel with its modules, and whether the processor helps.
 * @throws GantryError `unsupported` naming what is missing or too old and what to do; `config`
 */
export function findKvm({ directories, warn }: ProvisionRequest): KvmProvision {
  const settings = loadKvm(directories);
  const architecture = ARCHITECTURES[process.arch];
  if (architecture === undefined) {
    throw new GantryError('unsupported', `stage1 kvm: there are no machines for ${process.arch}`);
  }
  const qemu = findQemu(architecture);
  const { kernel, modules } = findKernel(settings);
  const virtiofsd = chooseShare(settings, modules);
  const drivers = [...DRIVERS, ...(virtiofsd === undefined ? NINEP : [VIRTIOFS])];
  const acceleration = chooseAcceleration(settings, qemu, architecture);
  if (acceleration === 'tcg' && settings.acceleration === 'auto') {
    warn('KVM does not work on this host: the machine runs without it, slowly');
  }
  return {
    kind: 'kvm',
    qemu,
    machine: `${architecture.machine},accel=${acceleration}`,
    cpu: cpuModel(acceleration),
    acceleration,
    console: architecture.console,
    kernel,
    modules: modules === undefined ? [] : modulesFor(modules, drivers),
    memoryMiB: settings.memoryMiB,
    cpus: settings.cpus,
    programs: [...PROGRAM_FOLDERS, LIBRARY_CACHE].flatMap(hostPath),
    ...(virtiofsd === undefined ? {} : { virtiofsd }),
  };
}

/**
 * The virtiofsd to use; undefined for 9p. Of a kernel whose modules are not known it is not known either whether
 * it has virtio-fs.
 */
function chooseShare({ share }: KvmSettings, modules: string | undefined): Virtiofsd | undefined {
  const isThere = share === 'virtiofs' || (modules !== undefined && hasModule(modules, VIRTIOFS));
  const virtiofsd = share === '9p' || !isThere ? undefined : findVirtiofsd(PROGRAM_FOLDERS);
  if (share !== 'virtiofs' || virtiofsd !== undefined) return virtiofsd;
  throw new GantryError(
    'unsupported',
    'stage1 kvm: there is no virtiofsd, and kvm.d asks for it: install it (Debian: virtiofsd, up to 12 qemu-system-common), or choose "share": "auto"',
  );
}

/** The absolute path of a QEMU that is new enough. */
function findQemu({ name }: Architecture): string {
  const program = `qemu-system-${name}`;
  const install = `install it (Debian: qemu-system-${name === 'x86_64' ? 'x86' : 'arm'})`;
  const found =
    findOnPath(program, process.env['PATH'] ?? ENTRY_PATH) ?? executableAt('/usr/libexec/qemu-kvm');
  if (found === undefined) {
    throw new GantryError(
      'unsupported',
      `stage1 kvm needs ${program}, which is not on the PATH: ${install}, or choose another with --stage1-name`,
    );
  }
  requireRootsProgram('kvm', found);
  requireVersion(found, install);
  if (PROGRAM_FOLDERS.some((folder) => found.startsWith(`${folder}/`))) return found;
  throw new GantryError(
    'unsupported',
    `stage1 kvm: ${found} lies outside of ${PROGRAM_FOLDERS.join(' ')}, which is all a machine sees of the host`,
  );
}

function requireVersion(qemu: string, install: string): void {
  const { stdout } = spawnSync(qemu, ['--version'], {
    encoding: 'utf8',
    timeout: 10_000,
    env: { PATH: ENTRY_PATH },
  });
  const [, major, minor] = /version (\d+)\.(\d+)/.exec(stdout ?? '') ?? [];
  const oldest = OLDEST_QEMU.join('.');
  if (major === undefined) {
    throw new GantryError(
      'unsupported',
      `stage1 kvm: ${qemu} does not tell its version: ${install}`,
    );
  }
  const [wantedMajor, wantedMinor] = OLDEST_QEMU;
  const isOld =
    Number(major) < wantedMajor || (Number(major) === wantedMajor && Number(minor) < wantedMinor);
  if (!isOld) return;
  throw new GantryError(
    'unsupported',
    `stage1 kvm needs QEMU ${oldest} or later, and ${qemu} is ${major}.${minor}: install a later one, or choose another with --stage1-name`,
  );
}

/** The kernel the operator chose; else the one that runs here; else the newest in /boot. */
function findKernel({ kernel, modules }: KvmSettings): { kernel: string; modules?: string } {
  if (kernel !== undefined) {
    if (!existsSync(kernel)) {
      throw new GantryError(
        'unsupported',
        `stage1 kvm: there is no kernel ${kernel}, which kvm.d names: correct that, or install one`,
      );
    }
    return { kernel, ...(modules === undefined ? {} : { modules }) };
  }
  const versions = [release(), ...bootVersions()];
  for (const version of versions) {
    const folder = `/lib/modules/${version}`;
    const image = [`/boot/vmlinuz-${version}`, `${folder}/vmlinuz`].find((path) =>
      existsSync(path),
    );
    if (image !== undefined && existsSync(`${folder}/modules.dep`)) {
      return { kernel: realpathSync(image), modules: folder };
    }
  }
  throw new GantryError(
    'unsupported',
    `stage1 kvm needs a kernel, and there is neither /boot/vmlinuz-${release()} nor another with modules: install one (Debian: linux-image-${process.arch === 'x64' ? 'amd64' : 'arm64'}), or name one in kvm.d`,
  );
}

/** Newest first. */
function bootVersions(): string[] {
  if (!existsSync('/boot')) return [];
  const byNumber = new Intl.Collator('en', { numeric: true });
  return readdirSync('/boot')
    .flatMap((name) => (name.startsWith('vmlinuz-') ? [name.slice('vmlinuz-'.length)] : []))
    .sort((a, b) => byNumber.compare(b, a));
}

/**
 * The processor a machine has: under KVM the host's own, else all that QEMU can translate.
 */
function cpuModel(acceleration: 'kvm' | 'tcg'): string {
  return acceleration === 'kvm' ? 'host' : 'max';
}

function chooseAcceleration(
  settings: KvmSettings,
  qemu: string,
  architecture: Architecture,
): 'kvm' | 'tcg' {
  if (settings.acceleration === 'tcg') return 'tcg';
  if (existsSync('/dev/kvm') && kvmWorks(qemu, architecture)) return 'kvm';
  if (settings.acceleration === 'auto') return 'tcg';
  throw new GantryError(
    'unsupported',
    'stage1 kvm: KVM does not work on this host, and kvm.d asks for it: load its module, or choose "acceleration": "auto"',
  );
}

/**
 * Whether a processor runs under KVM. That the device is there, or even makes a machine, does not say so: nested in
 * another machine it may refuse the registers of the very processor. So a firmware of three instructions is
 * run on the machine a pod would get; it ends QEMU with an exit code that nothing else has.
 */
function kvmWorks(qemu: string, { name, machine }: Architecture): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'gantry-kvm-'));
  try {
    const firmware = join(folder, 'firmware');
    writeFileSync(firmware, probeFirmware());
    const board = ['-machine', `${machine},accel=kvm`, '-cpu', cpuModel('kvm'), '-m', '16'];
    const bare = ['-nodefaults', '-no-user-config', '-display', 'none'];
    const ending = ['-bios', firmware, '-device', 'isa-debug-exit,iobase=0xf4'];
    // Elsewhere there is no such device: there a machine that stands still has to do.
    const still = ['-S', '-monitor', 'stdio'];
    const { status } = spawnSync(
      qemu,
      [...board, ...bare, ...(name === 'x86_64' ? ending : still)],
      {
        timeout: 5000,
        killSignal: 'SIGKILL',
        env: { PATH: ENTRY_PATH },
        input: 'quit\n',
        stdio: ['pipe', 'ignore', 'ignore'],
      },
    );
    return status === (name === 'x86_64' ? PROBE_STATUS : 0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** isa-debug-exit makes 2n+1 of n. */
const PROBE_BYTE = 0x2a;
const PROBE_STATUS = 2 * PROBE_BYTE + 1;

/** At the reset vector, 16 bytes before the end: mov al, 0x2a; out 0xf4, al; hlt. */
function probeFirmware(): Buffer {
  const firmware = Buffer.alloc(0x10000, 0xf4);
  Buffer.from([0xb0, PROBE_BYTE, 0xe6, 0xf4, 0xf4]).copy(firmware, 0xfff0);
  return firmware;
}

function hostPath(path: string): HostPath[] {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats?.isSymbolicLink()) return [{ path, link: readlinkSync(path) }];
  if (stats?.isFile()) return [{ path, file: true }];
  return stats?.isDirectory() ? [{ path }] : [];
}
