import { GantryError } from '../error.ts';
import type { CommandDefinition } from './command.ts';
import { globalOptions } from './globals.ts';
import { buildCommand } from './parser.ts';
import { print } from './print.ts';
import { allDefinitions } from './registry.ts';

export const definition: CommandDefinition = {
  name: 'help',
  summary: 'explain Gantry or one of its commands',
  operands: '[COMMAND]',
  async run(_context, { operands }) {
    if (operands.length === 0) print(await overview());
    else await explain(operands.join(' '));
    return 0;
  },
};

async function overview(): Promise<string> {
  return [
    'gantry runs pods from signed images.',
    '',
    'Usage:',
    '  gantry [global options] COMMAND [options] [operands]',
    '',
    'Commands:',
    ...(await summaries('')),
    '',
    'Global options:',
    ...globalOptions().map((option) => `  ${option.flags.padEnd(26)} ${option.description}`),
    '',
    'gantry help COMMAND explains one command. Exit code 254: Gantry itself failed.',
    '',
  ].join('\n');
}

async function summaries(prefix: string): Promise<string[]> {
  const definitions = (await allDefinitions()).filter(({ name }) => name.startsWith(prefix));
  return definitions.map(({ name, summary }) => `  ${name.padEnd(20)} ${summary}`);
}

async function explain(name: string): Promise<void> {
  const all = await allDefinitions();
  const found = all.find((candidate) => candidate.name === name);
  if (found !== undefined) return buildCommand(found).outputHelp();
  const group = await summaries(`${name} `);
  if (group.length === 0) {
    throw new GantryError('usage', `unknown command "${name}": gantry help lists them`);
  }
  print([`gantry ${name} COMMAND`, '', 'Commands:', ...group, ''].join('\n'));
}
