import { GantryError } from '../error.ts';
import { fetchPublicKeys, type PublicKey } from '../fetch/public-keys.ts';
import { parseIdentifier } from '../image/identifier.ts';
import { addTrustedKeys } from '../trust/keystore.ts';
import type { TrustRule } from '../trust/trust-rule.ts';
import { type CommandDefinition, flag, type Invocation, valued } from './command.ts';
import { type Context, requireRoot } from './context.ts';
import { askWhetherToTrust, canAsk, showKey } from './key-review.ts';
import { print, say } from './print.ts';

export const definition: CommandDefinition = {
  name: 'trust',
  summary: 'trust a key to sign images',
  description:
    'Trusts the keys in each KEY (a file or an https:// URL) to sign images whose name begins with the prefix, in whole path components. Without a KEY they are looked up by discovery at the prefix. What is trusted is shown for review first.',
  operands: '[KEY...]',
  options: [
    valued('--prefix <PREFIX>', 'trust the key for names under this prefix'),
    flag('--root', 'trust the key for every name'),
    flag('--skip-fingerprint-review', 'do not ask whether the fingerprint is right'),
    flag('--insecure-allow-http', 'also take keys over plain HTTP'),
  ],
  examples: [
    'gantry trust --prefix=example.com/app',
    'gantry trust --prefix=example.com/app https://example.com/pubkeys.gpg',
    'gantry trust --root ./pubkey.asc',
  ],
  async run(context, invocation) {
    requireRoot();
    const rule = ruleFrom(invocation);
    for (const key of await findKeys(context, invocation, rule)) {
      await trustKey(context, invocation, rule, key);
    }
    return 0;
  },
};

function ruleFrom({ options }: Invocation): TrustRule {
  const { prefix, root } = options as { prefix?: string; root?: boolean };
  if (prefix !== undefined && root === true) {
    throw new GantryError(
      'usage',
      '--root and --prefix usage mutually exclusive: give one of them',
    );
  }
  if (root === true) return { scope: 'root' };
  if (prefix === undefined) {
    throw new GantryError(
      'usage',
      'nothing says for which images: give --prefix example.com/app, or --root to trust the key for every image (not recommended)',
    );
  }
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(prefix)?.[1];
  if (scheme !== undefined) {
    throw new GantryError('usage', `--prefix must not contain a URL scheme, omit ${scheme}://`);
  }
  return { scope: 'prefix', prefix: parseIdentifier(prefix, '--prefix') };
}

/** The key files named, or those that discovery at the prefix finds. */
async function findKeys(
  context: Context,
  { operands, options }: Invocation,
  rule: TrustRule,
): Promise<PublicKey[]> {
  if (operands.length === 0 && rule.scope === 'root') {
    throw new GantryError('usage', '--root needs the key itself: name its file or URL');
  }
  const http = options['insecureAllowHttp'] === true;
  const transport = {
    directories: context.directories,
    insecure: { ...context.insecure, pubkey: context.insecure.pubkey || http },
    report: context.report,
    env: process.env,
  };
  if (rule.scope === 'prefix' && operands.length === 0) {
    return await fetchPublicKeys({ prefix: rule.prefix }, transport);
  }
  const found = await Promise.all(
    operands.map((location) => fetchPublicKeys({ location }, transport)),
  );
  return found.flat();
}

async function trustKey(
  context: Context,
  { options }: Invocation,
  rule: TrustRule,
  key: PublicKey,
): Promise<void> {
  const prefix = rule.scope === 'root' ? '' : rule.prefix;
  const overHttps = context.trustKeysFromHttps && key.url.startsWith('https://');
  const skipReview = options['skipFingerprintReview'] === true || overHttps;
  await showKey(prefix, key.url, key.bytes);
  if (!skipReview && !(await reviewed(prefix, key.url))) return;
  const how = skipReview ? 'without' : 'after';
  print(`Trusting "${key.url}" for prefix "${prefix}" ${how} fingerprint review.\n`);
  for (const path of await addTrustedKeys(context.directories, key.bytes, rule)) {
    const what = rule.scope === 'root' ? 'root key' : `key for prefix "${prefix}"`;
    print(`Added ${what} at "${path}"\n`);
  }
}

async function reviewed(prefix: string, url: string): Promise<boolean> {
  if (!canAsk()) {
    throw new GantryError(
      'untrusted',
      'error reviewing key: unable to ask user to review fingerprint due to lack of tty: check the fingerprint above, then give --skip-fingerprint-review',
    );
  }
  if (await askWhetherToTrust()) return true;
  say(`not trusting "${prefix}" by "${url}"`);
  return false;
}
