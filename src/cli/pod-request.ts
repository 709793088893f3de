import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { loadLimits } from '../config/limits.ts';
import { GantryError, reasonOf } from '../error.ts';
import { findCached } from '../fetch/cached.ts';
import { parseAppName } from '../image/identifier.ts';
import type { ImageRecord } from '../image/image-record.ts';
import { parseReference } from '../image/reference.ts';
import { parseHostname } from '../network/hostname.ts';
import type { NetworkMode } from '../network/namespace.ts';
import type { Pod } from '../pod/pod.ts';
import { preparePod } from '../pod/prepare.ts';
import type { AppRequest, PodRequest } from '../pod/request.ts';
import { Store } from '../store/store.ts';
import { APP_OPTIONS, type AppWords, parseApps } from './apps.ts';
import { type CliOption, flag, type Invocation, repeated, valued } from './command.ts';
import type { Context } from './context.ts';
import { fetchWith, parsePullPolicy, pullPolicyOption } from './fetching.ts';
import { shippedStage1 } from './installation.ts';
import { PLATFORM_OPTIONS, withPlatform } from './platform-options.ts';

/** The options `prepare` and `run` share: those of the pod, and those after each image. */
export const PREPARE_OPTIONS: readonly CliOption[] = [
  valued('--hostname <NAME>', "the pod's host name (default: gantry-UUID)"),
  flag('--inherit-env', 'give the apps all variables of this environment that they do not set'),
  flag('--no-overlay', 'copy the images instead of using overlayfs'),
  repeated('--set-env <NAME=VALUE>', 'an environment variable of every app; may be repeated'),
  repeated(
    '--set-env-file <FILE>',
    'variables of every app, one NAME=VALUE a line; may be repeated',
  ),
  repeated('--annotation <NAME=VALUE>', "an annotation of the pod's manifest; may be repeated"),
  pullPolicyOption('new'),
  ...PLATFORM_OPTIONS,
  flag('--quiet', 'print no progress, on success only what was asked for'),
  ...APP_OPTIONS,
];

/** What only `run` has. */
export const RUN_OPTIONS: readonly CliOption[] = [
  flag('--interactive', 'give the app this terminal; only one image may be given'),
  valued('--net [NETWORK]', 'none: loopback only (the default); host: the network of the host'),
  valued('--uuid-file-save <FILE>', "write the pod's UUID to a file"),
];

/** The `parse` of a command whose operands are images with apps. */
export function parseAppWords(command: Command, words: readonly string[]): AppWords[] {
  return parseApps(command, words, true);
}

/** Finds or fetches the images and prepares the pod; the pod comes back locked. */
export async function preparePodFrom(
  context: Context,
  invocation: Invocation,
  { runsNow }: { runsNow: boolean },
): Promise<Pod> {
  const words = invocation.parsed as AppWords[];
  if (words.length === 0) {
    throw new GantryError('usage', 'pod must contain at least one application: name an image');
  }
  // What is wrong with the words is said before anything is fetched.
  const pod = podWishes(context, invocation.options);
  context.report.quiet = invocation.options['quiet'] === true;
  const store = Store.open(context.dataDir);
  const apps: AppRequest[] = [];
  for (const app of words) {
    const wishes = appWishes(app);
    const record = await findOrFetch(context, store, app, invocation.options);
    apps.push({ ...wishes, record });
  }
  const prepareContext = {
    store,
    directories: context.directories,
    stage1Dir: shippedStage1('native'),
    dataDir: context.dataDir,
    report: context.report,
  };
  return await preparePod(prepareContext, { ...pod, apps, runsNow });
}

/** A stored image is found without loading anything that fetches. */
async function findOrFetch(
  context: Context,
  store: Store,
  app: AppWords,
  options: Record<string, unknown>,
): Promise<ImageRecord> {
  const reference = withPlatform(parseReference(app.image), options);
  const pullPolicy = parsePullPolicy(options['pullPolicy']);
  const { signature } = app.options;
  if (signature === undefined) {
    const cached = findCached(reference, { store, pullPolicy, report: context.report });
    if (cached !== undefined) return cached;
  }
  return await fetchWith(context, {
    store,
    reference,
    pullPolicy,
    limits: loadLimits(context.directories),
    ...(typeof signature === 'string' ? { signature } : {}),
  });
}

/** What the pod's own options say. Throws `usage`. */
function podWishes(context: Context, options: Record<string, unknown>): Omit<PodRequest, 'apps'> {
  const { hostname, uuidFileSave } = options;
  if (typeof hostname === 'string') parseHostname(hostname);
  return {
    network: parseNetwork(options['net'] ?? 'none'),
    overlay: options['overlay'] !== false,
    interactive: options['interactive'] === true,
    insecure: context.insecure,
    setEnvironment: setEnvironment(options),
    annotations: parsePairs(options['annotation'], '--annotation'),
    ...(options['inheritEnv'] === true ? { inheritedEnvironment: ownEnvironment() } : {}),
    ...(typeof hostname === 'string' ? { hostname } : {}),
    ...(typeof uuidFileSave === 'string' ? { uuidFile: uuidFileSave } : {}),
  };
}

/** What the options after an image say. Throws `usage`. */
function appWishes(app: AppWords): Omit<AppRequest, 'record'> {
  const { name, exec, user, group, workingDir, supplementaryGids, capsRetain, capsRemove } =
    app.options as Record<string, string | undefined>;
  if (name !== undefined) parseAppName(name, '--name');
  return {
    args: app.args,
    environment: parsePairs(app.options['environment'], '--environment'),
    ...(name === undefined ? {} : { name }),
    ...(exec === undefined ? {} : { exec }),
    ...(user === undefined ? {} : { user }),
    ...(group === undefined ? {} : { group }),
    ...(workingDir === undefined ? {} : { workingDirectory: workingDir }),
    ...(supplementaryGids === undefined ? {} : { supplementaryGids: parseGids(supplementaryGids) }),
    ...(capsRetain === undefined ? {} : { capsRetain: capsRetain.split(',') }),
    ...(capsRemove === undefined ? {} : { capsRemove: capsRemove.split(',') }),
    ...(app.options['readonlyRootfs'] === true ? { readOnlyRootfs: true } : {}),
  };
}

/** `--net`. Networks by CNI are not there yet, so only the two that need none are known. */
export function parseNetwork(value: unknown): NetworkMode {
  if (value === 'none' || value === 'host') return value;
  const name = value === 'true' ? 'default' : String(value);
  throw new GantryError(
    'unsupported',
    `--net: network "${name}" is not available: use none or host`,
  );
}

function parseGids(list: string): number[] {
  return list.split(',').map((word) => {
    const gid = Number(word);
    if (!/^\d+$/.test(word) || gid > 0xfffffffe) {
      throw new GantryError('usage', `--supplementary-gids: "${word}" is no group id`);
    }
    return gid;
  });
}

/** Variables by name; a file's come first, so that `--set-env` outranks them (rkt's order). */
function setEnvironment(options: Record<string, unknown>): Map<string, string> {
  const files = (options['setEnvFile'] ?? []) as string[];
  const pairs = files.flatMap((file) => readEnvironmentFile(file));
  return new Map([...pairs, ...parsePairs(options['setEnv'], '--set-env')]);
}

/** Lines `NAME=VALUE`; empty ones and those beginning with `#` or `;` are passed over. */
function readEnvironmentFile(path: string): [string, string][] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new GantryError('not-found', `--set-env-file: cannot read ${path}: ${reasonOf(cause)}`, {
      cause,
    });
  }
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !/^[#;]/.test(line));
  return lines.map((line) => parsePair(line, `--set-env-file ${path}`));
}

function parsePairs(values: unknown, option: string): Map<string, string> {
  return new Map(((values ?? []) as string[]).map((text) => parsePair(text, option)));
}

function parsePair(text: string, option: string): [string, string] {
  const equals = text.indexOf('=');
  if (equals < 1) throw new GantryError('usage', `${option}: "${text}" is not NAME=VALUE`);
  return [text.slice(0, equals), text.slice(equals + 1)];
}

function ownEnvironment(): Map<string, string> {
  return new Map(Object.entries(process.env).map(([name, value]) => [name, value ?? '']));
}
