import type { Fault } from './fault.ts';
import { componentsWithId } from './key-standing.ts';
import { listTrustedKeys, type TrustDirectories, type TrustedKey } from './keystore.ts';
import { loadTrustedKey } from './trusted-key-kind.ts';

/**
 * The fault of a signature no key trusted for the name can have made. Where the key is trusted for
 * another name that is said, since a prefix that was meant to cover both is the likely mistake.
 */
export async function unknownIssuer(
  directories: TrustDirectories,
  keyId: string,
  name: string,
): Promise<Fault> {
  const unknown = 'openpgp: signature made by unknown entity';
  if (keyId === '') {
    return {
      code: 'untrusted',
      reason: `${unknown}: it does not say which key made it`,
      remedy: 'ask for one that does',
    };
  }
  const id = keyId.toUpperCase();
  const elsewhere = await trustedElsewhere(directories, keyId);
  if (elsewhere?.rule.scope === 'prefix') {
    return {
      code: 'untrusted',
      reason: `${unknown}: key ${id} is trusted for ${elsewhere.rule.prefix}, not for ${name}`,
      remedy: `to trust it for this name too run: gantry trust --prefix ${name} ${elsewhere.path}`,
    };
  }
  return {
    code: 'untrusted',
    reason: `${unknown}: no key trusted for ${name} has the id ${id}`,
    remedy: `to trust it, with its file or URL added where it cannot be discovered, run: gantry trust --prefix ${name}`,
  };
}

/** A key in force under another rule; one that cannot be read is no help here, and no obstacle. */
async function trustedElsewhere(
  directories: TrustDirectories,
  keyId: string,
): Promise<TrustedKey | undefined> {
  try {
    for (const trusted of listTrustedKeys(directories)) {
      const loaded = await loadTrustedKey(trusted);
      if (loaded.kind !== 'openpgp') continue;
      if (componentsWithId(loaded.key, keyId).length > 0) return trusted;
    }
  } catch {
    return undefined;
  }
  return undefined;
}
