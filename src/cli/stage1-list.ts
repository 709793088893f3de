import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, GantryError } from '../error.ts';
import { FEATURES, type Feature } from '../stage1/features.ts';
import { openFlavour } from '../stage1/flavour.ts';
import { SHIPPED, type ShippedName } from '../stage1/shipped.ts';
import type { CommandDefinition } from './command.ts';
import { flag } from './command.ts';
import type { Context } from './context.ts';
import { formatJson } from './format.ts';
import { shippedStage1 } from './installation.ts';
import { formatOption, parseFormat } from './output.ts';
import { print } from './print.ts';
import { messageOf } from './report.ts';
import { stage1ImagesDirectory } from './stage1-choice.ts';
import { formatTable } from './table.ts';

export const definition: CommandDefinition = {
  name: 'stage1 list',
  summary: 'list the stage1 flavours and what each supports',
  description:
    'Prints a table of features and flavours: those that are part of Gantry, by the names that --stage1-name takes, and the directories among the stage1 images, by the names that --stage1-from-dir takes. Images are not looked into.',
  options: [flag('--no-legend', 'without the line of column names'), formatOption()],
  run(context, { options }) {
    const format = parseFormat(options['format']);
    const flavours = [...shippedFlavours(), ...installedFlavours(context)];
    if (format !== undefined) {
      print(`${formatJson(flavours.map(flavourJson), format)}\n`);
      return 0;
    }
    const legend = options['legend'] === false ? [] : [header(flavours)];
    print(formatTable([...legend, ...featureRows(flavours)]));
    return 0;
  },
};

/** A flavour that can be chosen. */
interface Choosable {
  /** How the option names it. */
  readonly word: string;
  readonly option: '--stage1-name' | '--stage1-from-dir';
  /** As its manifest has it. */
  readonly name: string;
  readonly what?: string;
  readonly directory: string;
  readonly plan: string;
  readonly features: ReadonlySet<Feature>;
}

function shippedFlavours(): Choosable[] {
  return (Object.keys(SHIPPED) as ShippedName[]).map((word) => {
    const { what, plan, features } = SHIPPED[word];
    const directory = shippedStage1(word);
    const name = `gantry/${word}`;
    return {
      word,
      option: '--stage1-name',
      name,
      what,
      directory,
      plan,
      features: new Set(features),
    };
  });
}

/** Those in the stage1 images directory; of one that cannot be used the operator hears why. */
function installedFlavours(context: Context): Choosable[] {
  const parent = stage1ImagesDirectory(context);
  return directoriesIn(parent).flatMap((word): Choosable[] => {
    const directory = join(parent, word);
    try {
      const { name, plan, features, requireSound } = openFlavour(directory);
      requireSound({ above: true });
      return [{ word, option: '--stage1-from-dir', name, directory, plan, features }];
    } catch (error) {
      if (!(error instanceof GantryError)) throw error;
      context.report.warn(messageOf(error));
      return [];
    }
  });
}

function directoriesIn(parent: string): string[] {
  try {
    const names = readdirSync(parent).sort();
    return names.filter((name) =>
      statSync(join(parent, name), { throwIfNoEntry: false })?.isDirectory(),
    );
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw new GantryError('config', `cannot read ${parent}: ${errnoOf(error)}`, { cause: error });
  }
}

function header(flavours: readonly Choosable[]): string[] {
  return ['FEATURE', ...flavours.map(({ word }) => word)];
}

function featureRows(flavours: readonly Choosable[]): string[][] {
  return (Object.keys(FEATURES) as Feature[]).map((feature) => [
    feature,
    ...flavours.map(({ features }) => (features.has(feature) ? 'yes' : '-')),
  ]);
}

function flavourJson({ word, option, name, what, directory, plan, features }: Choosable) {
  return {
    choose: `${option}=${word}`,
    name,
    description: what,
    directory,
    plan,
    features: [...features],
  };
}
