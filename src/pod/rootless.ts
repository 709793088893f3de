import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { release } from 'node:os';
import { dirname } from 'node:path';
import { GantryError } from '../error.ts';
import { type HostMount, parseMountInfo } from '../isolation/mount-info.ts';
import type { Flavour } from '../stage1/flavour.ts';
import type { PodRequest, PrepareContext } from './request.ts';

/** File systems that overlayfs cannot write to (statfs(2)): overlayfs, NFS, FUSE, eCryptfs, 9p, CIFS. */
const NO_UPPER: ReadonlySet<number> = new Set([
  0x794c7630, 0x6969, 0x65735546, 0xf15f, 0x01021997, 0xff534d42, 0xfe534d42,
]);

/** It has `user.` attributes since Linux 6.6. */
const TMPFS = 0x01021994;

/** Below which mounts hide nothing: the kernel has those directories for that, and nothing else in them. */
const EMPTY = /^\/(?:proc\/sys\/fs\/binfmt_misc|proc\/fs\/nfsd|sys\/(?:fs|kernel|firmware\/efi)\/)/;

/**
 * What of a request an ordinary user can have on this host: where overlayfs keeps no notes in a user namespace,
 * or not on this file system, the images are copied, and the operator is told.
 * @throws GantryError `unsupported` for what only root can have, and where the pod could have no /proc
 */
export function rootlessRequest(
  { dataDir, report }: PrepareContext,
  request: PodRequest,
  { features }: Pick<Flavour, 'features'>,
): PodRequest {
  requirePossible(request, features);
  if (features.has('private-processes')) {
    requireVisible(parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8')), request);
  }
  const why = request.overlay ? withoutOverlay(release(), fileSystemOf(dataDir)) : undefined;
  if (why === undefined) return request;
  report.warn(`${why}: the images are copied, as with --no-overlay`);
  return { ...request, overlay: false };
}

/** @throws GantryError `unsupported` for what a pod cannot have without root, naming the option */
export function requirePossible(
  { privateUsers, ipc }: Pick<PodRequest, 'privateUsers' | 'ipc'>,
  features: Flavour['features'],
): void {
  if (privateUsers === true) {
    throw new GantryError(
      'unsupported',
      "--private-users: of an ordinary user's pods all users are the user's own already: leave it out",
    );
  }
  // Whose queues are the host's, root mounts.
  if (ipc === 'parent' && features.has('private-ipc')) {
    throw new GantryError(
      'unsupported',
      "--ipc=parent: only root's pods have the POSIX queues of the host: leave it out",
    );
  }
}

/** The type of the file system that `path` lies on, or will. */
function fileSystemOf(path: string): number {
  let there = path;
  while (!existsSync(there)) there = dirname(there);
  return statfsSync(there).type;
}

/** Why overlayfs cannot be had: `version` is the kernel's, `type` the file system's. Undefined where it can. */
export function withoutOverlay(version: string, type: number): string | undefined {
  const [major = 0, minor = 0] = version.split(/[.-]/).map(Number);
  if (type === TMPFS && (major < 6 || (major === 6 && minor < 6))) {
    return `tmpfs of Linux ${version} has no place for what overlayfs notes without root`;
  }
  return NO_UPPER.has(type)
    ? 'overlayfs cannot write to the file system of the data directory'
    : undefined;
}

/**
 * The kernel gives a namespace a /proc and /sys of its own only where it sees all of those there are
 * (mount_namespaces(7), Restrictions), which containers take care that it does not.
 * @throws GantryError `unsupported` naming what is hidden
 */
export function requireVisible(
  mounts: readonly Pick<HostMount, 'point' | 'readOnly'>[],
  { network }: Pick<PodRequest, 'network'>,
): void {
  // With the network of the host, /sys is the host's too.
  const needed = network === 'host' ? ['/proc'] : ['/proc', '/sys'];
  for (const path of needed) {
    const over = mounts.find(({ point }) => point.startsWith(`${path}/`) && !EMPTY.test(point));
    const closed = mounts.find(({ point, readOnly }) => point === path && readOnly);
    const hidden = over ?? closed;
    if (hidden === undefined) continue;
    throw new GantryError(
      'unsupported',
      `cannot run as unprivileged user: ${hidden.point} is ${over === undefined ? 'read-only' : 'mounted over'} here, so that a pod can have no ${path} of its own: run Gantry outside of this container, or let that show all of ${path}`,
    );
  }
}
