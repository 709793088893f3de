import type { Command } from 'commander';
import { GantryError } from '../error.ts';
import { type CliOption, flag, longName, optionKey, repeated, valued } from './command.ts';
import { normaliseWords } from './parser.ts';

/** One image on the command line of `run`, `prepare` or `fetch`, and the options that follow it. */
export interface AppWords {
  image: string;
  args: string[];
  options: Record<string, string | string[] | boolean>;
}

/** How an option after an image changes that image's app. */
interface AppOption {
  option: CliOption;
  /** May be given several times for one image. */
  many: boolean;
}

/** The options that belong to the image before them. */
export const APP_OPTIONS: readonly CliOption[] = [
  valued('--name <NAME>', 'name of the app (default: the last part of the image name)'),
  valued('--exec <PATH>', 'run this instead of what the image says'),
  valued('--working-dir <PATH>', 'working directory of the app'),
  valued('--user <USER>', 'user of the app: a name, an id, or a path whose owner it is'),
  valued('--group <GROUP>', 'group of the app: a name, an id, or a path whose group it is'),
  valued('--supplementary-gids <GIDS>', 'comma-separated supplementary group ids'),
  valued('--environment <NAME=VALUE>', 'an environment variable of the app; may be repeated'),
  valued('--caps-retain <LIST>', 'comma-separated capabilities to keep, all others are removed'),
  valued('--caps-remove <LIST>', 'comma-separated capabilities to remove from the default set'),
  flag('--readonly-rootfs', "mount the app's root file system read-only"),
  repeated(
    '--mount <MOUNT>',
    'volume=NAME,target=PATH: where the app has a volume; before the first image: where every app has it; may be repeated',
  ),
  valued('--signature <PATH>', 'signature of the image: a file or a URL'),
];

const MANY = new Set(['--environment', '--mount']);
/** Also options of the pod, before the first image. */
const OF_POD = new Set(['--mount']);

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
  for (const option of APP_OPTIONS) {
    command.on(`option:${longName(option).slice(2)}`, (value: string | null) => {
      setAppOption({ option, many: MANY.has(longName(option)) }, value ?? true, apps.at(-1));
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
      `${longName(option)} specified multiple times for the same image`,
    );
  }
}
