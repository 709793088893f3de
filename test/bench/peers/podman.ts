import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Command } from '../../support/installation.ts';

const runFile = promisify(execFile);

/** Podman with a storage of its own, runc below it. */
export interface Podman {
  /** Imports the root it was given as the image `small`. */
  setUp(): Promise<void>;
  command(...words: readonly string[]): Command;
  call(...words: readonly string[]): Promise<string>;
  tearDown(): Promise<void>;
}

/**
 * The flags every `podman run` gets here: no network beyond loopback, as ours; and limits no higher
 * than a machine without systemd lets root raise them, or runc fails on setting them.
 */
export const podmanRun = [
  'run',
  '--network=none',
  '--ulimit=nofile=1024:1024',
  '--ulimit=nproc=1024:1024',
] as const;

/** @param root what the image `small` is made of; an empty store without one */
export function createPodman(directory: string, root?: string): Podman {
  const flags = [
    `--root=${join(directory, 'podman')}`,
    `--runroot=${join(directory, 'podman-run')}`,
    `--tmpdir=${join(directory, 'podman-tmp')}`,
    '--runtime=runc',
    // Without systemd as process 1 there is neither its cgroup manager nor its journal.
    '--cgroup-manager=cgroupfs',
    '--events-backend=none',
  ];
  const command = (...words: readonly string[]): Command => ({
    words: ['podman', ...flags, ...words],
  });
  const call = async (...words: readonly string[]): Promise<string> => {
    const { stdout } = await runFile('podman', [...flags, ...words]);
    return stdout.trim();
  };
  return {
    command,
    call,
    setUp: async () => {
      if (root === undefined) return;
      const archive = join(directory, 'podman.tar');
      await runFile('tar', ['-C', root, '-cf', archive, '.']);
      await call('import', '--quiet', archive, 'small');
    },
    tearDown: async () => {
      await call('rm', '--all', '--force', '--time=0');
      await call('rmi', '--all', '--force');
      await call('system', 'reset', '--force').catch(() => {
        // Only tidies what removing the directory would remove; older versions lack the command.
      });
    },
  };
}
