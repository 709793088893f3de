import { GantryError } from '../error.ts';
import {
  findTrustedKeys,
  maskTrustedKey,
  type Removal,
  removeTrustedKey,
} from '../trust/key-removal.ts';
import { type TrustDirectories, type TrustedKey, trustedKeyFor } from '../trust/keystore.ts';
import type { TrustRule } from '../trust/trust-rule.ts';
import type { CommandDefinition } from './command.ts';
import { requireRoot } from './context.ts';
import { print } from './print.ts';
import { ruleFrom, ruleOptions, ruleText } from './trust-rule.ts';

export const definition: CommandDefinition = {
  name: 'trust rm',
  summary: 'stop trusting keys',
  description:
    "Removes the key's files, under every rule or under the one given. Where the vendor's configuration trusts the key too, or a wider rule does, an empty file is laid over it instead, which takes it away. Images that only this key vouched for do not start any more.",
  operands: 'FINGERPRINT...',
  options: ruleOptions('stop trusting the key'),
  examples: ['gantry trust rm 18ad5014c99ef7e3', 'gantry trust rm 18ad --prefix example.com/app'],
  run({ directories }, { operands, options }) {
    requireRoot();
    if (operands.length === 0) {
      throw new GantryError('usage', 'name at least one fingerprint, or the beginning of one');
    }
    const rule = ruleFrom(options);
    // All are found before any is removed: a misspelt one leaves everything as it was.
    const found = operands.map((text) => findTrustedKeys(directories, text));
    for (const keys of found) {
      for (const removal of remove(directories, keys, rule)) print(removalLine(removal));
    }
    return 0;
  },
};

function remove(
  directories: TrustDirectories,
  keys: readonly TrustedKey[],
  rule: TrustRule | undefined,
): Removal[] {
  const meant = keys.filter((key) => rule === undefined || ruleText(key.rule) === ruleText(rule));
  if (meant.length > 0) return meant.flatMap((key) => removeTrustedKey(directories, key));
  const fingerprint = keys[0]?.fingerprint ?? '';
  const inherited =
    rule?.scope === 'prefix' ? trustedKeyFor(directories, rule.prefix, fingerprint) : undefined;
  if (rule === undefined || inherited === undefined) {
    throw new GantryError(
      'not-found',
      `key ${fingerprint} is not trusted for ${rule === undefined ? 'anything' : ruleText(rule)}: gantry trust show ${fingerprint}`,
    );
  }
  return [maskTrustedKey(directories, fingerprint, rule)];
}

function removalLine({ how, path, rule }: Removal): string {
  const what = rule.scope === 'root' ? 'root key' : `key for prefix "${rule.prefix}"`;
  return how === 'removed' ? `Removed ${what} at "${path}"\n` : `Masked ${what} at "${path}"\n`;
}
