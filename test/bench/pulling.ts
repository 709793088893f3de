import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, type Installation, runCommand } from '../support/installation.ts';
import type { TestRegistry } from '../support/registry.ts';
import type { Contender } from './contender.ts';
import { createContainerd } from './peers/containerd.ts';
import { createPodman } from './peers/podman.ts';

/** A tool that pulls from the registry into a store of its own, unpacking what it pulls. */
export interface Puller {
  readonly name: string;
  readonly note: string;
  readonly programs: readonly string[];
  setUp(): Promise<void>;
  pull(reference: string): Command;
  /** Removes an image and what only it needs. */
  remove(reference: string): Promise<void>;
  tearDown(): Promise<void>;
}

const environment = { NO_PROXY: '127.0.0.1' };

export function gantryPuller(gantry: Installation, registry: TestRegistry): Puller {
  // Only the registry's authority, as the others are given it; this machine's own would be read as well.
  const trusting = {
    ...environment,
    SSL_CERT_FILE: registry.ca,
    SSL_CERT_DIR: '',
    NODE_EXTRA_CA_CERTS: '',
  };
  return {
    name: 'gantry fetch',
    note: "docker:// over HTTPS, cosign's signature, digests and diff ids, unpacked and synced",
    programs: [],
    setUp: async () => {},
    pull: (reference) => ({
      ...gantry.command('fetch', `docker://${reference}`),
      environment: trusting,
    }),
    remove: async (reference) => {
      await gantry.call('image rm', reference);
    },
    tearDown: async () => {},
  };
}

/** Podman checks digests and no signature here; it syncs nothing. */
export function podmanPuller(directory: string, registry: TestRegistry): Puller {
  const podman = createPodman(directory);
  const certificates = `--cert-dir=${registry.certificates}`;
  return {
    name: 'podman pull',
    note: 'the same image over HTTPS into overlay storage; no signature, no sync',
    programs: ['podman', 'runc', 'conmon'],
    setUp: podman.setUp,
    pull: (reference) => ({
      ...podman.command('pull', '--quiet', certificates, `docker://${reference}`),
      environment,
    }),
    remove: async (reference) => {
      await podman.call('rmi', reference);
    },
    tearDown: podman.tearDown,
  };
}

/** containerd's daemon runs already; `ctr` unpacks into its overlayfs snapshots. */
export function containerdPuller(directory: string, registry: TestRegistry): Puller {
  const containerd = createContainerd(directory);
  const hosts = join(directory, 'hosts');
  return {
    name: 'ctr image pull',
    note: 'the same image over HTTPS into overlayfs snapshots, daemon running already; no signature',
    programs: ['containerd', 'ctr'],
    setUp: async () => {
      // containerd, docs/hosts.md: a folder for each registry.
      const host = `127.0.0.1:${registry.port}`;
      const settings = `[host."https://${host}"]\nca = "${registry.ca}"\n`;
      mkdirSync(join(hosts, host), { recursive: true });
      writeFileSync(join(hosts, host, 'hosts.toml'), settings);
      await containerd.setUp();
    },
    pull: (reference) => ({
      ...containerd.command('images', 'pull', `--hosts-dir=${hosts}`, reference),
      environment,
    }),
    remove: async (reference) => {
      // Collects content and snapshots before it answers, where the daemon would do it later.
      await containerd.call('images', 'rm', '--sync', reference);
    },
    tearDown: containerd.tearDown,
  };
}

/** Pulls what is not there: no layer of it either, unless another image in the store has it. */
export function pullAnew(puller: Puller, reference: string): Contender {
  return {
    ...described(puller),
    round: async () => [puller.pull(reference)],
    afterRound: () => puller.remove(reference),
  };
}

/** Pulls what is there and has not changed. */
export function pullAgain(puller: Puller, reference: string): Contender {
  return {
    ...described(puller),
    setUp: () => complete(puller.pull(reference)),
    round: async () => [puller.pull(reference)],
    tearDown: () => puller.remove(reference),
  };
}

/** Pulls what shares most layers with `first`, which is there. */
export function pullBeside(puller: Puller, first: string, reference: string): Contender {
  return {
    ...pullAnew(puller, reference),
    setUp: () => complete(puller.pull(first)),
    tearDown: () => puller.remove(first),
  };
}

function described({
  name,
  note,
  programs,
}: Puller): Pick<Contender, 'name' | 'note' | 'programs'> {
  return { name, note, programs };
}

/** Runs outside of the measured time what has to succeed. */
export async function complete(command: Command): Promise<void> {
  const { code, stderr } = await runCommand(command);
  if (code !== 0) throw new Error(`${command.words.join(' ')}: exit ${code}: ${stderr}`);
}
