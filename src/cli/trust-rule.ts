import { GantryError } from '../error.ts';
import { parseImageName } from '../image/identifier.ts';
import { canonicalHost } from '../image/repository.ts';
import type { TrustRule } from '../trust/trust-rule.ts';
import { type CliOption, flag, valued } from './command.ts';

/** The options that say for which names a key is trusted. */
export function ruleOptions(what: string): CliOption[] {
  return [
    valued('--prefix <PREFIX>', `${what} for names under this prefix`),
    flag('--root', `${what} for every name`),
  ];
}

/** The rule the options say, or undefined where they say none. Throws `usage`, `invalid-reference`. */
export function ruleFrom(options: Record<string, unknown>): TrustRule | undefined {
  const { prefix, root } = options as { prefix?: string; root?: boolean };
  if (prefix !== undefined && root === true) {
    throw new GantryError(
      'usage',
      '--root and --prefix usage mutually exclusive: give one of them',
    );
  }
  if (root === true) return { scope: 'root' };
  if (prefix === undefined) return undefined;
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(prefix)?.[1];
  if (scheme !== undefined) {
    throw new GantryError('usage', `--prefix must not contain a URL scheme, omit ${scheme}://`);
  }
  return { scope: 'prefix', prefix: canonicalPrefix(parseImageName(prefix, '--prefix')) };
}

/** Docker Hub has several names, and the images from there one. */
function canonicalPrefix(prefix: string): string {
  const [host = '', ...path] = prefix.split('/');
  return [canonicalHost(host), ...path].join('/');
}

/** A rule as the tables show it. */
export function ruleText(rule: TrustRule): string {
  return rule.scope === 'root' ? 'every name' : rule.prefix;
}
