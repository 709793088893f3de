import { podSummary } from '../pod/status.ts';
import { type CommandDefinition, flag } from './command.ts';
import { formatJson } from './format.ts';
import { formatOption, parseFormat } from './output.ts';
import { appJson } from './pod-output.ts';
import { onlyPod, uuidFileOption } from './pod-selection.ts';
import { print } from './print.ts';
import { formatTable } from './table.ts';

export const definition: CommandDefinition = {
  name: 'app list',
  summary: 'list the apps of a pod',
  description:
    'Lists the apps of a pod and what state they are in: created, running or exited. gantry app status shows more of one.',
  operands: 'UUID',
  options: [
    flag('--no-legend', 'without the line of column names'),
    uuidFileOption(),
    formatOption(),
  ],
  run(context, { operands, options }) {
    const format = parseFormat(options['format']);
    using pod = onlyPod(context, operands, options);
    const { apps } = podSummary(pod);
    if (format !== undefined) {
      print(`${formatJson(apps.map(appJson), format)}\n`);
      return 0;
    }
    const legend = options['legend'] === false ? [] : [['NAME', 'STATE']];
    const rows = [...legend, ...apps.map(({ name, state }) => [name, state])];
    // Of no app at all rkt prints an empty line, which scripts compare with.
    print(rows.length === 0 ? '\n' : formatTable(rows));
    return 0;
  },
};
