import { GantryError } from '../error.ts';
import { findTrustedKeys } from '../trust/key-removal.ts';
import type { TrustedKey } from '../trust/keystore.ts';
import type { KeyDescription } from '../trust/review.ts';
import type { CommandDefinition } from './command.ts';
import { formatJson } from './format.ts';
import { reviewLines } from './key-review.ts';
import { formatOption, parseFormat } from './output.ts';
import { oneLine, print } from './print.ts';
import { ruleText } from './trust-rule.ts';
import { describeTrustedKeys, keyJson, type ShownKey } from './trusted-keys.ts';

export const definition: CommandDefinition = {
  name: 'trust show',
  summary: 'show all there is to know of trusted keys',
  operands: 'FINGERPRINT...',
  options: [formatOption()],
  examples: ['gantry trust show 18ad5014c99ef7e3'],
  async run({ directories }, { operands, options }) {
    if (operands.length === 0) {
      throw new GantryError('usage', 'name at least one fingerprint, or the beginning of one');
    }
    const format = parseFormat(options['format']);
    const found = operands.map((text) => findTrustedKeys(directories, text));
    const shown = await Promise.all(found.map(describeTrustedKeys));
    if (format !== undefined) {
      print(`${formatJson(shown.flat().map(keyJson), format)}\n`);
      return 0;
    }
    print(shown.map(keyText).join('\n'));
    return 0;
  },
};

/** One key, which may be trusted under several rules. */
function keyText(same: readonly ShownKey[]): string {
  const [first] = same;
  if (first === undefined) return '';
  const lines = [
    ...reviewLines(first.description),
    `\tkind: ${first.description.kind}`,
    ...detailLines(first.description),
    ...same.map(({ trusted }) => `\t${placeText(trusted)}`),
  ];
  return `${lines.join('\n')}\n`;
}

function detailLines(key: KeyDescription): string[] {
  switch (key.kind) {
    case 'openpgp': {
      const expires = key.expires === undefined ? [] : [`\texpires: ${key.expires.toISOString()}`];
      return [
        `\talgorithm: ${key.algorithm}`,
        `\tcreated: ${key.created.toISOString()}`,
        ...expires,
      ];
    }
    case 'sigstore-identity':
      return [`\tfingerprint: ${key.displayFingerprint}`];
    case 'sigstore-key':
    case 'x509':
      return [];
  }
}

function placeText({ rule, path }: TrustedKey): string {
  return oneLine(`trusted for: ${ruleText(rule)}, by ${path}`);
}
