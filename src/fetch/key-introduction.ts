import { GantryError } from '../error.ts';
import { addTrustedKeys, trustedKeysFor } from '../trust/keystore.ts';
import type { FetchContext } from './context.ts';
import { fetchPublicKeys, type PublicKey } from './public-keys.ts';

/**
 * Gives the operator the chance to trust the keys a name's own host offers, where no key is trusted
 * for the name yet: asked one by one, or unasked with `--trust-keys-from-https`. What goes wrong
 * here is only told: the signature check that follows has the last word.
 */
export async function introduceKeys(name: string, context: FetchContext): Promise<void> {
  const { insecure, report } = context;
  if (context.trustKeysFromHttps !== true && context.reviewKey === undefined) return;
  if (trustedKeysFor(context.directories, name).length > 0) {
    report.debug(
      `image: keys already exist for prefix ${JSON.stringify(name)}, not fetching again`,
    );
    return;
  }
  if (insecure.tls && !insecure.pubkey) {
    report.warn(
      'not looking for keys, because with --insecure-options=tls anyone could offer them',
    );
    return;
  }
  try {
    for (const key of await fetchPublicKeys({ prefix: name }, context)) {
      await introduceKey(name, key, context);
    }
  } catch (error) {
    if (!(error instanceof GantryError) || error.code === 'interrupted') throw error;
    report.warn(`error adding keys: ${error.message}`);
  }
}

async function introduceKey(name: string, key: PublicKey, context: FetchContext): Promise<void> {
  const { report } = context;
  const unasked = context.trustKeysFromHttps === true && key.url.startsWith('https://');
  const accepted = unasked || (await context.reviewKey?.(name, key.url, key.bytes)) === true;
  if (!accepted) {
    report.info(`image: not trusting ${JSON.stringify(key.url)}`);
    return;
  }
  const how = unasked ? 'without' : 'after';
  const [url, prefix] = [JSON.stringify(key.url), JSON.stringify(name)];
  report.info(`image: Trusting ${url} for prefix ${prefix} ${how} fingerprint review.`);
  const rule = { scope: 'prefix', prefix: name } as const;
  for (const path of await addTrustedKeys(context.directories, key.bytes, rule)) {
    report.info(`image: Added key for prefix ${prefix} at ${JSON.stringify(path)}`);
  }
}
