import packageJson from '../../package.json' with { type: 'json' };
import { describeConfig } from '../config/description.ts';
import type { CommandDefinition } from './command.ts';
import { valued } from './command.ts';
import { formatJson } from './format.ts';
import { parseFormat } from './output.ts';
import { print } from './print.ts';

export const definition: CommandDefinition = {
  name: 'config',
  summary: 'print the configuration in force, as JSON',
  description:
    'Prints what the system, local and user configuration directories add up to, in the form rkt prints it. Credentials are part of it: keep the output to yourself.',
  options: [valued('--format <FORMAT>', 'json or json-pretty', 'json-pretty')],
  run(context, { options }) {
    const format = parseFormat(options['format']) ?? 'json-pretty';
    const stage1 = { name: 'gantry/native', version: packageJson.version };
    print(`${formatJson(describeConfig(context.directories, stage1), format)}\n`);
    return 0;
  },
};
