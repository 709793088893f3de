import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { GantryError, reasonOf } from '../error.ts';
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
import { parsePullPolicy, pullPolicyOption } from './fetching.ts';
import { findOrFetch } from './image-finding.ts';
import { PLATFORM_OPTIONS, withPlatform } from './platform-options.ts';
import { chooseStage1, STAGE1_OPTIONS } from './stage1-options.ts';

/** The options of a pod, whatever is in it. */
const POD_OPTIONS: readonly CliOption[] = [
  valued('--hostname <NAME>', "the pod's host name (default: gantry-UUID)"),
  flag('--no-overlay', 'copy the images instead of using overlayfs'),
  repeated('--annotation <NAME=VALUE>', "an annotation of the pod's manifest; may be repeated"),
  ...STAGE1_OPTIONS,
];

/** The options `prepare` and `run` share: those of the pod, and those after each image. */
export const PREPARE_OPTIONS: readonly CliOption[] = [
  ...POD_OPTIONS,
  flag('--inherit-env', 'give the apps all variables of this environment that they do not set'),
  repeated('--set-env <NAME=VALUE>', 'an environment variable of every app; may be repeated'),
  repeated(
    '--set-env-file <FILE>',
    'variables of every app, one NAME=VALUE a line; may be repeated',
  ),
  pullPolicyOption('new'),
  ...PLATFORM_OPTIONS,
  flag('--quiet', 'print no progress, on success only what was asked for'),
  repeated(
    '--volume <VOLUME>',
    'NAME,kind=host,source=PATH[,readOnly=BOOL][,recursive=BOOL][,propagation=private|slave|shared], or NAME,kind=empty[,readOnly=BOOL][,mode=MODE][,uid=UID][,gid=GID]; may be repeated',
  ),
  ...APP_OPTIONS,
];

/** The options of a pod that is run at once. */
const START_OPTIONS: readonly CliOption[] = [
  valued(
    '--net [NETWORK]',
    'none: loopback only (the default, where the stage1 has it); host: the network of the host',
  ),
  valued('--uuid-file-save <FILE>', "write the pod's UUID to a file"),
];

/** What only `run` has. */
export const RUN_OPTIONS: readonly CliOption[] = [
  flag('--interactive', 'give the app this terminal; only one image may be given'),
  ...START_OPTIONS,
];

/** The options of a pod without apps. */
export const SANDBOX_OPTIONS: readonly CliOption[] = [
  ...START_OPTIONS,
  ...POD_OPTIONS,
  repeated('--user-annotation <NAME=VALUE>', 'a user annotation of the pod; may be repeated'),
  repeated('--user-label <NAME=VALUE>', 'a user label of the pod; may be repeated'),
];

/** The `parse` of a command whose operands are images with apps. */
export function parseAppWords(command: Command, words: readonly string[]): AppWords[] {
  return parseApps(command, words, true);
}

/** Finds or fetches the images and prepares the pod; the pod comes back locked. */
export async function preparePodFrom(
  context: Context,
  invocation: Invocation,
  { runsNow, mutable = false }: { runsNow: boolean; mutable?: boolean },
): Promise<Pod> {
  const words = (invocation.parsed ?? []) as AppWords[];
  if (words.length === 0 && !mutable) {
    throw new GantryError('usage', 'pod must contain at least one application: name an image');
  }
  // What is wrong with the words is said before anything is fetched.
  const pod = {
    ...podWishes(context, invocation.options),
    ...(await volumeWishes(invocation.options, words)),
  };
  context.report.quiet = invocation.options['quiet'] === true;
  const store = Store.open(context.dataDir);
  const stage1 = await chooseStage1(context, store, invocation.options);
  const apps: AppRequest[] = [];
  for (const app of words) {
    const wishes = appWishes(app);
    const record = await findOrFetchApp(context, store, app, invocation.options);
    apps.push({ ...wishes, ...(await mountWishes(app)), record });
  }
  const prepareContext = {
    store,
    directories: context.directories,
    ...stage1,
    dataDir: context.dataDir,
    report: context.report,
  };
  return await preparePod(prepareContext, { ...pod, apps, runsNow, mutable });
}

/** The image of an app: the stored one, or the one fetched for what its words and the options say. */
export async function findOrFetchApp(
  context: Context,
  store: Store,
  app: AppWords,
  options: Record<string, unknown>,
): Promise<ImageRecord> {
  const { signature } = app.options;
  return await findOrFetch(context, {
    store,
    reference: withPlatform(parseReference(app.image), options),
    pullPolicy: parsePullPolicy(options['pullPolicy']),
    ...(typeof signature === 'string' ? { signature } : {}),
  });
}

/** What the pod's own options say. Throws `usage`. */
function podWishes(context: Context, options: Record<string, unknown>): Omit<PodRequest, 'apps'> {
  const { hostname, uuidFileSave } = options;
  if (typeof hostname === 'string') parseHostname(hostname);
  return {
    ...(options['net'] === undefined ? {} : { network: parseNetwork(options['net']) }),
    overlay: options['overlay'] !== false,
    interactive: options['interactive'] === true,
    insecure: context.insecure,
    setEnvironment: setEnvironment(options),
    annotations: parsePairs(options['annotation'], '--annotation'),
    userAnnotations: Object.fromEntries(parsePairs(options['userAnnotation'], '--user-annotation')),
    userLabels: Object.fromEntries(parsePairs(options['userLabel'], '--user-label')),
    ...(options['inheritEnv'] === true ? { inheritedEnvironment: ownEnvironment() } : {}),
    ...(typeof hostname === 'string' ? { hostname } : {}),
    ...(typeof uuidFileSave === 'string' ? { uuidFile: uuidFileSave } : {}),
  };
}

/** `--volume`, and `--mount` before the first image. Throws `usage`. */
async function volumeWishes(
  options: Record<string, unknown>,
  apps: readonly AppWords[],
): Promise<Pick<PodRequest, 'volumes' | 'mounts'>> {
  const volumes = (options['volume'] ?? []) as string[];
  const mounts = (options['mount'] ?? []) as string[];
  if (volumes.length === 0 && mounts.length === 0) return {};
  const { parseMounts, parseVolumes } = await import('./volume-options.ts');
  // The parser keeps all of them in order; those after an image are known to it too.
  const ofApps = apps.flatMap((app) => app.options['mount'] ?? []);
  const ofPod = mounts.slice(0, mounts.length - ofApps.length);
  return { volumes: parseVolumes(volumes), mounts: parseMounts(ofPod) };
}

async function mountWishes({ options }: AppWords): Promise<Pick<AppRequest, 'mounts'>> {
  if (options['mount'] === undefined) return {};
  const { parseMounts } = await import('./volume-options.ts');
  return { mounts: parseMounts(options['mount'] as string[]) };
}

/** What the options after an image say. Throws `usage`. */
export function appWishes(app: AppWords): Omit<AppRequest, 'record'> {
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
