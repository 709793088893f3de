import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { TestContext } from 'vitest';

/** Something of the host that a test may need: what it is called, and whether it is there. */
export interface Requirement {
  readonly what: string;
  readonly met: boolean;
}

/** Being the superuser: mounts, device nodes, other owners. */
export const root: Requirement = { what: 'root', met: process.getuid?.() === 0 };

/** What `.ci/tools` built; these versions are what the tests are written for. */
const tools = join(import.meta.dirname, '../../dist/tools');

/** A program that `.ci/tools` built, or that is on the PATH. */
export function program(name: string): Requirement {
  return { what: `the program ${name}`, met: findProgram(name) !== undefined };
}

/** The kernel that `.ci/tools` unpacked for pods in a machine, and its modules. */
export const machineKernel = {
  kernel: join(tools, 'kernel/vmlinux'),
  modules: join(tools, 'kernel/modules'),
};

/** QEMU, and a kernel to start. */
export const machines: Requirement = {
  what: 'qemu-system-x86_64 and the kernel of .ci/tools',
  met: findProgram('qemu-system-x86_64') !== undefined && existsSync(machineKernel.kernel),
};

/** What serves machines their files by virtio-fs, on the host and in that kernel. */
export const virtiofs: Requirement = {
  what: 'virtiofsd of Debian and a kernel with virtiofs',
  met:
    ['/usr/lib/qemu/virtiofsd', '/usr/libexec/virtiofsd'].some(isExecutable) &&
    existsSync(join(machineKernel.modules, 'kernel/fs/fuse/virtiofs.ko')),
};

/** Skips the test, saying why, unless everything named is there. For use in a test or in `beforeEach`. */
export function needs(context: TestContext, ...requirements: readonly Requirement[]): void {
  const missing = requirements.filter(({ met }) => !met).map(({ what }) => what);
  if (missing.length > 0) context.skip(`needs ${missing.join(' and ')}`);
}

/** The absolute path of a program that `.ci/tools` built or that is on the PATH, or undefined. */
export function findProgram(name: string): string | undefined {
  const path = (process.env['PATH'] ?? '').split(delimiter);
  const folders = [tools, ...path, '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
