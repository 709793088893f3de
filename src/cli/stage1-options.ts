import { loadStage1 } from '../config/stage1.ts';
import { GantryError } from '../error.ts';
import type { PrepareContext } from '../pod/request.ts';
import { SHIPPED, shippedName } from '../stage1/shipped.ts';
import type { Store } from '../store/store.ts';
import { type CliOption, longName, optionKey, repeated } from './command.ts';
import type { Context } from './context.ts';
import { shippedStage1 } from './installation.ts';

/** A stage1 as preparing a pod takes it: a directory, or an image in its place. */
export type Stage1Choice = Pick<PrepareContext, 'stage1Dir' | 'stage1Image'>;

/**
 * The ways to say which stage1. One may be used, once; the parser is told that they repeat so that a
 * second one is seen.
 */
export const STAGE1_OPTIONS: readonly CliOption[] = [
  {
    ...repeated(
      '--stage1-name <NAME>',
      `the stage1 that isolates the pod: ${Object.keys(SHIPPED).join(', ')}, or the name of an image (default: what stage1.d says, or native)`,
    ),
    values: Object.keys(SHIPPED),
  },
  repeated('--stage1-path <PATH>', 'a directory, or the file of an image, as stage1'),
  repeated('--stage1-url <URL>', 'the image at an https://, docker:// or file:// URL as stage1'),
  repeated('--stage1-hash <ID>', 'a stored image as stage1'),
  repeated(
    '--stage1-from-dir <NAME>',
    'a directory, or the file of an image, in the stage1 images directory as stage1',
  ),
];

/** What an option says of the stage1. */
export interface Stage1Wish {
  /** `--stage1-name` and so on. */
  readonly option: string;
  readonly value: string;
}

/**
 * The stage1 the options ask for; or else the configuration; or else the native one. What finds those that
 * are not part of the installation is only loaded for them.
 * @throws GantryError `usage` for more than one, and whatever finding and fetching it throws
 */
export async function chooseStage1(
  context: Context,
  store: Store,
  options: Record<string, unknown>,
): Promise<Stage1Choice> {
  const never = options['pullPolicy'] === 'never' || options['storeOnly'] === true;
  const pullPolicy = never ? 'never' : 'new';
  const wish = readWish(options);
  if (wish !== undefined) {
    const shipped = wish.option === '--stage1-name' ? shippedName(wish.value) : undefined;
    if (shipped !== undefined) return { stage1Dir: shippedStage1(shipped) };
    const { findWished } = await import('./stage1-choice.ts');
    return await findWished({ context, store, pullPolicy }, wish);
  }
  const configured = loadStage1(context.directories);
  const { name = configured.location === undefined ? 'native' : '' } = configured;
  const shipped = shippedName(name);
  if (shipped !== undefined) return { stage1Dir: shippedStage1(shipped) };
  const { findConfigured } = await import('./stage1-choice.ts');
  return await findConfigured({ context, store, pullPolicy }, configured);
}

/** What the options say; undefined where they say nothing. Throws `usage`, in rkt's words. */
function readWish(options: Record<string, unknown>): Stage1Wish | undefined {
  const names = new Map(STAGE1_OPTIONS.map((each) => [optionKey(each), longName(each)]));
  // The parser keeps the order in which options were first given.
  const wishes = Object.entries(options).flatMap(([key, values]): Stage1Wish[] => {
    const option = names.get(key);
    if (option === undefined || !Array.isArray(values)) return [];
    return values.map((value) => ({ option, value: String(value) }));
  });
  const [first, second] = wishes;
  if (second !== undefined && second.option === first?.option) {
    throw new GantryError('usage', `${first.option} already used: choose one stage1`);
  }
  if (second !== undefined) {
    const both = `${second.option} and ${first?.option}`;
    throw new GantryError('usage', `flags ${both} are mutually exclusive: choose one stage1`);
  }
  if (first?.value === '') throw new GantryError('usage', `${first.option}: it must not be empty`);
  return first;
}
