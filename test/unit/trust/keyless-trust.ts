import { join } from 'node:path';
import { type KeylessIdentity, parseIdentity } from '../../../src/trust/keyless-identity.ts';
import type { CheckContext } from '../../../src/trust/signature-check.ts';
import { temporaryDirectory } from '../../support/temporary.ts';
import { checkContext, trustedFor } from './signed-manifest.ts';
import { identity, issuer, type SigstoreWorld } from './sigstore-world.ts';

/** Where a log's entry stands in a bundle. */
export const entry = 'verificationMaterial.tlogEntries.0';

/** Where a deployment's root is installed, and an identity is trusted. */
export function trusting(
  world: SigstoreWorld,
  who: KeylessIdentity = parseIdentity(identity, issuer),
): CheckContext {
  const directories = newDirectories();
  world.install(directories);
  return checkContext({
    directories,
    keys: [trustedFor({ kind: 'sigstore-identity', identity: who })],
  });
}

/** Configuration directories with nothing in them, for one test. */
export function newDirectories(): CheckContext['directories'] {
  const base = temporaryDirectory();
  return { system: join(base, 'system'), local: join(base, 'local') };
}

/** The bundle with a change made to the JSON at a path. */
export function changed(
  bundle: unknown,
  path: string,
  change: (value: string) => unknown,
): unknown {
  const copy = structuredClone(bundle) as Record<string, unknown>;
  const steps = path.split('.');
  const last = steps.pop() ?? '';
  const parent = steps.reduce((at, step) => at[step] as Record<string, unknown>, copy);
  parent[last] = change(String(parent[last]));
  return copy;
}
