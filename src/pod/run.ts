import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { GantryError } from '../error.ts';
import { parseHostname } from '../network/hostname.ts';
import { hasResolvConf } from '../network/name-files.ts';
import type { NetworkMode } from '../network/namespace.ts';
import { compilePlan } from '../stage1/compile.ts';
import { withTerminal } from '../stage1/environment.ts';
import { requireFeatures } from '../stage1/features.ts';
import { type Flavour, openFlavour } from '../stage1/flavour.ts';
import { becomeSupervisor } from '../stage1/launch.ts';
import { encodePlan, filtersOf } from '../stage1/plan.ts';
import { type PodSettings, withFilters } from '../stage1/settings.ts';
import type { Pod } from './pod.ts';
import { readRecord } from './record.ts';
import type { PodRequest } from './request.ts';
import { startWishes } from './wishes.ts';

/** What of a prepared pod can still be chosen when it is started. */
export interface StartOptions {
  readonly interactive?: boolean;
  readonly network?: NetworkMode;
  readonly hostname?: string;
  readonly ipc?: PodRequest['ipc'];
  readonly debug?: boolean;
  /** Where NOTIFY_SOCKET, TERM and the like are taken from; `process.env` unless given. */
  readonly environment?: NodeJS.ProcessEnv;
}

/**
 * Starts a prepared pod: it moves to phase `run`, and this process becomes its supervisor, with the
 * same process id and the pod's lock.
 * @throws GantryError `wrong-phase` for a pod that is not prepared, `launch` when its stage1 cannot
 *   be executed, `unsupported` for what it lacks
 */
export function startPod(pod: Pod, options: StartOptions = {}): never {
  requirePrepared(pod);
  const flavour = openFlavour(pod.file('stage1'), `of pod ${JSON.stringify(pod.uuid)}`);
  // What cannot be executed leaves the pod prepared.
  flavour.entryPoint('run');
  if (changesPlan(options)) recompile(pod, flavour, options);
  pod.enter('run');
  return becomeSupervisor(
    { uuid: pod.uuid, directory: pod.dir, lockFd: pod.fd },
    flavour,
    options.environment ?? process.env,
  );
}

/** Once the lock is held nobody else moves the pod. */
function requirePrepared(pod: Pod): void {
  if (pod.held && pod.phase === 'prepared') return;
  const name = `pod ${JSON.stringify(pod.uuid)}`;
  if (pod.phase === 'prepared') pod.lock();
  const state = pod.state();
  if (!pod.held && state === 'prepared') {
    throw new GantryError('busy', `${name} is just being started or removed by another process`);
  }
  if (state !== 'prepared') {
    throw new GantryError('wrong-phase', `${name} is not prepared: it is ${state}`);
  }
}

function changesPlan({ interactive, network, hostname, ipc }: StartOptions): boolean {
  return [interactive, network, hostname, ipc].some((choice) => choice !== undefined);
}

/** Compiles the plan anew from what was decided when the pod was prepared, and what is now. */
function recompile(pod: Pod, flavour: Flavour, options: StartOptions): void {
  requireFeatures(flavour, startWishes(options), 'prepare a pod with another --stage1-name');
  const record = readRecord(pod);
  if (record === undefined) {
    throw new GantryError('launch', `pod "${pod.uuid}" has no readable record: prepare it anew`);
  }
  const settings = withFilters(record.settings, filtersOf(readFileSync(pod.file('plan'))));
  const bytes = encodePlan(compilePlan(changedSettings(settings, options)));
  // Beside its place and renamed: a crash leaves the pod prepared, with one plan or the other.
  writeFileSync(pod.file('plan.new'), bytes, { mode: 0o600, flush: true });
  renameSync(pod.file('plan.new'), pod.file('plan'));
}

function changedSettings(settings: PodSettings, options: StartOptions): PodSettings {
  const { interactive = settings.interactive, hostname, environment = process.env } = options;
  if (interactive && settings.apps.length > 1) {
    throw new GantryError('usage', 'interactive option only supports pods with one app');
  }
  if (options.ipc === 'parent' && settings.users !== undefined) {
    throw new GantryError(
      'usage',
      "--ipc=parent: the pod has users of its own (--private-users), and the host's queues are the host's users': leave it out",
    );
  }
  const network = options.network ?? settings.network;
  const terminal = environment['TERM'];
  const { hostIpc, ...rest } = settings;
  return {
    ...rest,
    ...(options.ipc === 'parent' || (options.ipc === undefined && hostIpc)
      ? { hostIpc: true }
      : {}),
    interactive,
    network,
    hostResolver: network === 'host' && hasResolvConf(),
    hostname: hostname === undefined ? settings.hostname : parseHostname(hostname),
    apps: interactive
      ? settings.apps.map((app) => ({
          ...app,
          environment: withTerminal(app.environment, terminal),
        }))
      : settings.apps,
  };
}
