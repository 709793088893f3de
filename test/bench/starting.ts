import { randomUUID } from 'node:crypto';
import type { Installation } from '../support/installation.ts';
import type { Contender } from './contender.ts';
import { createContainerd } from './peers/containerd.ts';
import { createPodman, podmanRun } from './peers/podman.ts';
import { createRuncBundle } from './peers/runc.ts';

/** Removes the pods of the rounds so far: what podman's and ctr's `--rm` do within their time. */
function collectGarbage(gantry: Installation): Promise<unknown> {
  return gantry.call('gc', '--grace-period=0s');
}

/** `gantry run` of a cached, signed image in all namespaces. */
export function gantryRun(gantry: Installation, reference: string): Contender {
  return {
    name: 'gantry run',
    note: 'cached signed image, trust asked again; pid mount ipc uts net namespaces, overlay',
    programs: [],
    round: async () => [gantry.command('run', '--net=none', reference)],
    afterRound: async () => {
      await collectGarbage(gantry);
    },
  };
}

/** `gantry run-prepared`, the pod prepared outside of the measured time. */
export function gantryRunPrepared(gantry: Installation, reference: string): Contender {
  return {
    name: 'gantry run-prepared',
    note: 'prepared pod of the same image: no Node',
    programs: [],
    round: async () => {
      const uuid = await gantry.call('prepare', reference);
      return [gantry.command('run-prepared', uuid)];
    },
    afterRound: async () => {
      await collectGarbage(gantry);
    },
  };
}

export function podmanStart(directory: string, root: string): Contender {
  const podman = createPodman(directory, root);
  return {
    name: 'podman run',
    note: '--rm --network=none, runc, image in its store',
    programs: ['podman', 'runc', 'conmon'],
    setUp: podman.setUp,
    round: async () => [podman.command(...podmanRun, '--rm', 'small', '/bin/true')],
    tearDown: podman.tearDown,
  };
}

export function nspawnStart(root: string): Contender {
  return {
    name: 'systemd-nspawn',
    note: '-q --register=no --keep-unit --private-network, on the plain directory',
    programs: ['systemd-nspawn'],
    round: async () => {
      const flags = ['-q', '--register=no', '--keep-unit', '--private-network'];
      return [{ words: ['systemd-nspawn', ...flags, '-D', root, '/bin/true'] }];
    },
  };
}

export function runcStart(directory: string, root: string): Contender {
  const run = createRuncBundle(directory, root);
  return {
    name: 'runc run',
    note: 'OCI bundle with the same namespaces, mounts and capabilities; no image, no overlay',
    programs: ['runc'],
    round: async () => [run(`bench-${randomUUID()}`)],
  };
}

export function bubblewrapStart(root: string): Contender {
  return {
    name: 'bwrap',
    note: '--unshare-all on the plain directory: no image, supervisor, cgroup or overlay',
    programs: ['bwrap'],
    round: async () => {
      const mounts = ['--bind', root, '/', '--proc', '/proc', '--dev', '/dev'];
      return [{ words: ['bwrap', '--unshare-all', ...mounts, '/bin/true'] }];
    },
  };
}

export function containerdStart(directory: string, archive: () => Promise<string>): Contender {
  const containerd = createContainerd(directory, archive);
  let image = '';
  return {
    name: 'ctr run',
    note: '--rm, overlayfs snapshots, a containerd of its own already running',
    programs: ['containerd', 'ctr', 'runc', 'containerd-shim-runc-v2'],
    setUp: async () => {
      await containerd.setUp();
      image = await containerd.image();
    },
    round: async () => [
      containerd.command('run', '--rm', image, `bench-${randomUUID()}`, '/bin/true'),
    ],
    tearDown: containerd.tearDown,
  };
}
