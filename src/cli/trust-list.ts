import { listTrustedKeys } from '../trust/keystore.ts';
import { type CommandDefinition, flag } from './command.ts';
import { formatJson } from './format.ts';
import { formatOption, parseFormat } from './output.ts';
import { print } from './print.ts';
import { formatTable } from './table.ts';
import { ruleText } from './trust-rule.ts';
import { describeTrustedKeys, keyJson, whoText } from './trusted-keys.ts';

export const definition: CommandDefinition = {
  name: 'trust list',
  summary: 'list the keys that are trusted, and for which names',
  description:
    'Lists every key in force, once for each rule it is trusted under. A key that an outranking file masks is not in force.',
  options: [flag('--no-legend', 'without the line of column names'), formatOption()],
  async run({ directories }, { options }) {
    const format = parseFormat(options['format']);
    const keys = await describeTrustedKeys(listTrustedKeys(directories));
    if (format !== undefined) {
      print(`${formatJson(keys.map(keyJson), format)}\n`);
      return 0;
    }
    const rows = keys.map(({ trusted, description }) => [
      trusted.fingerprint,
      description.kind,
      ruleText(trusted.rule),
      whoText(description),
      trusted.path,
    ]);
    const legend = options['legend'] === false ? [] : [LEGEND];
    print(formatTable([...legend, ...rows]));
    return 0;
  },
};

const LEGEND = ['FINGERPRINT', 'KIND', 'RULE', 'WHO', 'PATH'];
