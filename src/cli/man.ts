import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GantryError } from '../error.ts';
import {
  type CliOption,
  type CommandDefinition,
  descriptionOf,
  shownFlags,
  shownOptions,
} from './command.ts';
import { globalOptions } from './globals.ts';
import { allDefinitions } from './registry.ts';

export const definition: CommandDefinition = {
  name: 'man',
  summary: 'write the man pages, made from what --help shows',
  operands: 'DIRECTORY',
  async run(_context, { operands }) {
    const [directory] = operands;
    if (directory === undefined || operands.length !== 1) {
      throw new GantryError('usage', 'name the directory to write the pages to');
    }
    mkdirSync(directory, { recursive: true });
    const definitions = await allDefinitions();
    writeFileSync(join(directory, 'gantry.1'), overviewPage(definitions));
    for (const each of definitions) {
      writeFileSync(join(directory, `${pageName(each)}.1`), commandPage(each));
    }
    return 0;
  },
};

function pageName({ name }: CommandDefinition): string {
  return `gantry-${name.replaceAll(' ', '-')}`;
}

/** Text as roff takes it: no line may begin with a control character, hyphens stay hyphens. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/gm, '\\&$1');
}

function heading(page: string): string {
  return `.TH ${roff(page.toUpperCase())} 1 "" "gantry" "Gantry"\n`;
}

function section(title: string, lines: readonly string[]): string {
  return `.SH ${title}\n${lines.join('\n')}\n`;
}

/** The options, those of each heading together and behind it. */
function groupedOptionLines(options: readonly CliOption[]): string[] {
  const groups = Map.groupBy(options, ({ group }) => group);
  return [...groups].flatMap(([group, members]) => [
    ...(group === undefined ? [] : [`.SS ${roff(group)}`]),
    ...optionLines(members),
  ]);
}

function optionLines(options: readonly CliOption[]): string[] {
  return options.flatMap((option) => [
    '.TP',
    `.B ${roff(shownFlags(option))}`,
    roff(option.description),
  ]);
}

function commandPage(each: CommandDefinition): string {
  const own = shownOptions(each.options);
  const words = `gantry ${each.name}`;
  const parts = [
    heading(pageName(each)),
    section('NAME', [roff(`${pageName(each)} - ${each.summary}`)]),
    section('SYNOPSIS', [`.B ${roff(words)}`, roff(`[options] ${each.operands ?? ''}`)]),
    section('DESCRIPTION', [roff(descriptionOf(each))]),
  ];
  if (own.length > 0) parts.push(section('OPTIONS', groupedOptionLines(own)));
  parts.push(
    section('GLOBAL OPTIONS', ['Those that every command takes are in', '.BR gantry (1).']),
  );
  if (each.examples !== undefined) {
    parts.push(section('EXAMPLES', ['.nf', ...each.examples.map(roff), '.fi']));
  }
  parts.push(section('EXIT STATUS', [EXIT_STATUS]), section('SEE ALSO', ['.BR gantry (1)']));
  return parts.join('');
}

const EXIT_STATUS =
  "254 when Gantry itself fails. Otherwise that of the app where one is run (128 and the signal's number when a signal ended it), and 0.";

function overviewPage(definitions: readonly CommandDefinition[]): string {
  const commands = definitions.flatMap((each) => [
    '.TP',
    `.BR ${roff(pageName(each))} (1)`,
    roff(each.summary),
  ]);
  return [
    heading('gantry'),
    section('NAME', ['gantry \\- run pods from signed images']),
    section('SYNOPSIS', ['.B gantry', '[global options] COMMAND [options] [operands]']),
    section('COMMANDS', commands),
    section('GLOBAL OPTIONS', optionLines(globalOptions())),
    section('EXIT STATUS', [EXIT_STATUS]),
  ].join('');
}
