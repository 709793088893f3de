import type { Command } from 'commander';
import { GantryError } from '../error.ts';
import {
  type CliOption,
  deprecated,
  flag,
  inGroup,
  longName,
  optionKey,
  repeated,
  valued,
} from './command.ts';
import { ISOLATOR_OPTIONS } from './isolator-options.ts';
import { normaliseWords } from './parser.ts';
import { STREAM_OPTIONS } from './stream-options.ts';

/** One image on the command line of `run`, `prepare` or `fetch`, and the options that follow it. */
export interface AppWords {
  image: string;
  args: string[];
  options: Record<string, string | string[] | boolean>;
  /** Options that have gone out of use, and were used. */
  deprecated?: CliOption[];
}

/** How an option after an image changes that image's app. */
interface AppOption {
  option: CliOption;
  /** May be given several times for one image. */
  many: boolean;
}

const AFTER_IMAGE = 'After an image, of its app';

const OWN_OPTIONS: readonly CliOption[] = inGroup(AFTER_IMAGE, [
  valued('--name <NAME>', 'name of the app (default: the last part of the image name)'),
  valued('--exec <PATH>', 'run this instead of what the image says'),
  valued('--working-dir <PATH>', 'working directory of the app'),
  valued('--user <USER>', 'user of the app: a name, an id, or a path whose owner it is'),
  valued('--group <GROUP>', 'group of the app: a name, an id, or a path whose group it is'),
  valued('--supplementary-gids <GIDS>', 'comma-separated supplementary group ids'),
  valued('--environment <NAME=VALUE>', 'an environment variable of the app; may be repeated'),
  flag('--readonly-rootfs', "mount the app's root file system read-only"),
  repeated(
    '--annotation <NAME=VALUE>',
    'an annotation of the app in the pod manifest; before the first image: of the pod; may be repeated',
  ),
  valued('--user-annotation <NAME=VALUE>', 'a user annotation of the app; may be repeated'),
  valued('--user-label <NAME=VALUE>', 'a user label of the app; may be repeated'),
  ...STREAM_OPTIONS,
  repeated(
    '--mount <MOUNT>',
    'volume=NAME,target=PATH: where the app has a volume; before the first image: where every app has it; may be repeated',
  ),
  valued('--signature <PATH>', 'signature of the image: a file or a URL'),
]);

/** Of the isolators' options those that are about what an app may do; the others, about how much. */
const RIGHTS =
  /^--(caps-retain|caps-remove|seccomp|no-new-privileges|selinux-context|apparmor-profile)$/;

const isRight = (option: CliOption) => RIGHTS.test(longName(option));

/** The options that belong to the image before them. */
export const APP_OPTIONS: readonly CliOption[] = [
  ...OWN_OPTIONS,
  ...inGroup('After an image, what its app may do', ISOLATOR_OPTIONS.filter(isRight)),
  ...inGroup(
    'After an image, limits of its app',
    ISOLATOR_OPTIONS.filter((option) => !isRight(option)),
  ),
];

/** Those that may be given several times for one image. */
const MANY = new Set([
  ...ISOLATOR_OPTIONS.filter(({ repeats }) => repeats).map(longName),
  '--annotation',
  '--environment',
  '--mnt-volume',
  '--mount',
  '--user-annotation',
  '--user-label',
]);

/** Also options of the pod, before the first image. */
const OF_POD = new Set(['--annotation', '--mount']);

/** Other names of options, for scripts written for rkt. */
export const FORMER_APP_OPTIONS: readonly CliOption[] = [
  deprecated('--cap-retain <LIST>', '--caps-retain'),
  deprecated('--cap-remove <LIST>', '--caps-remove'),
];

/** Of an app that comes to a running pod. */
export const MOUNT_VOLUME_OPTION: CliOption = {
  ...repeated(
    '--mnt-volume <VOLUME>',
    'a volume of the app and where it is: NAME,kind=host,source=PATH,target=PATH[,readOnly=BOOL] [,recursive=BOOL], or NAME,kind=empty,target=PATH[,readOnly=BOOL] [,mode=MODE][,uid=UID][,gid=GID]; may be repeated',
  ),
  group: AFTER_IMAGE,
};

/** `--signature` alone, for commands that only fetch. */
export const SIGNATURE_OPTION = APP_OPTIONS.filter((option) => longName(option) === '--signature');

/**
 * Parses rkt's grammar: images and options in any order, an option of an app after its image, `--`
 * before the arguments of the image just named and `---` at their end. Throws `usage`.
 */
export function parseApps(
  command: Command,
  words: readonly string[],
  allowArgs: boolean,
): AppWords[] {
  const apps: AppWords[] = [];
  command.enablePositionalOptions().passThroughOptions();
  watchAppOptions(command, apps);
  let named = 0;
  for (const part of splitAppArguments(words)) {
    if (part.kind === 'arguments') {
      takeArguments(apps, part.words, named, allowArgs);
      named = apps.length;
    } else {
      parseImages(command, part.words, apps);
    }
  }
  return apps;
}

interface Part {
  kind: 'images' | 'arguments';
  words: string[];
}

function splitAppArguments(words: readonly string[]): Part[] {
  let part: Part = { kind: 'images', words: [] };
  const parts = [part];
  for (const word of words) {
    const turn =
      part.kind === 'images' && word === '--'
        ? 'arguments'
        : part.kind === 'arguments' && word === '---'
          ? 'images'
          : undefined;
    if (turn === undefined) {
      // A `---` that ends nothing is no image: rkt passes over it.
      if (part.kind === 'arguments' || word !== '---') part.words.push(word);
      continue;
    }
    part = { kind: turn, words: [] };
    parts.push(part);
  }
  return parts;
}

function takeArguments(apps: AppWords[], words: string[], named: number, allowed: boolean): void {
  if (!allowed)
    throw new GantryError('usage', 'app arguments unsupported: this command starts no app');
  const app = apps.at(-1);
  if (app === undefined) {
    throw new GantryError('usage', 'an image is required before any app arguments');
  }
  if (named === apps.length) {
    throw new GantryError('usage', 'only one set of app arguments allowed per image');
  }
  app.args.push(...words);
}

function parseImages(command: Command, words: readonly string[], apps: AppWords[]): void {
  let rest = [...words];
  while (rest.length > 0) {
    // Options up to the next image; commander tells each app option's listener in order.
    const { operands, unknown } = command.parseOptions(rewriteUpToImage(command, rest));
    const [image, ...more] = [...operands, ...unknown];
    if (image === undefined) return;
    if (image.startsWith('-')) {
      throw new GantryError(
        'usage',
        `unknown option ${image.split('=', 1)[0]}: see ${command.name()} --help`,
      );
    }
    apps.push({ image, args: [], options: {} });
    rest = more;
  }
}

function rewriteUpToImage(command: Command, words: readonly string[]): string[] {
  if (words.includes('--help') || words.includes('-h')) command.help();
  return normaliseWords(command, words, true);
}

function watchAppOptions(command: Command, apps: AppWords[]): void {
  for (const option of [...APP_OPTIONS, MOUNT_VOLUME_OPTION]) {
    command.on(`option:${longName(option).slice(2)}`, (value: string | null) => {
      setAppOption({ option, many: MANY.has(longName(option)) }, value ?? true, apps.at(-1));
    });
  }
  for (const alias of FORMER_APP_OPTIONS) {
    const option = APP_OPTIONS.find((known) => longName(known) === alias.deprecated);
    if (option === undefined) continue;
    command.on(`option:${longName(alias).slice(2)}`, (value: string) => {
      const app = apps.at(-1);
      setAppOption({ option, many: false }, value, app);
      if (app !== undefined) app.deprecated = [...(app.deprecated ?? []), alias];
    });
  }
}

function setAppOption(
  { option, many }: AppOption,
  value: string | true,
  app: AppWords | undefined,
): void {
  if (app === undefined && OF_POD.has(longName(option))) return;
  if (app === undefined) throw new GantryError('usage', `${longName(option)} must follow an image`);
  const key = optionKey(option);
  const before = app.options[key];
  if (many) {
    app.options[key] = [...(Array.isArray(before) ? before : []), String(value)];
  } else if (before === undefined) {
    app.options[key] = value;
  } else {
    throw new GantryError(
      'usage',
      `${longName(option)} specified multiple times for the same image: ${app.image}`,
    );
  }
}
