import type { Command } from 'commander';
import { GantryError } from '../error.ts';
import type { PullPolicy } from '../fetch/context.ts';
import type { ImageRecord } from '../image/image-record.ts';
import { quote } from '../image/quotation.ts';
import { parseReference } from '../image/reference.ts';
import { parseHostname } from '../network/hostname.ts';
import type { NetworkMode } from '../network/namespace.ts';
import type { Pod } from '../pod/pod.ts';
import { preparePod } from '../pod/prepare.ts';
import type { AppRequest, PodRequest } from '../pod/request.ts';
import { Store } from '../store/store.ts';
import { appWishes, mountWishes, naming, parseAnnotations, userWishes } from './app-wishes.ts';
import { APP_OPTIONS, type AppWords, FORMER_APP_OPTIONS, parseApps } from './apps.ts';
import {
  type CliOption,
  deprecation,
  flag,
  type Invocation,
  inGroup,
  repeated,
  valued,
} from './command.ts';
import type { Context } from './context.ts';
import { ENVIRONMENT_OPTIONS, ownEnvironment, setEnvironment } from './environment-options.ts';
import { parsePullPolicy, pullPolicyOptions } from './fetching.ts';
import { findOrFetch } from './image-finding.ts';
import { PLATFORM_OPTIONS, withPlatform } from './platform-options.ts';
import type { PodContent } from './pod-manifest.ts';
import { sysctlIsolator } from './process-options.ts';
import { chooseStage1, STAGE1_OPTIONS } from './stage1-options.ts';

/** Also of a pod that is started later. */
export const IPC_OPTION: CliOption = {
  ...valued(
    '--ipc <MODE>',
    "System V IPC, POSIX queues and shared memory: private, the pod's own (auto, the default, where the stage1 has them), or parent, those of the host",
  ),
  values: ['auto', 'private', 'parent'],
};

/** The options of a pod, whatever is in it. */
const POD_OPTIONS: readonly CliOption[] = [
  valued('--hostname <NAME>', "the pod's host name (default: gantry-UUID)"),
  repeated(
    '--sysctl <KEY=VALUE>',
    'a kernel parameter of the pod, such as net.core.somaxconn=512; may be repeated',
  ),
  flag('--no-overlay', 'copy the images instead of using overlayfs'),
  IPC_OPTION,
  flag('--private-users', "give the pod users of its own, who are none of the host's"),
];

const STAGE1_GROUP = inGroup('What isolates the pod', STAGE1_OPTIONS);

/** The options `prepare` and `run` share: those of the pod, and those after each image. */
export const PREPARE_OPTIONS: readonly CliOption[] = [
  ...POD_OPTIONS,
  repeated(
    '--volume <VOLUME>',
    'what --mount, or an image, has a place for: NAME,kind=host,source=PATH[,readOnly=BOOL] [,recursive=BOOL][,propagation=private|slave|shared], or NAME,kind=empty[,readOnly=BOOL] [,mode=MODE][,uid=UID][,gid=GID]; may be repeated',
  ),
  valued(
    '--pod-manifest <FILE>',
    'the pod as a manifest says it (appc spec/pods.md), - for standard input: in place of images and of options that such a manifest has members for',
  ),
  flag('--quiet', 'print no progress, on success only what was asked for'),
  ...STAGE1_GROUP,
  ...inGroup('Environment of all apps', ENVIRONMENT_OPTIONS),
  ...inGroup('Finding the images', [...pullPolicyOptions('new'), ...PLATFORM_OPTIONS]),
  ...APP_OPTIONS,
  ...FORMER_APP_OPTIONS,
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
  repeated('--annotation <NAME=VALUE>', "an annotation of the pod's manifest; may be repeated"),
  repeated('--user-annotation <NAME=VALUE>', 'a user annotation of the pod; may be repeated'),
  repeated('--user-label <NAME=VALUE>', 'a user label of the pod; may be repeated'),
  ...STAGE1_GROUP,
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
  const { options } = invocation;
  context.report.quiet = options['quiet'] === true;
  // What is wrong with the words is said before anything is fetched.
  const pod = readPodOptions(context, options);
  const content = await readContent(context, options, words, mutable);
  const store = Store.open(context.dataDir);
  const stage1 = await chooseStage1(context, store, options);
  const prepareContext = {
    store,
    directories: context.directories,
    ...stage1,
    dataDir: context.dataDir,
    report: context.report,
  };
  return await preparePod(prepareContext, {
    ...pod,
    ...(await content(store)),
    runsNow,
    mutable,
  });
}

/** Reads what a pod is to hold, from its words or its manifest; the result finds or fetches the images of it. */
async function readContent(
  context: Context,
  options: Record<string, unknown>,
  words: readonly AppWords[],
  mutable: boolean,
): Promise<(store: Store) => Promise<PodContent>> {
  const { podManifest } = options;
  if (typeof podManifest === 'string' && podManifest !== '') {
    const { readPodManifest } = await import('./pod-manifest.ts');
    return readPodManifest(context, podManifest, words, options);
  }
  if (words.length === 0 && !mutable) {
    throw new GantryError(
      'usage',
      'pod must contain at least one application: name an image, or give a manifest with --pod-manifest',
    );
  }
  const pullPolicy = mutable ? 'never' : parsePullPolicy(options, context);
  const pod = { ...annotationWishes(options, words), ...(await volumeWishes(options, words)) };
  const wishes: Omit<AppRequest, 'record'>[] = [];
  for (const app of words) {
    for (const option of app.deprecated ?? []) context.report.warn(deprecation(option));
    wishes.push({ ...appWishes(app), ...(await mountWishes(app)) });
  }
  return async (store) => {
    const apps: AppRequest[] = [];
    for (const [index, app] of words.entries()) {
      const record = await findOrFetchApp(context, store, app, { ...options, pullPolicy });
      apps.push({ args: [], ...wishes[index], record });
    }
    return { ...pod, apps };
  };
}

/** The image of an app: the stored one, or the one fetched for what its words and the options say. */
export async function findOrFetchApp(
  context: Context,
  store: Store,
  app: AppWords,
  options: { readonly pullPolicy: PullPolicy } & Record<string, unknown>,
): Promise<ImageRecord> {
  const { signature } = app.options;
  return await findOrFetch(context, {
    store,
    reference: withPlatform(parseReference(app.image), options),
    pullPolicy: options.pullPolicy,
    ...(typeof signature === 'string' ? { signature } : {}),
  });
}

/** What the pod's own options say. Throws `usage`. */
function readPodOptions(
  context: Context,
  options: Record<string, unknown>,
): Omit<PodRequest, 'apps'> {
  const { uuidFileSave } = options;
  const hostname = hostnameWish(options);
  const ipc = parseIpc(options);
  return {
    ...(options['net'] === undefined ? {} : { network: parseNetwork(options['net']) }),
    overlay: options['overlay'] !== false,
    interactive: options['interactive'] === true,
    ...(options['privateUsers'] === true ? { privateUsers: true } : {}),
    insecure: context.insecure,
    setEnvironment: setEnvironment(options),
    ...(options['inheritEnv'] === true ? { inheritedEnvironment: ownEnvironment() } : {}),
    ...podIsolators(options),
    ...(hostname === undefined ? {} : { hostname }),
    ...(ipc === undefined ? {} : { ipc }),
    ...(typeof uuidFileSave === 'string' && uuidFileSave !== '' ? { uuidFile: uuidFileSave } : {}),
  };
}

/** What options ask for the pod itself. Throws `usage`. */
function podIsolators({ sysctl }: Record<string, unknown>): Pick<PodRequest, 'isolators'> {
  if (sysctl === undefined) return {};
  return { isolators: [sysctlIsolator(sysctl as string[])] };
}

/** `--ipc`; undefined where the stage1 has its way, as with `auto` and, as in rkt, an empty word. Throws `usage`. */
export function parseIpc({ ipc }: Readonly<Record<string, unknown>>): PodRequest['ipc'] {
  if (ipc === undefined || ipc === '' || ipc === 'auto') return undefined;
  if (ipc === 'private' || ipc === 'parent') return ipc;
  throw new GantryError(
    'usage',
    `--ipc: ${quote(String(ipc))} is unknown: use auto, private or parent`,
  );
}

/** `--hostname`; as in rkt an empty one is none. Throws `usage`. */
export function hostnameWish({ hostname }: Readonly<Record<string, unknown>>): string | undefined {
  if (typeof hostname !== 'string' || hostname === '') return undefined;
  return naming('--hostname', () => parseHostname(hostname));
}

/** The pod's own annotations: before the first image, or of a pod that has none yet. Throws `usage`. */
function annotationWishes(
  options: Record<string, unknown>,
  apps: readonly AppWords[],
): Pick<PodRequest, 'annotations' | 'userAnnotations' | 'userLabels'> {
  const annotations = parseAnnotations(ofPod(options, apps, 'annotation'));
  // Of a pod that begins without apps: otherwise these follow an image.
  if (apps.length > 0) return { annotations };
  return { annotations, ...userWishes(options) };
}

/** The parser keeps all of an option in order: those before the first image, and then those it gave to images too. */
function ofPod(
  options: Record<string, unknown>,
  apps: readonly AppWords[],
  key: string,
): readonly string[] {
  const all = (options[key] ?? []) as string[];
  const ofApps = apps.flatMap((app) => app.options[key] ?? []);
  return all.slice(0, all.length - ofApps.length);
}

/** `--volume`, and `--mount` before the first image. Throws `usage`. */
async function volumeWishes(
  options: Record<string, unknown>,
  apps: readonly AppWords[],
): Promise<Pick<PodRequest, 'volumes' | 'mounts'>> {
  const volumes = (options['volume'] ?? []) as string[];
  const mounts = ofPod(options, apps, 'mount');
  if (volumes.length === 0 && mounts.length === 0) return {};
  const { parseMounts, parseVolumes } = await import('./volume-options.ts');
  return { volumes: parseVolumes(volumes), mounts: parseMounts(mounts) };
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
