import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Command } from '../../support/installation.ts';

const runFile = promisify(execFile);

/** A containerd of our own, with its client. */
export interface Containerd {
  setUp(): Promise<void>;
  command(...words: readonly string[]): Command;
  call(...words: readonly string[]): Promise<string>;
  /** The name of the imported image. */
  image(): Promise<string>;
  tearDown(): Promise<void>;
}

/** Plugins that would touch the host (CNI, loop devices, kernel modules) or are not used. */
const UNUSED = [
  'grpc.v1.cri',
  ...['aufs', 'btrfs', 'devmapper', 'zfs'].map((s) => `snapshotter.v1.${s}`),
];

/** @param archive an OCI archive to begin with; an empty store without one */
export function createContainerd(parent: string, archive?: () => Promise<string>): Containerd {
  const directory = join(parent, 'containerd');
  const socket = join(directory, 'socket');
  let daemon: ChildProcess | undefined;
  const words = (...own: readonly string[]): [string, ...string[]] => [
    'ctr',
    '--address',
    socket,
    ...own,
  ];
  const call = async (...own: readonly string[]): Promise<string> => {
    const [program, ...args] = words(...own);
    return (await runFile(program, args)).stdout.trim();
  };
  return {
    command: (...own) => ({ words: words(...own) }),
    call,
    image: () => call('images', 'ls', '--quiet'),
    setUp: async () => {
      mkdirSync(directory);
      writeFileSync(join(directory, 'config.toml'), configuration(directory, socket));
      daemon = await startDaemon(directory, socket);
      if (archive !== undefined) await call('images', 'import', await archive());
    },
    tearDown: async () => {
      if (daemon === undefined) return;
      const ended = new Promise((resolve) => daemon?.once('exit', resolve));
      daemon.kill('SIGTERM');
      await ended;
    },
  };
}

function configuration(directory: string, socket: string): string {
  const disabled = UNUSED.map((plugin) => `"io.containerd.${plugin}"`).join(', ');
  return `version = 2
root = "${directory}/root"
state = "${directory}/state"
disabled_plugins = [${disabled}]
[grpc]
address = "${socket}"
`;
}

async function startDaemon(directory: string, socket: string): Promise<ChildProcess> {
  const log = join(directory, 'log');
  const output = openSync(log, 'w');
  const daemon = spawn('containerd', ['--config', join(directory, 'config.toml')], {
    stdio: ['ignore', output, output],
  });
  closeSync(output);
  for (let attempt = 0; !existsSync(socket); attempt++) {
    if (attempt > 100 || daemon.exitCode !== null) {
      throw new Error(`containerd does not start: ${readFileSync(log, 'utf8').slice(-500)}`);
    }
    await sleep(100);
  }
  return daemon;
}
