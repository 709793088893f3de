import { GantryError } from '../error.ts';
import type { TransportContext } from '../fetch/context.ts';
import { fetchPublicKeys, type PublicKey } from '../fetch/public-keys.ts';
import { formatIdentityFile, parseIdentity } from '../trust/keyless-identity.ts';
import { addTrustedKeys } from '../trust/keystore.ts';
import type { TrustRule } from '../trust/trust-rule.ts';
import { type CommandDefinition, flag, type Invocation, valued } from './command.ts';
import { type Context, requireRoot } from './context.ts';
import { askWhetherToTrust, canAsk, showKey } from './key-review.ts';
import { formatOption, parseFormat } from './output.ts';
import { print, say } from './print.ts';
import { ruleFrom, ruleOptions } from './trust-rule.ts';

export const definition: CommandDefinition = {
  name: 'trust',
  summary: 'trust a key to sign images',
  description:
    "Trusts the keys in each KEY (a file or an https:// URL) to sign images whose name begins with the prefix, in whole path components. A KEY is an OpenPGP key, a sigstore public key (PEM), an X.509 authority's certificate (PEM) or an identity; what it is, is told by its content. Without a KEY they are looked up by discovery at the prefix. What is trusted is shown for review first. gantry trust list, show, rm and explain manage what is trusted.",
  operands: '[KEY...]',
  options: [
    ...ruleOptions('trust the key'),
    valued(
      '--identity <IDENTITY>',
      'trust a keyless signer: the whole identity, or a regular expression for it from ^ to $',
    ),
    valued('--issuer <URL>', 'the OpenID provider the identity is known to'),
    valued('--trusted-root <FILE>', "install a sigstore deployment's trusted_root.json"),
    flag('--policy', 'print which keys are accepted for which names'),
    flag('--skip-fingerprint-review', 'do not ask whether the fingerprint is right'),
    flag('--insecure-allow-http', 'also take keys over plain HTTP'),
    formatOption(),
  ],
  examples: [
    'gantry trust --prefix=example.com/app',
    'gantry trust --prefix=example.com/app https://example.com/pubkeys.gpg',
    'gantry trust --prefix=registry.example.com/team cosign.pub',
    "gantry trust --prefix=ghcr.io/team --identity '^https://github\\.com/team/.*$' --issuer https://token.actions.githubusercontent.com",
    'gantry trust --root ./pubkey.asc',
    'gantry trust --policy',
  ],
  async run(context, invocation) {
    if (invocation.options['policy'] === true) return await printPolicy(context, invocation);
    requireRoot();
    const root = invocation.options['trustedRoot'];
    if (typeof root === 'string') {
      await installRoot(context, invocation, root);
      if (ruleFrom(invocation.options) === undefined) return 0;
    }
    const rule = requireRule(invocation);
    const keys = await offeredKeys(context, invocation, rule);
    for (const key of keys) await trustKey(context, invocation, rule, key);
    return 0;
  },
};

async function printPolicy({ directories }: Context, { options }: Invocation): Promise<number> {
  const format = parseFormat(options['format']);
  const { policyText } = await import('./trust-policy.ts');
  print(await policyText(directories, format));
  return 0;
}

function requireRule({ options }: Invocation): TrustRule {
  const rule = ruleFrom(options);
  if (rule !== undefined) return rule;
  throw new GantryError(
    'usage',
    'nothing says for which images: give --prefix example.com/app, or --root to trust the key for every image (not recommended)',
  );
}

async function installRoot(
  context: Context,
  invocation: Invocation,
  location: string,
): Promise<void> {
  const { installTrustedRoot } = await import('../trust/trusted-root-file.ts');
  const found = await fetchPublicKeys({ location }, transportOf(context, invocation));
  for (const { url, bytes } of found) {
    const { path, authorities, logs, timestampAuthorities } = installTrustedRoot(
      context.directories,
      bytes,
      url,
    );
    const shownLogs = logs.length === 0 ? 'no log' : `the logs ${logs.join(', ')}`;
    say(
      `trusted root: ${authorities} certificate authorities, ${timestampAuthorities} timestamp authorities, ${shownLogs}`,
    );
    print(`Added trusted root at "${path}"\n`);
  }
}

/** Keys that may become trusted. */
interface OfferedKey extends PublicKey {
  /** Given on the command line itself, not fetched. */
  readonly typed?: boolean;
}

/** The identity given, the key files named, or those that discovery at the prefix finds. */
async function offeredKeys(
  context: Context,
  invocation: Invocation,
  rule: TrustRule,
): Promise<OfferedKey[]> {
  const { operands, options } = invocation;
  const { identity, issuer } = options as { identity?: string; issuer?: string };
  if (identity === undefined && issuer === undefined) {
    return await findKeys(context, invocation, rule);
  }
  if (identity === undefined || issuer === undefined) {
    throw new GantryError(
      'usage',
      '--identity and --issuer go together: an identity is only as good as who says that it is one',
    );
  }
  if (operands.length > 0) {
    throw new GantryError('usage', 'give either --identity and --issuer, or a KEY');
  }
  const file = formatIdentityFile(parseIdentity(identity, issuer));
  return [{ url: identity, bytes: Buffer.from(file), typed: true }];
}

async function findKeys(
  context: Context,
  invocation: Invocation,
  rule: TrustRule,
): Promise<PublicKey[]> {
  const { operands } = invocation;
  if (operands.length === 0 && rule.scope === 'root') {
    throw new GantryError('usage', '--root needs the key itself: name its file or URL');
  }
  const transport = transportOf(context, invocation);
  if (rule.scope === 'prefix' && operands.length === 0) {
    return await fetchPublicKeys({ prefix: rule.prefix }, transport);
  }
  const found = await Promise.all(
    operands.map((location) => fetchPublicKeys({ location }, transport)),
  );
  return found.flat();
}

function transportOf(context: Context, { options }: Invocation): TransportContext {
  const http = options['insecureAllowHttp'] === true;
  return {
    directories: context.directories,
    insecure: { ...context.insecure, pubkey: context.insecure.pubkey || http },
    report: context.report,
    env: process.env,
  };
}

async function trustKey(
  context: Context,
  { options }: Invocation,
  rule: TrustRule,
  key: OfferedKey,
): Promise<void> {
  const prefix = rule.scope === 'root' ? '' : rule.prefix;
  const overHttps = context.trustKeysFromHttps && key.url.startsWith('https://');
  // An identity that was typed out has been reviewed by whoever typed it.
  const skipReview = options['skipFingerprintReview'] === true || overHttps || key.typed === true;
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
