import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { executableAt, requireRootsProgram } from './host-program.ts';
import { ENTRY_PATH } from './launch.ts';
import type { Virtiofsd } from './settings.ts';

/** Where a vhost-user program says what it is (QEMU's docs/interop/vhost-user.json); the first counts. */
const DESCRIPTIONS = ['/etc/qemu/vhost-user', '/usr/share/qemu/vhost-user'];
/** Where distributions have it: virtiofsd's own package, QEMU's up to 7.2. */
const PROGRAMS = [
  '/usr/libexec/virtiofsd',
  '/usr/lib/virtiofsd',
  '/usr/lib/qemu/virtiofsd',
  '/usr/libexec/qemu/virtiofsd',
];

/**
 * A program of the host that serves a directory by virtio-fs, of a kind whose options are known; undefined
 * where there is none.
 * @param folders that it must lie in
 * @throws GantryError `unsupported` where others than root could put another in its place
 */
export function findVirtiofsd(
  folders: readonly string[],
  descriptions: readonly string[] = DESCRIPTIONS,
  programs: readonly string[] = PROGRAMS,
): Virtiofsd | undefined {
  for (const candidate of [...descriptions.flatMap(describedPrograms), ...programs]) {
    const path = executableAt(candidate);
    if (path === undefined || !folders.some((folder) => path.startsWith(`${folder}/`))) continue;
    requireRootsProgram('kvm', path);
    const kind = kindOf(path);
    if (kind !== undefined) return { path, kind };
  }
  return undefined;
}

/** The programs for file systems that a folder describes, in the order of its files' names. */
function describedPrograms(folder: string): string[] {
  return listing(folder)
    .filter((name) => name.endsWith('.json'))
    .sort()
    .flatMap((name) => {
      const description = readDescription(join(folder, name));
      const { type, binary } = description;
      return type === 'fs' && typeof binary === 'string' && binary.startsWith('/') ? [binary] : [];
    });
}

function listing(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Nothing of it where it cannot be read: it is another package's file, and there may be others. */
function readDescription(file: string): Readonly<Record<string, unknown>> {
  try {
    const parsed: unknown = JSON.parse(readFileSync(file, 'utf8'));
    return typeof parsed === 'object' && parsed !== null ? { ...parsed } : {};
  } catch {
    return {};
  }
}

/** QEMU's own, in C, says a version of QEMU's and where that is from; the one in Rust only its own. */
function kindOf(program: string): Virtiofsd['kind'] | undefined {
  const { stdout } = spawnSync(program, ['--version'], {
    encoding: 'utf8',
    timeout: 10_000,
    env: { PATH: ENTRY_PATH },
  });
  if (/^virtiofsd version [5-7]\.\d.*\n.*QEMU/.test(stdout ?? '')) return 'qemu';
  return /^virtiofsd(-backend)? [1-9]\d*\.\d+/.test(stdout ?? '') ? 'rust' : undefined;
}
