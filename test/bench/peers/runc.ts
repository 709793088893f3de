import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from '../../support/installation.ts';

/** The kernel files that a container shall not see, or not write: what `runc spec` proposes. */
const MASKED = [
  ...['acpi', 'asound', 'kcore', 'keys', 'latency_stats', 'timer_list', 'timer_stats'],
  ...['sched_debug', 'scsi'],
].map((name) => `/proc/${name}`);
const READ_ONLY = ['bus', 'fs', 'irq', 'sys', 'sysrq-trigger'].map((name) => `/proc/${name}`);

/** Docker's capability set, which is rkt's and ours. */
const CAPABILITIES = [
  ...['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'SETGID', 'SETUID', 'SETPCAP'],
  ...['NET_BIND_SERVICE', 'NET_RAW', 'SYS_CHROOT', 'MKNOD', 'AUDIT_WRITE', 'SETFCAP'],
].map((name) => `CAP_${name}`);

/**
 * Writes an OCI bundle for `/bin/true` in `root` with the namespaces, mounts, masked paths and
 * capabilities our pods have, and answers how to run it.
 */
export function createRuncBundle(parent: string, root: string): (name: string) => Command {
  const bundle = join(parent, 'bundle');
  mkdirSync(bundle);
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(configuration(root)));
  const state = join(parent, 'runc');
  return (name) => ({ words: ['runc', '--root', state, 'run', '--bundle', bundle, name] });
}

function configuration(root: string): object {
  const capabilities = { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES };
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: ['/bin/true'],
      env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      cwd: '/',
      capabilities,
    },
    root: { path: root },
    hostname: 'bench',
    mounts: [
      mount('/proc', 'proc', []),
      mount('/dev', 'tmpfs', ['nosuid', 'mode=755']),
      mount('/dev/pts', 'devpts', ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666']),
      mount('/dev/shm', 'tmpfs', ['nosuid', 'noexec', 'nodev', 'mode=1777']),
      mount('/sys', 'sysfs', ['nosuid', 'noexec', 'nodev', 'ro']),
    ],
    linux: {
      namespaces: ['pid', 'network', 'ipc', 'uts', 'mount'].map((type) => ({ type })),
      maskedPaths: [...MASKED, '/sys/firmware'],
      readonlyPaths: READ_ONLY,
    },
  };
}

function mount(destination: string, type: string, options: readonly string[]): object {
  return { destination, type, source: type, options };
}
