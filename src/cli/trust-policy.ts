import {
  listPrefixes,
  listTrustedKeys,
  type TrustDirectories,
  trustedKeysFor,
} from '../trust/keystore.ts';
import { formatJson } from './format.ts';
import type { OutputFormat } from './output.ts';
import { formatTable } from './table.ts';
import { ruleText } from './trust-rule.ts';
import { describeTrustedKeys, keyJson, type ShownKey, whoText } from './trusted-keys.ts';

/** Names, and the keys that may vouch for them. */
interface PolicyEntry {
  /** `every name`, or the prefix the names are under. */
  readonly names: string;
  readonly keys: readonly ShownKey[];
}

/**
 * The rules as they come out: for each prefix that has keys of its own, and for all other names, every
 * key that is accepted, those of wider rules and of every name included and masked ones left out.
 */
export async function policyText(
  directories: TrustDirectories,
  format: OutputFormat | undefined,
): Promise<string> {
  const entries = await policyEntries(directories);
  if (format !== undefined) {
    const json = entries.map(({ names, keys }) => ({ names, keys: keys.map(keyJson) }));
    return `${formatJson(json, format)}\n`;
  }
  return formatTable([LEGEND, ...entries.flatMap(entryRows)]);
}

const LEGEND = ['NAMES', 'FINGERPRINT', 'KIND', 'BY', 'WHO'];

async function policyEntries(directories: TrustDirectories): Promise<PolicyEntry[]> {
  const everywhere = listTrustedKeys(directories).filter(({ rule }) => rule.scope === 'root');
  const rest = { names: 'every name', keys: await describeTrustedKeys(everywhere) };
  const entries = listPrefixes(directories).map(async (prefix) => ({
    names: prefix,
    keys: await describeTrustedKeys(trustedKeysFor(directories, prefix)),
  }));
  return [rest, ...(await Promise.all(entries))];
}

function entryRows({ names, keys }: PolicyEntry): string[][] {
  if (keys.length === 0) return [[names, 'none', '-', '-', 'images are refused']];
  return keys.map(({ trusted, description }, index) => [
    index === 0 ? names : '',
    trusted.fingerprint,
    description.kind,
    ruleText(trusted.rule),
    whoText(description),
  ]);
}
